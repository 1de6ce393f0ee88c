"""`p2pfl init --app`: what was adapted in a file, as the network document of real nodes."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from sklearn.datasets import load_digits

import p2pfl
from p2pfl.cli import main
from p2pfl.cli.init import adapted_sample, write_trial
from p2pfl.config import load_network
from p2pfl.runs.local import Process, free_ports, run_processes
from p2pfl.runs.outcome import Outcome

EXAMPLES = Path(__file__).resolve().parents[2] / "examples" / "adapters"
SCRIPTS = sorted(EXAMPLES.glob("*.py"))


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_the_document_names_the_parts(script, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shutil.copy(script, tmp_path)
    assert main(["init", "trial", "--nodes", "4", "--app", f"{script.name}:app"]) == 0
    network = load_network(Path("trial/network.toml"))
    assert network.model.name == f"../{script.name}:app.model"
    assert network.train.learner == f"../{script.name}:app.learner"
    assert network.data.source == f"../{script.name}:app.data"
    run = p2pfl.simulate("trial/network.toml", pace={"rounds": 2, "evaluate": 2})
    assert run.summary["failures"] == {}
    assert run.summary["nodes"] == 4


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_at_most_five_lines_are_p2pfls(script):
    """The rest is what people have already."""
    code = script.read_text().split('"""', 2)[2]
    lines = [line for line in code.splitlines() if "p2pfl" in line]
    assert len(lines) <= 5
    assert [line.partition("# ")[2][:1] for line in lines] == ["1", "2"]


@pytest.mark.parametrize(
    ("app", "sentence"),
    [
        ("nothing.py:app", "there is no file"),
        ("flower_client.py:ap", "has no attribute 'ap', did you mean 'app'"),
        ("flower_client.py:Net", "expected what p2pfl.adapt gave, got type"),
        ("flower_client", "expected module:attribute"),
    ],
)
def test_what_was_not_adapted_is_refused(app, sentence, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(EXAMPLES)
    assert main(["init", str(tmp_path / "trial"), "--app", app]) == 2
    assert sentence in capsys.readouterr().err
    assert not (tmp_path / "trial").exists()


@pytest.mark.slow
@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_four_processes_learn(script, tmp_path, monkeypatch):
    """Each node a process of its own, over HTTP: together better than any could be alone."""
    monkeypatch.chdir(tmp_path)
    shutil.copy(script, tmp_path)
    sample = adapted_sample(f"{script.name}:app", Path("trial"))
    write_trial(Path("trial"), free_ports(4), "ring", sample, ("pace.rounds=200",))
    folders = [Path(f"trial/nodes/n{index}") for index in range(4)]
    processes = [Process(folder / "node.toml", folder / "run", Outcome(folder.name, 0)) for folder in folders]
    run_processes(processes, lambda: None, 300.0)
    summaries = [process.summary() for process in processes]
    assert [summary["failure"] for summary in summaries] == [None] * 4
    assert min(summary["accuracy"] for summary in summaries) > 0.85  # alone: about 0.6, with mostly two or three digits
    assert main(["ledger", "verify", "trial/nodes"]) == 0
    np.savez("new.npz", x=load_digits().data[:50] / 16)
    asked = main(["predict", "trial/nodes/n0/run", "new.npz", "--json"])
    assert asked == (0 if script.stem == "sklearn_model" else 2)  # only a Flower client knows what its parameters mean
