"""A network of throttled node processes on this machine, for bench/unequal.py. Knows documents, processes and models.

It is judged as the simulated one is: from outside, at moments of its own, by the model that each node has then (here:
that its newest phase began with). The clock begins with the first phase of all.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from shutil import copy
from typing import Any

import torch
from peers.throttled import read_told

from p2pfl.assemble.network import assemble
from p2pfl.assemble.splits import load_held, shares_of
from p2pfl.cli.templates import node_text
from p2pfl.config import NodeEntry, load_network
from p2pfl.config.documents import dump_toml
from p2pfl.learn.data import Held
from p2pfl.learn.warm import read_tensors
from p2pfl.runs.local import Process, free_ports, run_processes
from p2pfl.runs.outcome import Outcome
from p2pfl.wire import keyfile

STEP_S = 0.5
"""At speed 1: long enough for twelve processes on two cores, as all are to wait most of the time."""
LIMIT_S = 600.0
SLOW = Path(__file__).parent / "peers" / "throttled.py"


@dataclass(frozen=True)
class Ran:
    """moments: seconds; models: of each moment, one vector a node, at last those that the nodes ended with."""

    moments: list[float]
    models: list[list[torch.Tensor]]
    held: Held
    shares: Any
    model: Any


@dataclass(frozen=True)
class Throttled:
    """`changes` of the document, on `num_nodes` machines; looked at every `look_s` seconds."""

    document: Path
    changes: tuple[str, ...]
    num_nodes: int
    look_s: float

    def run(self, home: Path, speeds: Sequence[float]) -> Ran:
        speeds = [speeds[n % len(speeds)] for n in range(self.num_nodes)]
        processes = self._written(home, speeds)
        run_processes(processes, lambda: None, LIMIT_S)
        for process in processes:
            if failure := process.summary()["failure"]:
                raise SystemExit(f"{process.outcome.name}: {failure}")
        config = load_network(home / "network.toml")
        model, held = assemble(config, device="cpu").model, load_held(config.data, config.seed)
        ended = []
        for process in processes:
            model.adopt(read_tensors(process.out), process.out)
            ended.append(model.read())
        told = [read_told(process.document.with_name("told.bin"), model.schema.size) for process in processes]
        begun, end = min(at[0] for at, _ in told), max(at[-1] for at, _ in told)
        moments, models = [], []
        while (moment := (len(moments) + 1) * self.look_s) < end - begun:
            moments.append(moment)
            newest = [max(int((at <= begun + moment).sum()) - 1, 0) for at, _ in told]
            models.append([torch.from_numpy(x[n].copy()) for n, (_, x) in zip(newest, told, strict=True)])
        shares = shares_of(held, config.data, self.num_nodes, config.seed)
        return Ran([*moments, end - begun], [*models, ended], held, shares, model)

    def _written(self, home: Path, speeds: Sequence[float]) -> list[Process]:
        copy(SLOW, home)
        entries, processes = [], []
        for index, port in enumerate(free_ports(len(speeds))):
            folder, name, address = home / "nodes" / f"n{index:02}", f"n{index:02}", f"127.0.0.1:{port}"
            folder.mkdir(parents=True)
            entries.append(NodeEntry(name=name, key=keyfile.create(folder / "key").node, url=f"http://{address}"))
            settings = f'step_s = {STEP_S / speeds[index]}, told = "{folder / "told.bin"}"'
            own = f'[train]\nlearner = "throttled.py:Slow"\nlearner_args = {{ {settings} }}\n'
            copy(SLOW, folder)
            (folder / "node.toml").write_text(node_text(name, address, index).replace("[train]\n", own, 1), "utf-8")
            processes.append(Process(folder / "node.toml", folder / "run", Outcome(name, 1)))
        config = replace(load_network(self.document, self.changes), nodes=tuple(entries))
        (home / "network.toml").write_text(dump_toml(config), "utf-8")
        return processes
