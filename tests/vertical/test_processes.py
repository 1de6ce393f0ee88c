"""Parties as real processes over HTTP: train, predict, serve; one is killed in mid-training and goes on."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from p2pfl.runs.local import free_ports
from p2pfl.runs.vertical_trial import Trial, write_vertical_trial

PATIENCE_S = 240.0
Process = subprocess.Popen[bytes]


def start(document: Path, command: str, *more: str) -> Process:
    words = [sys.executable, "-m", "p2pfl", "vertical", command, str(document), "--quiet", "--json", *more]
    log = document.with_name(f"{command}.log").open("ab")
    with log:
        return subprocess.Popen(words, stdout=log, stderr=log, start_new_session=True)


def until(what: Callable[[], bool]) -> None:
    """Looks until it is so. A bound on a hung run, not an expectation of speed."""
    deadline = time.monotonic() + PATIENCE_S
    while not what():
        assert time.monotonic() < deadline, "it does not come to pass"
        time.sleep(0.05)  # looks at a file or a port that another process opens


def finish(documents: Sequence[Path], processes: Sequence[Process], command: str) -> None:
    for document, process in zip(documents, processes, strict=True):
        code = process.wait(PATIENCE_S)
        assert code == 0, document.with_name(f"{command}.log").read_text()


def end(processes: Sequence[Process]) -> None:
    for process in processes:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def together(documents: Sequence[Path], command: str, *more: str) -> None:
    processes = [start(document, command, *more) for document in documents]
    try:
        finish(documents, processes, command)
    finally:
        end(processes)


def summary(document: Path, folder: str = "run") -> dict[str, Any]:
    found = json.loads((document.parent / folder / "summary.json").read_text())
    assert isinstance(found, dict)
    return found


def steps_done(document: Path) -> int:
    path = document.parent / "run" / "metrics.jsonl"
    return path.read_text().count('"event": "step"') if path.exists() else 0


def scores_in(path: Path) -> dict[str, float]:
    with path.open() as file:
        return {row["id"]: float(row["score"]) for row in csv.DictReader(file)}


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two parties that aligned first, then trained; the second was killed in mid-training, then the first."""
    documents = write_vertical_trial(tmp_path_factory.mktemp("job") / "trial", free_ports(2), Trial(epochs=8))
    together(documents, "align")
    processes = [start(document, "train") for document in documents]
    try:
        for at, victim in ((10, 1), (30, 0)):
            until(lambda at=at: steps_done(documents[0]) >= at)  # type: ignore[misc]
            os.killpg(processes[victim].pid, signal.SIGKILL)
            processes[victim].wait()
            processes[victim] = start(documents[victim], "train", "--resume")
        finish(documents, processes, "train")
    finally:
        end(processes)
    return documents


@pytest.mark.slow
def test_killed_parties_go_on_and_the_job_ends_well(trained: list[Path]) -> None:
    first, second = (summary(document) for document in trained)
    assert first["rows_common"] == second["rows_common"] > 300
    assert first["auc"] > 0.9
    assert first["label_epsilon"] == second["label_epsilon"] > 0
    before = [(document.parent / "run" / "part.json").read_bytes() for document in trained]
    together(trained, "train", "--resume")  # all is done: nothing happens
    assert [(document.parent / "run" / "part.json").read_bytes() for document in trained] == before
    for document in trained:
        assert '"event": "resumed"' in (document.parent / "run" / "metrics.jsonl").read_text()
        assert (document.parent / "run" / "part.safetensors").exists()
        assert (document.parent / "run" / "part.json").stat().st_mode & 0o077 == 0


@pytest.mark.slow
def test_with_keys_at_a_third_party_a_killed_party_goes_on(tmp_path: Path) -> None:
    trial = Trial(epochs=1, level=1, key_holder=True)
    documents = write_vertical_trial(tmp_path / "trial", free_ports(3), trial)
    processes = [start(document, "train") for document in documents]
    try:
        until(lambda: steps_done(documents[0]) >= 2)
        for victim in (1, 2):
            os.killpg(processes[victim].pid, signal.SIGKILL)
            processes[victim].wait()
            processes[victim] = start(documents[victim], "train", "--resume")
        finish(documents, processes, "train")
    finally:
        end(processes)
    assert summary(documents[0])["rows_common"] > 300
    assert [summary(document)["role"] for document in documents] == ["label holder", "feature holder", "key holder"]
    assert not (documents[2].parent / "run" / "part.json").exists()


@pytest.mark.slow
def test_what_is_predicted_is_what_the_training_found(trained: list[Path]) -> None:
    """On the training's own rows, so that the metrics of the rows held out can be found again in the scores."""
    together(trained, "predict")
    holder = trained[0].parent
    scores = scores_in(holder / "run-predict" / "predictions.csv")
    with (holder / "run" / "common.csv").open() as file:
        common = [row["id"] for row in csv.DictReader(file)]
    assert set(scores) == set(common)
    with (holder / "table.csv").open() as file:
        truth = {row["id"]: row["diagnosis"] == "malignant" for row in csv.DictReader(file)}
    from p2pfl.config.vertical import load_party
    from p2pfl.runs.vertical_party import agreement_of
    from p2pfl.vertical.data.metrics import auc

    _, test = agreement_of(load_party(trained[0]).job).plan(len(common)).schedule.split()
    found = auc(np.array([truth[common[i]] for i in test]), np.array([scores[common[i]] for i in test]))
    assert found == pytest.approx(summary(trained[0])["auc"], abs=1e-3)


@pytest.mark.slow
def test_scores_on_demand_are_those_of_the_batch(trained: list[Path]) -> None:
    port = free_ports(1)[0]
    processes = [
        start(trained[0], "serve", "--http", f"127.0.0.1:{port}"),
        start(trained[1], "serve"),
    ]
    url = f"http://127.0.0.1:{port}"

    def ready() -> bool:
        try:
            with urllib.request.urlopen(f"{url}/v1/health", timeout=5) as reply:
                return bool(json.load(reply)["ready"])
        except OSError:
            return False

    try:
        until(ready)
        batch = scores_in(trained[0].parent / "run-predict" / "predictions.csv")
        ids = list(batch)[:5]
        body = json.dumps({"ids": [*(f" {text.upper()} " for text in ids), "nobody"]}).encode()
        with urllib.request.urlopen(urllib.request.Request(f"{url}/v1/score", body), timeout=60) as reply:
            found = json.load(reply)
        assert found["unknown"] == ["nobody"]
        assert list(found["scores"].values()) == pytest.approx([batch[text] for text in ids], abs=1e-6)
        for process in processes:
            process.send_signal(signal.SIGINT)
        finish(trained, processes, "serve")
    finally:
        end(processes)
