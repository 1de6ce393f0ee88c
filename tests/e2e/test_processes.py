"""The commands as a person runs them, each a process of its own."""

import json
import os
import resource
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import numpy as np
import pytest

from p2pfl.cli import main
from p2pfl.cli.init import write_trial
from p2pfl.cli.templates import SAMPLES
from p2pfl.config import load_network
from p2pfl.runs.local import free_ports
from p2pfl.wire.envelope import seal
from p2pfl.wire.keyfile import Signer

ROOT = Path(__file__).resolve().parent.parent.parent
TASK = Path(__file__).with_name("task.py")
LIMIT_S = 180.0

SUMMARY_KEYS = {
    "accuracy_mean",
    "accuracy_min",
    "accuracy_alone_mean",
    "accuracy_centralised",
    "rounds",
    "bytes_sent_per_node",
    "bytes_ratio_full_precision",
    "seconds_per_round",
    "feeds_verified",
}


def command(*arguments, script=("-m", "p2pfl"), **more):
    """A process of its own group, so that a Ctrl-C to it does not reach the tests."""
    return subprocess.Popen(
        [sys.executable, *script, *map(str, arguments)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        **more,
    )


def end(process):
    """Whatever happened, nothing of it is left."""
    if process.poll() is None:
        process.kill()
        process.communicate()


def processes_with(text):
    """Ids of processes whose command line holds `text`."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            line = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if text in line and int(folder.name) != os.getpid():
            found.append(int(folder.name))
    return found


@pytest.mark.slow
def test_the_demo(tmp_path, capsys):
    """Four processes learn, the result is complete, nobody stays behind, and the model answers."""
    home = tmp_path / "demo"
    done = command("demo", "--nodes", 4, "--rounds", 60, "--topology", "ring", "--json", "--out", home)
    out, err = done.communicate(timeout=LIMIT_S)
    assert done.returncode == 0, err
    summary = json.loads(out)
    assert summary.keys() >= SUMMARY_KEYS
    assert (summary["rounds"], summary["nodes"]) == (60, 4)
    assert summary["feeds_verified"]
    assert summary["references_agree"]
    assert not summary["failures"]
    assert summary["accuracy_mean"] > summary["accuracy_alone_mean"]
    assert summary["bytes_ratio_full_precision"] > 4
    assert processes_with(str(home)) == []
    for index in range(4):
        assert main(["ledger", "verify", str(home / "nodes" / f"n{index}" / "run")]) == 0
    capsys.readouterr()
    assert_it_predicts(home / "nodes" / "n0" / "run", tmp_path, capsys)


@pytest.mark.slow
def test_the_demo_in_secure_cells_with_a_budget(tmp_path):
    pytest.importorskip("cryptography")
    pytest.importorskip("dp_accounting")
    quick = ("--nodes", 4, "--rounds", 30, "--secure", "--epsilon", 4, "--json")
    done = command("demo", *quick)
    out, err = done.communicate(timeout=LIMIT_S)
    assert done.returncode == 0, err
    summary = json.loads(out)
    assert summary["privacy"]["epsilon"] <= 4.0
    assert summary["accuracy_mean"] > summary["accuracy_alone_mean"] + 0.1
    assert summary["feeds_verified"]


def assert_it_predicts(run, folder, capsys):
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    np.save(folder / "digits.npy", (images / 16).astype(np.float32).reshape(-1, 1, 8, 8)[:300])
    assert main(["predict", str(run), str(folder / "digits.npy"), "--json"]) == 0
    answers = json.loads(capsys.readouterr().out)
    right = sum(int(answer["class"]) == label for answer, label in zip(answers, labels, strict=False))
    print(f"{right} of 300 digits are right")
    assert right > 200


def trial(tmp_path, num_nodes, *changes):
    """A network whose steps take a while, on a path; the first node's folder."""
    changes = (f'model.name="{TASK}:slow"', "model.args.step_s=0.005", *changes)
    topology = "line" if num_nodes > 1 else "ring"
    write_trial(tmp_path / "trial", free_ports(num_nodes), topology, SAMPLES["digits"], changes)
    return tmp_path / "trial" / "nodes" / "n0"


def url_of(home):
    return load_network(home.parent.parent / "network.toml").node("n0").url


def ask(url, data=None):
    """HTTP status and body."""
    try:
        with urllib.request.urlopen(urllib.request.Request(url, data), timeout=10) as reply:
            return reply.status, reply.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read()


def wait_for(home, event, process):
    """Until the node has told of this event so often that it is sure to be at work."""
    deadline = time.monotonic() + LIMIT_S
    metrics = home / "run" / "metrics.jsonl"
    while not metrics.exists() or f'"event": "{event}"' not in metrics.read_text():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.slow
def test_a_node_that_is_asked_talked_to_stopped_and_resumed(tmp_path, capsys):
    """`node.py` from the checkout; its neighbour never comes."""
    home = trial(tmp_path, 2, "pace.gather_s=0.2", "pace.rounds=300", "pace.timeout_s=1.0")
    node = command("--config", home / "node.toml", "--quiet", script=(str(ROOT / "node.py"),))
    try:
        wait_for(home, "round", node)
        assert main(["status", url_of(home), "--json"]) == 0
        status = json.loads(capsys.readouterr().out)
        assert (status["name"], status["rounds"]) == ("n0", 300)
        assert status["phase"] in ("train", "exchange")
        assert main(["status", url_of(home)]) == 0
        capsys.readouterr()
        network = bytes.fromhex(status["network"])
        parts = seal(Signer(b"x" * 32), network, "edge", [bytes(32), bytes.fromhex(status["node"]), "hello", 0, 0], ())
        code, said = ask(url_of(home) + "/v1/gossip", b"".join(bytes(part) for part in parts))
        assert code == 403
        assert b"stranger" in said
        code, _ = ask(url_of(home) + "/v1/exchange", b"not an envelope")
        assert 400 <= code < 500
        os.kill(node.pid, signal.SIGINT)
        out, err = node.communicate(timeout=LIMIT_S)
    finally:
        end(node)
    assert node.returncode == 0, err
    assert "SIGINT" in out
    assert main(["ledger", "verify", str(home / "run")]) == 0
    capsys.readouterr()
    stopped_at = json.loads((home / "run" / "summary.json").read_text())["round"]
    assert 0 < stopped_at < 300
    changed = command("node", "--config", home / "node.toml", "--resume")
    try:
        wait_for(home, "resumed", changed)
        os.kill(changed.pid, signal.SIGINT)
        _, err = changed.communicate(timeout=LIMIT_S)
    finally:
        end(changed)
    assert changed.returncode == 0
    assert f"resumed: round {stopped_at}" in err
    assert main(["ledger", "verify", str(home / "run")]) == 0


@pytest.mark.slow
@pytest.mark.parametrize(
    ("limit_kb", "window", "file"),
    [(150, 1, "node.db"), (300, 100_000, "metrics.jsonl")],
    ids=["the store", "the metrics"],
)
def test_a_full_disk(tmp_path, capsys, limit_kb, window, file):
    """One line that names the file, exit code 2, and what was written before is sound."""
    home = trial(tmp_path, 1, "pace.rounds=100000", f"pace.window={window}", "model.args.step_s=0.0")

    def full():
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit_kb * 1024, limit_kb * 1024))

    node = command("node", "--config", home / "node.toml", "--quiet", preexec_fn=full)
    try:
        _, err = node.communicate(timeout=LIMIT_S)
    finally:
        end(node)
    assert node.returncode == 2, err
    assert err.startswith(f"error: cannot write {home / 'run' / file}")
    assert err.count("\n") == 1
    assert "Traceback" not in err
    assert main(["ledger", "verify", str(home / "run")]) == 0
