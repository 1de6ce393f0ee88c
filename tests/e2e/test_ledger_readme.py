"""What the README tells to type about the ledger works on what its own demo leaves behind."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from p2pfl.cli import main
from p2pfl.runs.network import finals_in, ledger_agreement

README = Path(__file__).resolve().parents[2] / "README.md"
LIMIT_S = 300.0


def lines() -> list[list[str]]:
    """The commands of the section, as words."""
    section = README.read_text("utf-8").split("## One ledger that nobody owns")[1].split("\n## ")[0]
    block = re.search(r"```sh\n(.*?)```", section, re.DOTALL)
    assert block is not None
    return [words for line in block[1].splitlines() if (words := shlex.split(line, comments=True))]


@pytest.mark.slow
def test_the_readmes_lines_on_what_the_demo_left(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    demo, *commands = lines()
    assert demo[:2] == ["p2pfl", "demo"]
    done = subprocess.run([sys.executable, "-m", *demo, "--rounds", "60"], capture_output=True, timeout=LIMIT_S)
    assert done.returncode == 0, done.stderr.decode()
    found = ledger_agreement([finals_in(path) for path in sorted(tmp_path.glob("demo/nodes/*/run/node.db"))])
    assert found["ledger_agrees"]
    assert found["ledger_final_height"] >= 1
    assert {words[2] for words in commands} >= {"log", "balance", "explain", "prove", "verify-proof"}
    said = {}
    for words in commands:
        assert words[:2] == ["p2pfl", "ledger"]
        assert main(words[1:]) == 0, words
        said[words[2]] = capsys.readouterr().out
    assert "feed.open" in said["log"]
    assert "credits issued" in said["balance"]
    assert "credits, because" in said["explain"]
    assert "PROVEN" in said["verify-proof"]
    assert main(["ledger", "forks", "demo/nodes/n0/run"]) == 0
    assert "nobody was convicted" in capsys.readouterr().out
