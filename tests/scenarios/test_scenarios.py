"""Every scenario is a folder with a command, documents that are valid, and a README whose numbers the command wrote."""

import json
import subprocess
import sys
from pathlib import Path

import common
import pytest

from p2pfl.config import load_network

SCENARIOS = Path(__file__).resolve().parents[2] / "scenarios"
NAMES = sorted(path.parent.name for path in SCENARIOS.glob("*/run.py"))


def test_the_index_names_every_scenario() -> None:
    text = (SCENARIOS / "README.md").read_text("utf-8")
    assert NAMES
    for name in NAMES:
        assert f"({name}/README.md)" in text, f"scenarios/README.md does not link {name}"


@pytest.mark.parametrize("name", NAMES)
def test_a_readme_holds_what_its_command_measured(name: str) -> None:
    here = SCENARIOS / name
    kept = json.loads((here / "results.json").read_text("utf-8"))
    text = (here / "README.md").read_text("utf-8")
    assert common.written(kept) in text, f"scenarios/{name}: run its command with --record"
    for run in kept.values():
        for bar in run["bars"]:
            assert bar["holds"] == (common.Bar(bar["name"], bar["measured"], bar["wanted"], bar["at_least"]).holds)
        for picture in run["pictures"]:
            assert (here / picture).is_file()


@pytest.mark.parametrize("name", NAMES)
def test_a_readme_says_how_to_run_it_and_what_is_synthetic(name: str) -> None:
    text = (SCENARIOS / name / "README.md").read_text("utf-8")
    assert "## What is synthetic, and what is not" in text
    assert f"python scenarios/{name}/run.py" in text
    assert (SCENARIOS / name / "run").stat().st_mode & 0o111


@pytest.mark.parametrize(
    "document",
    sorted(p for p in SCENARIOS.glob("*/*.toml") if p.name != "job.toml"),
    ids=lambda path: f"{path.parent.name}-{path.stem}",
)
def test_a_network_document_is_valid(document: Path) -> None:
    assert load_network(document).name == document.parent.name


def test_a_table_and_its_bars_survive_being_recorded(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("before\n<!-- results -->\nearlier\n<!-- end -->\nafter\n", "utf-8")
    table = common.Table("Title", [{"a": "x", "b": 0.12345, "c": None}], "note")
    outcome = common.Outcome("made up", [table], [common.Bar("b", 0.2, 0.1), common.Bar("c", 0.2, 0.1, False)])
    common.record(tmp_path, outcome)
    kept = json.loads((tmp_path / "results.json").read_text("utf-8"))
    text = (tmp_path / "README.md").read_text("utf-8")
    assert common.written(kept) in text
    assert "| x | 0.1235 | - |" in text
    assert "bar b: measured 0.2, wanted >= 0.1: holds" in text
    assert "bar c: measured 0.2, wanted <= 0.1: falls short" in text
    assert text.startswith("before\n<!-- results -->")
    assert text.endswith("<!-- end -->\nafter\n")
    assert "earlier" not in text


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_a_quick_run_ends_with_the_tables_of_the_readme(name: str, tmp_path: Path) -> None:
    """The same rows and columns as a recorded run; its numbers are its own."""
    command = [sys.executable, str(SCENARIOS / name / "run.py"), "--quick", "--json", str(tmp_path / "found.json")]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads((tmp_path / "found.json").read_text("utf-8"))
    assert found["quick"]
    ((data, run),) = found["runs"].items()
    kept = json.loads((SCENARIOS / name / "results.json").read_text("utf-8"))
    form = kept.get(data) or next(iter(kept.values()))
    for told, recorded in zip(run["tables"], form["tables"], strict=True):
        first = list(recorded["rows"][0])
        assert [list(row) for row in told["rows"]] == [first] * len(recorded["rows"])
        assert [row[first[0]] for row in told["rows"]] == [row[first[0]] for row in recorded["rows"]]
    assert all(table["title"] in done.stdout for table in run["tables"])
