"""Ray: not imported unless asked for, refused in one line where it cannot be had, and equal results where it can."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest
from safetensors.torch import load_file

from p2pfl.cli import main

NETWORK = """
format = 1
seed = 5
[model]
name = "linear"
[pace]
mode = "lockstep"
rounds = 6
evaluate = 2
[train]
steps = 2
"""
KILLED = """
import os, signal, sys
from p2pfl.cli import main
from p2pfl.runs.shards_ray import RayTeam

plain, landed = RayTeam.ask, []

def ask(self, worker, step, *given):
    landed.extend([step] * (step == "land" and worker == 1))
    if len(landed) == 5:
        os.kill(self.pids()[1], signal.SIGKILL)
        landed.append("")
    return plain(self, worker, step, *given)

RayTeam.ask = ask
sys.exit(main(sys.argv[1:]))
"""
PATIENCE_S = 300


@pytest.fixture
def document(tmp_path) -> str:
    (tmp_path / "network.toml").write_text(NETWORK)
    return str(tmp_path / "network.toml")


def refused(capsys, *words: str) -> str:
    """The one line that is said."""
    assert main(["sim", *words]) == 2
    said = capsys.readouterr().err.strip()
    return said.splitlines()[-1]


def test_ray_is_not_imported_unless_asked_for(document):
    words = ["sim", document, "--nodes", "3", "--engine", "dense", "--no-baselines", "--set", "pace.rounds=1"]
    code = f"import sys, p2pfl.runs.shards_ray; from p2pfl.cli import main; assert main({words!r}) == 0"
    code += "; assert 'ray' not in sys.modules"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=PATIENCE_S)
    assert done.returncode == 0, done.stderr


def test_a_machine_without_ray_is_told_how_to_get_it(document, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    said = refused(capsys, document, "--nodes", "4", "--engine", "ray", "--workers", "2")
    assert said == "error: --engine ray: Ray is not installed; pip install p2pfl-node[ray]"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--engine", "ray", "--workers", "5"], "--workers: expected at most one worker a node, 4 here, got 5"),
        (["--workers", "2"], "--workers: is for a document with a [sweep] table, or for --engine ray"),
        (["--engine", "dense", "--checkpoint", "d"], "--checkpoint: is for --engine ray"),
        (["--ray-address", "auto"], "--ray-address: is for --engine ray"),
        (["--engine", "ray", "--loss", "0.1"], "--engine ray: nothing is lost and all machines are alike"),
        (["--engine", "ray", "--set", 'pace.mode="async"'], "--engine ray: all nodes go in step"),
        (["--engine", "ray", "--vary", "train.lr=1,2"], "--engine ray: runs one setting"),
    ],
    ids=["workers", "no ray", "checkpoint", "address", "loss", "async", "vary"],
)
def test_what_does_not_fit_is_said_in_one_line(document, capsys, words, said):
    assert refused(capsys, document, "--nodes", "4", *words).startswith(f"error: {said}")


needs_ray = pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="Ray is not installed")


@needs_ray
@pytest.mark.parametrize(
    ("address", "why"),
    [
        ("127.0.0.1:1", "--ray-address 127.0.0.1:1: expected a running cluster, got: Connection refused"),
        ("head", "--ray-address: expected HOST:PORT of a cluster's head or auto, got 'head'"),
        ("head:port", "--ray-address: expected HOST:PORT of a cluster's head or auto, got 'head:port'"),
    ],
)
@pytest.mark.filterwarnings("ignore")  # Ray's own, when it is imported
def test_a_cluster_that_is_not_there(document, capsys, address, why):
    words = [document, "--nodes", "4", "--engine", "ray", "--workers", "2", "--ray-address", address]
    assert refused(capsys, *words) == f"error: {why}"


def sim(*words: str, code: str | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, *(["-m", "p2pfl"] if code is None else ["-c", code]), "sim", *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S)


def models(folder: Path) -> dict[str, bytes]:
    """Each node's tensors' bits."""
    found = {path.parent.name: load_file(path) for path in sorted(folder.glob("*/model.safetensors"))}
    return {f"{node} {name}": tensor.numpy().tobytes() for node, held in found.items() for name, tensor in held.items()}


def in_one(document: str, tmp_path: Path) -> list[str]:
    """What the engines are given; the dense one has run."""
    words = [document, "--nodes", "8", "--no-baselines", "--train-engine", "loop", "--json"]
    assert main(["sim", *words, "--engine", "dense", "--out", str(tmp_path / "dense")]) == 0
    return words


@needs_ray
@pytest.mark.slow
def test_two_workers_are_one(document, tmp_path, capsys):
    plain = in_one(document, tmp_path)
    done = sim(*plain, "--engine", "ray", "--workers", "2", "--out", str(tmp_path / "ray"))
    assert (done.returncode, done.stderr) == (0, "")
    told = json.loads(done.stdout)
    assert told["references_agree"]
    assert told["cut"]["edges"] == 2
    assert len(models(tmp_path / "dense")) == 16
    assert models(tmp_path / "ray") == models(tmp_path / "dense")


@needs_ray
@pytest.mark.slow
def test_a_worker_that_dies_is_said_and_made_up_for(document, tmp_path, capsys):
    ray = [*in_one(document, tmp_path), "--engine", "ray", "--workers", "2"]
    kept = ["--checkpoint", str(tmp_path / "kept"), "--checkpoint-every", "2"]
    died = sim(*ray, *kept, code=KILLED)
    assert died.returncode == 1
    go_on = f"go on from round 4 with: --checkpoint {tmp_path / 'kept'} --resume"
    assert died.stderr == f"error: worker 1 died in round 5; {go_on}\n"
    resumed = sim(*ray, *kept, "--resume", "--out", str(tmp_path / "resumed"))
    assert (resumed.returncode, resumed.stderr) == (0, "")
    assert json.loads(resumed.stdout)["resumed_at"] == 4
    assert models(tmp_path / "resumed") == models(tmp_path / "dense")
