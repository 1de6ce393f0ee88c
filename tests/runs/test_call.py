"""`p2pfl.simulate`: a run as a Python call, which costs nothing until it is called."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import p2pfl
from p2pfl.errors import ConfigError

DOCUMENT: dict[str, Any] = {
    "model": {"name": "linear"},
    "pace": {"mode": "lockstep", "rounds": 4, "evaluate": 2},
    "train": {"steps": 2},
}
QUICK = (
    "format = 1\n[model]\nname = 'linear'\n[pace]\nmode = 'lockstep'\nrounds = 4\nevaluate = 2\n[train]\nsteps = 2\n"
)


def test_import_is_light() -> None:
    code = (
        "import p2pfl, sys; assert callable(p2pfl.simulate); print([m for m in ('torch', 'numpy') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("engine", ["events", "dense"])
def test_a_run_as_data(tmp_path: Path, engine: Any) -> None:
    result = p2pfl.simulate(DOCUMENT, engine=engine, nodes=3, train={"lr": 0.3})
    assert [row["round"] for row in result.rounds] == [2, 4]
    assert result.rounds[-1]["accuracy"] > 0.2
    assert result.rounds[-1]["bytes_per_node"] > 0
    assert result.rounds[-1]["consensus"] > 0
    assert result.summary["nodes"] == 3
    assert result.summary["engine"] == engine
    assert result.summary["failures"] == {}
    assert len(result.frame()) == 2
    assert "3 nodes" in repr(result)
    home = result.save(tmp_path / "run")
    assert len((home / "rounds.csv").read_text().splitlines()) == 3
    assert (home / "n0" / "model.safetensors").exists()
    with pytest.raises(ConfigError, match="holds a run already"):
        result.save(home)


def test_a_file_and_a_dict_are_the_same(tmp_path: Path) -> None:
    (tmp_path / "network.toml").write_text(QUICK)
    by_file = p2pfl.simulate(tmp_path / "network.toml", engine="dense", nodes=3, **{"pace.rounds": 2})
    by_dict = p2pfl.simulate(DOCUMENT, engine="dense", nodes=3, pace={"rounds": 2})
    assert by_file.rounds == by_dict.rounds
    assert DOCUMENT["pace"]["rounds"] == 4


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"train": {"lrr": 1}}, "did you mean train.lr?"),
        ({"pase": {"rounds": 1}}, "did you mean pace?"),
        ({"engine": "fast"}, "expected 'events' or 'dense'"),
        ({"pace": {"rounds": None}}, "expected values that TOML has"),
    ],
)
def test_one_line_says_what_is_wrong(arguments: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError) as refused:
        p2pfl.simulate(DOCUMENT, nodes=3, **arguments)
    assert words in str(refused.value)
    assert "\n" not in str(refused.value)
