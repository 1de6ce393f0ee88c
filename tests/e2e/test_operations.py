"""Nodes as processes, as an operator meets them: asked how they are, short of disk, backed up and put back."""

import json
import os
import resource
import signal
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from p2pfl.cli import main
from p2pfl.cli.init import write_trial
from p2pfl.cli.templates import SAMPLES
from p2pfl.config import load_network
from p2pfl.ledger.check.verify import verify_store
from p2pfl.ledger.stores.reader import Row, open_reader
from p2pfl.runs.events import EVENTS
from p2pfl.runs.local import Process, end_processes, free_ports
from p2pfl.runs.network import references_agree
from p2pfl.runs.outcome import Outcome

TASK = Path(__file__).with_name("task.py")
linux = pytest.mark.skipif(sys.platform != "linux", reason="prlimit is Linux's")


class Network:
    """A ring of processes that learn slowly; `more` changes the document. All end with the block."""

    def __init__(self, until: Any, folder: Path, num_nodes: int, rounds: int, *more: str, ledger: bool = True) -> None:
        self.until = until
        ports = free_ports(num_nodes)
        changes = (f"pace.rounds={rounds}", "pace.timeout_s=3.0", f'model.name="{TASK}:slow"', *more)
        documents = write_trial(folder, ports, "ring", SAMPLES["digits"], changes)
        if not ledger:
            path = folder / "network.toml"
            text = path.read_text("utf-8").splitlines()
            path.write_text("\n".join(line for line in text if not line.startswith("genesis")) + "\n", "utf-8")
        self.config = load_network(folder / "network.toml")
        self.urls = [f"http://127.0.0.1:{port}" for port in ports]
        self.processes = [
            Process(path, path.parent / "run", Outcome(path.parent.name, 0), ("--log", "json")) for path in documents
        ]

    def __enter__(self) -> "Network":
        for process in self.processes:
            process.start()
        return self

    def __exit__(self, *error: object) -> None:
        end_processes(self.processes)

    def wait(self, found: Callable[[], bool], but: Process | None = None) -> None:
        self.until(found, self.processes, down=() if but is None else (but,))

    def rounds(self, number: int) -> None:
        self.wait(lambda: all(round_of(process) >= number for process in self.processes))


def alive(process: Process) -> bool:
    return process.handle is not None and process.handle.poll() is None


def ended_well(process: Process) -> bool:
    return process.handle is not None and process.handle.returncode == 0


def round_of(process: Process) -> int:
    process.follow()
    return process.outcome.round


def log_of(process: Process) -> Iterator[dict[str, Any]]:
    for line in process.document.with_name("log.txt").read_text().splitlines():
        if line.startswith("{"):
            yield json.loads(line)


def get(url: str) -> tuple[int, bytes]:
    try:
        with urllib.request.urlopen(url, timeout=10) as reply:
            return reply.status, reply.read()
    except urllib.error.HTTPError as refused:
        return refused.code, refused.read()


@pytest.mark.slow
def test_a_node_is_asked_how_it_is(tmp_path: Path, until: Any) -> None:
    network = Network(until, tmp_path / "trial", 3, 100_000, "model.args.step_s=0.01")
    for process in network.processes:
        process.quiet = False
    with network:
        network.rounds(5)
        for url in network.urls:
            assert get(f"{url}/healthz") == (200, b'{"status": "ok"}')
            status, text = get(f"{url}/readyz")
            assert (status, json.loads(text)["ready"]) == (200, True)
        page = get(f"{network.urls[0]}/metrics")[1].decode()
        found = {s.name: s.value for family in text_string_to_metric_families(page) for s in family.samples}
        assert found["p2pfl_ready"] == 1.0
        assert found["p2pfl_round"] >= 5.0
        assert found["p2pfl_neighbours"] == found["p2pfl_neighbours_reachable"] == 2.0
        assert found["p2pfl_store_bytes"] > 0
        assert found["p2pfl_tasks"] < 60
        if sys.platform == "linux":
            assert 0 < found["process_open_fds"] < 200 < found["process_max_fds"]
        first = network.processes[0]
        assert first.handle is not None
        first.handle.send_signal(signal.SIGTERM)
        first.handle.wait()
        lines = list(log_of(first))
    assert (lines[0]["event"], lines[-1]["event"]) == ("listening", "stopped")
    assert lines[-1]["reason"] == "asked to stop by SIGTERM"
    assert all(line["event"] in EVENTS and line["node"] == "n0" for line in lines)


