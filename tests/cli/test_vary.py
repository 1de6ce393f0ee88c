"""`p2pfl sim --vary`: which settings are meant, and curves of each as a table, a picture and a file."""

import json
from pathlib import Path

import pytest

from p2pfl.cli import main
from p2pfl.cli.vary import settings_of
from p2pfl.errors import ConfigError

NETWORK = """
format = 1
[model]
name = "linear"
[pace]
mode = "lockstep"
rounds = 4
evaluate = 2
"""


def test_settings() -> None:
    assert settings_of([]) == [("", ())]
    assert settings_of(["a.b=1,2"]) == [("a.b=1", ("a.b=1",)), ("a.b=2", ("a.b=2",))]
    assert settings_of(["a=x,y+b=3"])[1] == ("a=y b=3", ("a=y", "b=3"))
    assert [changes for _, changes in settings_of(["a=1,2", "b=3,4"])] == [
        ("a=1", "b=3"),
        ("a=1", "b=4"),
        ("a=2", "b=3"),
        ("a=2", "b=4"),
    ]
    assert settings_of(['a={ k = "x,y", n = [1, 2] },1e+3'])[0][1] == ('a={ k = "x,y", n = [1, 2] }',)
    assert settings_of(["a=1e+3"]) == [("a=1e+3", ("a=1e+3",))]


@pytest.mark.parametrize("text", ["a", "a=", "=1", "a=1,", "a=1+b"])
def test_settings_that_mean_nothing(text: str) -> None:
    with pytest.raises(ConfigError, match="expected KEY=VALUE"):
        settings_of([text])


def test_too_many_settings() -> None:
    with pytest.raises(ConfigError, match="at most 64 settings, got 81"):
        settings_of(["a=1,2,3", "b=1,2,3", "c=1,2,3", "d=1,2,3"])


@pytest.mark.parametrize("engine", ["events", "dense"])
def test_a_table_a_picture_and_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str], engine: str) -> None:
    pytest.importorskip("matplotlib")
    (tmp_path / "network.toml").write_text(NETWORK)
    picture, table = tmp_path / "curves.svg", tmp_path / "curves.csv"
    arguments = ["sim", str(tmp_path / "network.toml"), "--nodes", "3", "--engine", engine, "--quiet"]
    vary = ["--vary", "compress.codec=deadzone,fp32"]
    assert main([*arguments, *vary, "--plot", str(picture), "--csv", str(table)]) == 0
    shown = capsys.readouterr().out
    assert "best" in shown
    assert "2  compress.codec=fp32" in shown
    assert picture.read_text().startswith("<?xml")
    assert len(table.read_text().splitlines()) == 1 + 2 * 2
    assert main([*arguments, *vary, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [curve["setting"] for curve in found] == ["compress.codec=deadzone", "compress.codec=fp32"]
    assert found[0]["points"][-1]["bytes_per_node"] < found[1]["points"][-1]["bytes_per_node"]


def test_what_cannot_be(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "network.toml").write_text(NETWORK)
    arguments = ["sim", str(tmp_path / "network.toml"), "--nodes", "3", "--quiet"]
    for more, words in (
        (["--vary", "train.lr=0.1,0.2", "--out", str(tmp_path / "out")], "--out: holds one run"),
        (["--plot", "curves.gif"], "expected a file ending in .png"),
        (["--vary", "train.lrr=1,2"], "lrr"),
        (["--vary", "pace.mode=lockstep,async", "--engine", "dense"], "all nodes go in step"),
    ):
        assert main([*arguments, *more]) == 2
        error = capsys.readouterr().err
        assert words in error
        assert len(error.strip().splitlines()) == 1


def test_a_document_without_nodes_gets_some(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "network.toml").write_text(NETWORK)
    arguments = ["sim", str(tmp_path / "network.toml"), "--no-baselines", "--json", "--engine", "dense"]
    assert main([*arguments, "--set", "pace.rounds=1", "--set", "train.steps=1"]) == 0
    assert json.loads(capsys.readouterr().out)["nodes"] == 16
