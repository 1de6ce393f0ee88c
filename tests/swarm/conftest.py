"""Whole networks in virtual time, and what must hold of every one of them."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import tomli_w

from p2pfl.config import NetworkConfig, parse_network
from p2pfl.core.party import Emit, Put
from p2pfl.hosts.trace import Trace
from p2pfl.ledger.feeds.records import ENTRY
from p2pfl.ledger.stores.memory import MemoryStore
from p2pfl.runs.network import network_summary
from p2pfl.runs.outcome import Outcome
from p2pfl.runs.simulate import Simulation, World, build_simulation, run_simulation, simulated

UNTIL_S = 100_000.0


@dataclass(eq=False)
class Played:
    """One network's run.

    entries: every statement that was ever made durable, by position, over all disks. differences: edges whose ends
    were seen, in mid-run, at one position with two references. views: whom each node took for present when it ended a
    round, where the members are watched.
    """

    simulation: Simulation
    trace: Trace
    summary: dict[str, Any]
    entries: dict[bytes, set[bytes]]
    differences: list[str]
    emitted: dict[str, list[Emit]] = field(default_factory=dict)
    views: dict[str, dict[int, frozenset[str]]] = field(default_factory=dict)

    @property
    def accuracy(self) -> float:
        return float(self.summary["accuracy_mean"])

    def check(self) -> None:
        """Everybody finished all rounds, every feed verifies, no position was signed twice, and wherever both ends of
        an edge stood at one position they held one reference: one that differs is renewed before it is used again.
        """
        assert self.trace.outcome == "stopped"
        assert not self.summary["failures"]
        assert {stop.code for stop in self.trace.stopped.values()} == {0}
        assert all(row["round"] == row["rounds"] for row in self.summary["per_node"])
        assert self.summary["feeds_verified"]
        assert all(len(statements) == 1 for statements in self.entries.values())
        assert not self.differences
        assert all(len(digests) == 1 for digests in self.places().values())

    def places(self) -> dict[tuple[Any, ...], set[str]]:
        """(both ends, epoch, seq) -> the digests that were held there at the end."""
        ids = {name: node.hex() for name, node in self.simulation.shared.ids.items()}
        held: dict[tuple[Any, ...], set[str]] = defaultdict(set)
        for row in self.summary["per_node"]:
            for edge in row["edges"]:
                ends = frozenset((ids[row["name"]], edge["peer"]))
                held[ends, edge["epoch"], edge["seq"]].add(edge["digest"])
        return held


def document(num_nodes: int, topology: str, rounds: int, seed: int = 1, **sections: dict[str, Any]) -> NetworkConfig:
    """A network that learns digits, split by Dirichlet(0.1); `sections` change or add keys."""
    plain: dict[str, Any] = {
        "format": 1,
        "seed": seed,
        "model": {"name": "mlp", "args": {"hidden": [64]}, "input_shape": [1, 8, 8], "num_classes": 10},
        "pace": {"rounds": rounds, "evaluate": 0, "timeout_s": 5.0, "window": 5},
        "topology": {"family": topology},
        "train": {"lr": 0.2, "batch_size": 32, "steps": 5},
        "data": {"source": "digits", "partition": {"by": "dirichlet", "alpha": 0.1}},
    }
    for name, values in sections.items():
        plain[name] = {**plain.get(name, {}), **values}
    return simulated(parse_network(tomli_w.dumps(plain), Path("network.toml")), num_nodes)


def play(config: NetworkConfig, world: World, until: float = UNTIL_S) -> Played:
    entries: dict[bytes, set[bytes]] = defaultdict(set)
    emitted: dict[str, list[Emit]] = defaultdict(list)
    differences: list[str] = []
    views: dict[str, dict[int, frozenset[str]]] = defaultdict(dict)

    class Watched(MemoryStore):
        """Remembers every entry that was written, also those of disks that were lost."""

        def commit_many(self, batches: Iterable[Sequence[Put]]) -> None:
            batches = [list(puts) for puts in batches]
            super().commit_many(batches)
            for put in (put for puts in batches for put in puts):
                if put.space == ENTRY and put.value is not None:
                    entries[put.key].add(put.value)

    def on_emit(outcome: Outcome, emit: Emit) -> None:
        emitted[outcome.name].append(emit)
        if emit.name == "round":
            differences.extend(compare(simulation, outcome.name))
            views[outcome.name][int(str(emit.fields["round"]))] = view(simulation, outcome.name)

    simulation = build_simulation(config, world, on_emit=on_emit, make_store=Watched)
    trace = run_simulation(simulation, until)
    ids = simulation.shared.ids
    stores = [simulation.host.store(node) for node in ids.values()]
    named = {name: node.hex() for name, node in ids.items()}
    summary = network_summary(simulation.outcomes.values(), None, named, stores)
    return Played(simulation, trace, summary, entries, differences, emitted, views)


def compare(simulation: Simulation, name: str) -> Iterator[str]:
    """The node's edges whose other end stands at the same position with another reference, at this moment."""
    names = {node: other for other, node in simulation.shared.ids.items()}
    for peer, edge in getattr(simulation.nodes[name].job.exchange, "edges", {}).items():
        other = simulation.nodes.get(names[peer])  # None: it has not started yet
        if other is None:
            continue
        far = other.job.exchange.edges.get(simulation.shared.ids[name])
        if far is not None and (far.epoch, far.seq) == (edge.epoch, edge.seq) and far.digest != edge.digest:
            yield f"{name} and {names[peer]} at epoch {edge.epoch}, seq {edge.seq}"


def view(simulation: Simulation, name: str) -> frozenset[str]:
    """Whom this node takes for present now; nobody where the members are not watched."""
    registrar = simulation.nodes[name].party.registrar
    names = {node: other for other, node in simulation.shared.ids.items()}
    if registrar is None:
        return frozenset()
    return frozenset({name, *(names[node] for node in registrar.watch.roster.here())})


@pytest.fixture(scope="session")
def kit() -> SimpleNamespace:
    """The functions above, for tests in files of their own."""
    made: dict[str, Callable[..., Any]] = {"document": document, "play": play}
    return SimpleNamespace(**made)