@linux
@pytest.mark.slow
def test_a_full_disk_ends_a_node_with_one_line_and_costs_nothing(tmp_path: Path, until: Any) -> None:
    """No file of the node may grow any more: what every write then gets is the same as from a full disk."""
    network = Network(until, tmp_path / "trial", 3, 160, "model.args.step_s=0.01")
    with network:
        network.rounds(30)
        full = network.processes[0]
        assert full.handle is not None
        size = os.path.getsize(full.out / "metrics.jsonl")
        resource.prlimit(full.handle.pid, resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))
        network.wait(lambda: not alive(full), but=full)
        assert full.handle.returncode == 2
        last = full.document.with_name("log.txt").read_text().strip().splitlines()[-1]
        assert last.startswith("error: cannot write ")
        assert "Traceback" not in full.document.with_name("log.txt").read_text()
        before = verify_store(full.store)
        assert before.ok
        full.arguments = (*full.arguments, "--resume")
        full.start()
        network.wait(lambda: all(ended_well(process) for process in network.processes), but=None)
    agreed(network)
    after = verify_store(full.store)
    assert after.num_entries >= before.num_entries


@pytest.mark.slow
@pytest.mark.parametrize("ledger", [True, False])
def test_a_backup_taken_in_mid_run_and_put_back_forks_nothing(tmp_path: Path, until: Any, ledger: bool) -> None:
    """The others learn until it is back: what its feed is can only be asked of nodes that run."""
    network = Network(
        until, tmp_path / "trial", 4, 100_000, "model.args.step_s=0.01", "ledger.interval_s=0.3", ledger=ledger
    )
    copy = tmp_path / "n0.db"
    with network:
        network.rounds(30)
        lost = network.processes[0]
        assert main(["backup", str(lost.out), "--out", str(copy)]) == 0
        network.rounds(60)
        assert lost.handle is not None
        lost.handle.send_signal(signal.SIGKILL)
        lost.handle.wait()
        reached = round_of(lost)
        lost.out.rename(tmp_path / "lost")
        assert main(["restore", str(copy), str(lost.out)]) == 0
        lost.arguments = (*lost.arguments, "--resume")
        lost._read = 0
        lost.start()
        network.wait(lambda: round_of(lost) > reached)
        for process in network.processes:
            assert process.handle is not None
            process.handle.send_signal(signal.SIGINT)
        network.wait(lambda: all(ended_well(process) for process in network.processes))
    key = network.config.node("n0").key
    assert all(verify_store(process.store).ok for process in network.processes)
    assert sorted(c.incarnation for c in verify_store(lost.store).chains if c.author == key) == [0, 1]
    assert rows_of(lost.store, key, 0) <= rows_of(tmp_path / "lost" / "node.db", key, 0)
    if ledger:
        assert main(["ledger", "forks", str(tmp_path / "trial" / "nodes")]) == 0


def rows_of(store: Path, author: bytes, incarnation: int) -> set[Row]:
    with open_reader(store) as reader:
        return {row for row in reader.rows() if (row.author, row.incarnation) == (author, incarnation)}


def agreed(network: Network) -> None:
    rows = [process.summary() for process in network.processes]
    ids = {entry.name: entry.key.hex() for entry in network.config.nodes}
    assert all(row["round"] == row["rounds"] for row in rows), rows
    assert all(verify_store(process.store).ok for process in network.processes)
    assert references_agree(rows, ids)
