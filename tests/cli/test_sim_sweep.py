"""`p2pfl sim SWEEP` as a user has it: cells, tables and a report; killed and resumed; one line for what cannot be."""

import csv
import json
import re
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from p2pfl.cli import main
from p2pfl.sweep.folder import CELLS, REPORT

NETWORK = """
format = 1
[model]
name = "linear"
[pace]
mode = "lockstep"
rounds = 4
evaluate = 2
[train]
steps = 2
"""
SWEEP = """
[sweep]
format = 1
name = "two <graphs>"
network = "network.toml"
nodes = 4
seeds = [1, 2]
[sweep.grid]
"topology.family" = ["ring", "complete"]
"compress.codec" = ["deadzone", "fp32"]
"""
KILLED = """
import os, signal, sys
from p2pfl.cli import main
from p2pfl.sweep.folder import SweepFolder
kept = SweepFolder.keep
def keep(self, result):
    kept(self, result)
    if len(list((self.path / "cells").glob("*.json"))) == 3:
        os.kill(os.getpid(), signal.SIGKILL)
SweepFolder.keep = keep
main(sys.argv[1:])
"""


def write(folder: Path, sweep: str = SWEEP) -> Path:
    (folder / "network.toml").write_text(NETWORK)
    path = folder / "sweep.toml"
    path.write_text(sweep)
    return path


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.slow
def test_killed_and_resumed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    document, out = write(tmp_path), tmp_path / "out"
    arguments = ["sim", str(document), "--out", str(out)]
    done = subprocess.run([sys.executable, "-c", KILLED, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == -9
    first = {path: path.read_bytes() for path in (out / CELLS).iterdir()}
    assert len(first) == 3
    assert main(arguments) == 2
    assert "go on with --resume" in capsys.readouterr().err
    assert main([*arguments, "--resume"]) == 0
    shown = capsys.readouterr()
    assert "8 cells: 2 topology.family x 2 compress.codec x 2 seeds; dense engine" in shown.err
    assert "3 are done" in shown.err
    assert "expected to take about" in shown.err
    assert "ring" in shown.out
    assert len(list((out / CELLS).iterdir())) == 8
    assert all(path.read_bytes() == raw for path, raw in first.items())
    cells = rows(out / "cells.csv")
    assert [row["topology.family"] for row in cells] == ["ring"] * 4 + ["complete"] * 4
    assert [row["seed"] for row in cells[:2]] == ["1", "2"]
    assert all(0 < float(row["accuracy"]) <= 1 and row["failure"] == "" for row in cells)
    assert len(rows(out / "rounds.csv")) == 8 * 2


@pytest.mark.slow
def test_workers_give_the_same_results(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    document = write(tmp_path)
    found = []
    for out, more in (("one", []), ("two", ["--workers", "2"])):
        assert main(["sim", str(document), "--out", str(tmp_path / out), "--json", *more]) == 0
        shown = capsys.readouterr()
        assert shown.err == ""
        found.append([{k: v for k, v in row.items() if k != "wall_s"} for row in json.loads(shown.out)["cells"]])
    assert found[0] == found[1]
    assert len(found[0]) == 8


DIES = """
import os, signal
import torch

def model(input_shape, num_classes, mark=""):
    if mark and not os.path.exists(mark):
        open(mark, "w").close()
        os.kill(os.getpid(), signal.SIGKILL)
    if mark == "":
        os.kill(os.getpid(), signal.SIGKILL)
    print("a user's own words")
    return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, num_classes))
"""


@pytest.mark.slow
def test_a_worker_that_dies(tmp_path: Path) -> None:
    """One that dies once is replaced; a cell at which every worker dies is given up, and the others are kept."""
    write(tmp_path)
    (tmp_path / "net.py").write_text(DIES)
    from p2pfl.sweep.document import load_sweep
    from p2pfl.sweep.folder import SweepFolder
    from p2pfl.sweep.grid import axes_of, cells_of
    from p2pfl.sweep.pool import Pool

    marks = ", ".join(f'{{ label = "{m or "ever"}", mark = "{m and tmp_path / m}" }}' for m in ("a", "b", ""))
    text = SWEEP.split("[sweep.grid]")[0].replace("[1, 2]", "[1]")
    document = write(
        tmp_path, text + f'[sweep.set]\n"model.name" = "net.py:model"\n[sweep.grid]\n"model.args" = [{marks}]'
    )
    sweep = load_sweep(document)
    cells = cells_of(sweep, axes_of(sweep))
    said: list[str] = []
    folder = SweepFolder.open(tmp_path / "out", resume=False)
    lost = Pool(sweep, folder, (), 2, say=said.append).run(cells)
    assert list(lost) == [cells[2].id]
    assert "died (signal 9), 2 times" in lost[cells[2].id]
    assert sum("another one runs it again" in text for text in said) == 3
    assert folder.result(cells[0]) is not None
    assert folder.result(cells[1]) is not None
    assert folder.result(cells[2]) is None


@pytest.mark.parametrize("engine", ["dense", "events"])
def test_the_report_needs_nothing_else(tmp_path: Path, capsys: pytest.CaptureFixture[str], engine: str) -> None:
    document, out = write(tmp_path), tmp_path / "out"
    assert main(["sim", str(document), "--out", str(out), "--engine", engine, "--quiet"]) == 0
    assert capsys.readouterr().err == ""
    text = (out / REPORT).read_text()
    assert "two &lt;graphs&gt;" in text
    assert not re.search(r"<script|<link|<img|@import|url\(|https?://", text)
    assert "prefers-color-scheme:dark" in text
    assert ("Accuracy by simulated second" in text) == (engine == "events")
    for title in ("Accuracy by round", "Accuracy by bytes sent", "Consensus distance by round", "The graphs"):
        assert f"<h2>{title}</h2>" in text
    pictures = re.findall(r"<svg.*?</svg>", text, re.DOTALL)
    assert len(pictures) == 2 * (4 if engine == "events" else 3) + 2
    for picture in pictures:
        ET.fromstring(picture)
    pq = pytest.importorskip("pyarrow.parquet")
    table = pq.read_table(out / "rounds.parquet").to_pylist()
    assert [row["seed"] for row in table[:3]] == [1, 1, 2]
    assert table[0]["accuracy"] == pytest.approx(float(rows(out / "rounds.csv")[0]["accuracy"]))


def test_what_cannot_be(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for sweep, more, words in (
        (SWEEP, ["--vary", "train.lr=1,2"], "--vary: is for one network"),
        (SWEEP, ["--loss", "0.1"], "--loss: is for one network"),
        (SWEEP, ["--set", "train.lrr=1"], "--set train.lrr: unknown key; did you mean train.lr?"),
        (SWEEP.replace('"fp32"', '"fp23"'), [], "ring, fp23"),
        (SWEEP.replace("nodes = 4", "nods = 4"), [], "did you mean sweep.nodes?"),
    ):
        assert main(["sim", str(write(tmp_path, sweep)), "--out", str(tmp_path / "o"), "--resume", *more]) == 2
        error = capsys.readouterr().err
        assert words in error
        assert len(error.strip().splitlines()) == 1
    assert main(["sim", str(tmp_path / "network.toml"), "--workers", "2"]) == 2
    assert "--workers: is for a document with a [sweep] table" in capsys.readouterr().err


def test_too_large_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    meminfo = tmp_path / "meminfo"
    meminfo.write_text("MemTotal: 99 kB\nMemAvailable:    20 kB\n")
    monkeypatch.setattr("p2pfl.runs.memory.MEMINFO", meminfo)
    assert main(["sim", str(write(tmp_path)), "--out", str(tmp_path / "o")]) == 2
    error = capsys.readouterr().err
    assert "too large for this machine's memory: 4 nodes and 4 edges" in error
    assert main(["sim", str(tmp_path / "network.toml"), "--nodes", "4", "--engine", "dense"]) == 2
    assert "too large" in capsys.readouterr().err
