"""The scripts of docs/reproductions run as they are, and print a table beside the paper's figures."""

import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).resolve().parent.parent.parent / "docs" / "reproductions"
SCRIPTS = sorted(path.name for path in FOLDER.glob("*.py") if path.name != "tables.py")


def test_there_are_three() -> None:
    assert SCRIPTS == ["marfoq_overlays.py", "mcmahan_local_steps.py", "ying_one_peer.py"]


@pytest.mark.slow
@pytest.mark.parametrize("script", SCRIPTS)
def test_it_runs_again(script: str, request: pytest.FixtureRequest) -> None:
    data: list[str] = []
    if script == "marfoq_overlays.py":
        data = ["--data", str(request.getfixturevalue("data_dir"))]
    words = [sys.executable, str(FOLDER / script), "--quick", *data]
    done = subprocess.run(words, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    tables = [line for line in done.stdout.splitlines() if line.startswith("|---")]
    assert len(tables) == 2
    assert "paper" in done.stdout
