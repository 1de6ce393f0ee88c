"""A shell asks what could come next, and gets commands, subcommands and options without importing tensors."""

import os
import shutil
import subprocess
import sys

import pytest
from click.shell_completion import ShellComplete
from click.testing import CliRunner

from p2pfl.cli import COMMANDS, root
from p2pfl.cli.completion import SHELLS, VARIABLE


def asked(*words: str) -> list[str]:
    """What may stand for the last word."""
    found = ShellComplete(root, {}, "p2pfl", VARIABLE).get_completions(list(words[:-1]), words[-1])
    return [item.value for item in found]


def test_commands_their_subcommands_and_options() -> None:
    assert set(asked("")) >= set(COMMANDS)
    assert asked("led") == ["ledger"]
    assert asked("ledger", "ver") == ["verify", "verify-proof"]
    assert "--nodes" in asked("demo", "--no")
    assert asked("completion", "") == list(SHELLS)
    assert asked("nothing") == []


def test_names_are_told_without_importing_their_modules() -> None:
    code = "import sys; from p2pfl.cli import main; main()\n"
    told = subprocess.run(
        [sys.executable, "-c", f"import atexit, sys\natexit.register(lambda: print(sorted(sys.modules)))\n{code}"],
        env={**os.environ, VARIABLE: "bash_complete", "COMP_WORDS": "p2pfl ", "COMP_CWORD": "1"},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert "plain,demo" in told
    assert "'p2pfl.cli.demo'" not in told
    assert "'torch'" not in told


@pytest.mark.parametrize("shell", SHELLS)
def test_every_shell_gets_its_script(shell: str) -> None:
    if shell == "bash" and shutil.which("bash") is None:
        pytest.skip("there is no bash")
    result = CliRunner().invoke(root, ["completion", shell])
    assert result.exit_code == 0
    assert VARIABLE in result.output


@pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash")
def test_bash_takes_the_script() -> None:
    script = CliRunner().invoke(root, ["completion", "bash"]).output
    done = subprocess.run(
        ["bash", "-c", f"{script}\ncomplete -p p2pfl"], capture_output=True, text=True, check=True, timeout=60
    )
    assert "p2pfl" in done.stdout


def test_another_shell_is_refused_in_one_line() -> None:
    result = CliRunner().invoke(root, ["completion", "csh"])
    assert result.exit_code == 2
    assert "'csh' is not one of 'bash', 'zsh', 'fish'" in result.output
