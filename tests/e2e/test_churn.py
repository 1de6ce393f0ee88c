"""Nodes in processes of their own, with one killed, one stopped and the network cut in two: nobody waits for them."""

import asyncio
import importlib.util
import json
import os
import signal
import sys
import threading
from contextlib import AsyncExitStack
from itertools import pairwise
from pathlib import Path

import pytest

from p2pfl.cli.init import write_trial
from p2pfl.cli.templates import SAMPLES
from p2pfl.config import load_network
from p2pfl.ledger.check.verify import verify_store
from p2pfl.runs.local import Process, end_processes, free_ports
from p2pfl.runs.network import references_agree
from p2pfl.runs.outcome import Outcome

TASK = Path(__file__).with_name("task.py")
HARD_S = 6.0
ROUNDS = 240
LOOK_S = 0.1


def _beside(name):
    spec = importlib.util.spec_from_file_location(f"e2e_{name}", Path(__file__).with_name(f"{name}.py"))
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


Cut = _beside("cut").Cut


class Middle:
    """A proxy before every node, in a thread of its own; `halves` are cut from each other while there are any."""

    def __init__(self, doors, targets, keys):
        self.doors, self.targets, self.keys = doors, targets, keys
        self.halves = ()
        self.ready, self.ended = threading.Event(), threading.Event()
        self.cuts = []
        self.thread = threading.Thread(target=lambda: asyncio.run(self._run()))

    def _separated(self, a, b):
        return any((a in half) != (b in half) for half in self.halves)

    async def _run(self):
        async with AsyncExitStack() as stack:
            for door, target, key in zip(self.doors, self.targets, self.keys, strict=True):
                cut = Cut(("127.0.0.1", target), lambda author, key=key: self._separated(author, key))
                self.cuts.append(await stack.enter_async_context(cut.listening(door)))
            self.ready.set()
            while not self.ended.is_set():
                await asyncio.sleep(LOOK_S)
            for task in asyncio.all_tasks() - {asyncio.current_task()}:
                task.cancel()

    def __enter__(self):
        self.thread.start()
        assert self.ready.wait(10.0)
        return self

    def __exit__(self, *_):
        self.ended.set()
        self.thread.join()


def rounds_of(process):
    process.follow()
    return process.outcome.round


def pauses_of(process):
    rows = [json.loads(line) for line in (process.out / "metrics.jsonl").read_text().splitlines()]
    times = [row["seconds"] for row in rows if row["event"] == "round"]
    return [b - a for a, b in pairwise(times)]


@pytest.mark.parametrize("count", [pytest.param(6, marks=pytest.mark.slow), pytest.param(12, marks=pytest.mark.soak)])
def test_killed_stopped_and_cut(tmp_path, until, count):
    ports = free_ports(2 * count)
    doors, targets = ports[:count], ports[count:]
    changes = (
        f"pace.rounds={ROUNDS}",
        f"pace.timeout_s={HARD_S}",
        "pace.evaluate=0",
        f'model.name="{TASK}:slow"',
        "model.args.step_s=0.02",
    )
    paths = write_trial(tmp_path / "trial", doors, "ring", SAMPLES["digits"], changes)
    for path, door, target in zip(paths, doors, targets, strict=True):
        path.write_text(path.read_text().replace(f"127.0.0.1:{door}", f"127.0.0.1:{target}"))
    config = load_network(tmp_path / "trial" / "network.toml")
    keys = [entry.key for entry in config.nodes]
    nodes = [Process(path, path.parent / "run", Outcome(path.parent.name, 0)) for path in paths]
    killed, stopped = nodes[1], nodes[count // 2 + 1]
    with Middle(doors, targets, keys) as middle:
        try:
            for node in nodes:
                node.start()
            until(lambda: min(map(rounds_of, nodes)) >= 20, nodes)
            killed.handle.send_signal(signal.SIGKILL)
            killed.handle.wait()
            at = rounds_of(nodes[2])
            until(lambda: rounds_of(nodes[2]) >= at + 30, nodes, down=(killed,))
            killed.arguments = ("--resume",)
            killed.start()
            os.killpg(stopped.handle.pid, signal.SIGSTOP)
            at = rounds_of(nodes[2])
            until(lambda: rounds_of(nodes[2]) >= at + 30, nodes)
            os.killpg(stopped.handle.pid, signal.SIGCONT)
            middle.halves = (frozenset(keys[: count // 2]),)
            at = rounds_of(nodes[2])
            until(lambda: rounds_of(nodes[2]) >= at + 40, nodes)
            middle.halves = ()
            until(lambda: all(node.handle.poll() is not None for node in nodes), nodes)
        finally:
            end_processes(nodes)
    rows = [node.summary() for node in nodes]
    ids = {entry.name: entry.key.hex() for entry in config.nodes}
    longest = {n.outcome.name: max(pauses_of(n)) for n in nodes if n not in (killed, stopped)}
    print(f"longest rounds: {longest}; dropped at the cut: {sum(cut.dropped for cut in middle.cuts)}")
    assert sum(cut.dropped for cut in middle.cuts) > 0
    assert max(longest.values()) < HARD_S
    assert all(row["round"] == ROUNDS for row in rows)
    assert not any(row["failure"] for row in rows)
    assert references_agree(rows, ids)
    assert all(verify_store(node.store).ok for node in nodes)
    assert min(row["accuracy"] for row in rows) > 0.8
