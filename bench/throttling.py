"""A network of throttled node processes on this machine, for bench/unequal.py. Knows documents, processes and metrics.

A node's clock is set by its first round, which takes the known time of a first phase: how long a process needed to
start is not part of the run.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from shutil import copy
from typing import Any

import torch

from p2pfl.assemble.network import assemble
from p2pfl.assemble.splits import load_held, shares_of
from p2pfl.cli.templates import node_text
from p2pfl.config import NodeEntry, load_network
from p2pfl.config.documents import dump_toml
from p2pfl.core.party import Emit
from p2pfl.learn.data import Held
from p2pfl.learn.warm import read_tensors
from p2pfl.runs.curves import Curve
from p2pfl.runs.local import Process, free_ports, run_processes
from p2pfl.runs.outcome import Outcome
from p2pfl.wire import keyfile

NODES = 8
STEPS = 5
STEP_S = 0.2
"""At speed 1; the fastest of eight times that still waits longer than it computes."""
LIMIT_S = 600.0


@dataclass(frozen=True)
class Throttled:
    """budget: seconds of a local phase; 0 for phases of STEPS steps."""

    document: Path
    changes: tuple[str, ...]
    seed: int
    rounds: int
    budget: float

    def run(
        self, home: Path, speeds: Sequence[float]
    ) -> tuple[list[tuple[float, float]], Held, Any, Any, list[torch.Tensor]]:
        """The run's curve, the data and who has which of them, the model, and the vector that each node ended with."""
        speeds = [speeds[n % len(speeds)] for n in range(NODES)]
        processes = self._written(home, speeds)
        run_processes(processes, lambda: None, LIMIT_S)
        for process in processes:
            if failure := process.summary()["failure"]:
                raise SystemExit(f"{process.outcome.name}: {failure}")
        config = load_network(home / "network.toml")
        model, held = assemble(config, device="cpu").model, load_held(config.data, config.seed)
        vectors = []
        for process in processes:
            model.adopt(read_tensors(process.out), process.out)
            vectors.append(model.read())
        curve = curve_of([process.out for process in processes], [STEPS * STEP_S / speed for speed in speeds])
        told = [(point.seconds, point.accuracy) for point in curve.points]
        return told, held, shares_of(held, config.data, NODES, config.seed), model, vectors

    def _written(self, home: Path, speeds: Sequence[float]) -> list[Process]:
        copy(Path(__file__).parent / "peers" / "throttled.py", home)
        changes = [
            *self.changes,
            *("pace.mode=async", f"pace.rounds={self.rounds}", "pace.evaluate=4", "topology.family=exponential"),
            *(f"seed={self.seed}", f"train.steps={STEPS}"),
        ]
        changes += [f"train.seconds={self.budget}"] if self.budget else []
        entries, processes = [], []
        for index, port in enumerate(free_ports(NODES)):
            folder, name, address = home / "nodes" / f"n{index}", f"n{index}", f"127.0.0.1:{port}"
            folder.mkdir(parents=True)
            entries.append(NodeEntry(name=name, key=keyfile.create(folder / "key").node, url=f"http://{address}"))
            own = f'[train]\nlearner = "throttled.py:Slow"\nlearner_args = {{ step_s = {STEP_S / speeds[index]} }}\n'
            copy(Path(__file__).parent / "peers" / "throttled.py", folder)
            (folder / "node.toml").write_text(node_text(name, address, index).replace("[train]\n", own, 1), "utf-8")
            processes.append(Process(folder / "node.toml", folder / "run", Outcome(name, 1)))
        config = replace(load_network(self.document, tuple(changes)), nodes=tuple(entries))
        (home / "network.toml").write_text(dump_toml(config), "utf-8")
        return processes


def curve_of(folders: Sequence[Path], first_s: Sequence[float]) -> Curve:
    """Of what the nodes wrote, in seconds since they began to train; the first phase of each took `first_s`."""
    told = []
    for number, (folder, known) in enumerate(zip(folders, first_s, strict=True)):
        lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text("utf-8").splitlines()]
        begun = next(line["seconds"] for line in lines if line["event"] == "round") - known
        told += [(line.pop("seconds") - begun, number, line.pop("event"), line) for line in lines]
    curve = Curve("run", len(folders))
    outcomes = [Outcome(f"n{number}", 1) for number in range(len(folders))]
    for seconds, number, name, fields in sorted(told, key=lambda one: one[0]):
        outcomes[number].take(seconds, Emit(name, fields))
        curve.take(outcomes[number], Emit(name, fields))
    return curve
