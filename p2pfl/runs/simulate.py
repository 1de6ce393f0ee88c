"""A whole network in virtual time: the same Parties as on real machines, in one process. Knows no terminal."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch

from p2pfl.assemble.network import Node, Shared, assemble
from p2pfl.assemble.splits import load_held, shares_of, splits_of
from p2pfl.config import NetworkConfig, NodeEntry
from p2pfl.core.ids import NodeId
from p2pfl.core.noise import derive, root
from p2pfl.core.party import Emit, Store, Task
from p2pfl.horizontal.model.work import Train
from p2pfl.hosts.faults import Faults, Line, between
from p2pfl.hosts.sim import SimHost
from p2pfl.hosts.trace import Trace
from p2pfl.learn.data import Held
from p2pfl.ledger.blocks.genesis import Genesis
from p2pfl.ledger.stores.memory import MemoryStore
from p2pfl.runs.outcome import Outcome
from p2pfl.strategies import HONEST, Strategy
from p2pfl.topology import Topology
from p2pfl.wire.keyfile import Signer

VOTERS_MAX = 16
"""Validators of a simulated ledger: each vote goes to everybody."""
WINDOW = 4
"""Heights of its accounting window: simulated runs are short."""


@dataclass(frozen=True)
class World:
    """How long things take, in virtual seconds, and what goes wrong. speeds: one per node, repeated.

    step_s: of a usual batch, of a machine of speed 1; the share `fixed` of it is the same for a batch of any size.
    starts: when a node first comes, by name; at once if it is not listed.

    Links that the topology's file describes are as it says, unless `faults.lines` says something of its own.
    """

    step_s: float = 0.01
    wire_s: float = 0.001
    speeds: tuple[float, ...] = (1.0,)
    fixed: float = 0.0
    faults: Faults = field(default_factory=Faults)
    persist_s: float = 0.0
    starts: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Simulation:
    """A network ready to run, and afterwards what came of it."""

    shared: Shared
    nodes: dict[str, Node]
    outcomes: dict[str, Outcome]
    host: SimHost
    held: Held
    shares: Sequence[torch.Tensor]


def simulated(config: NetworkConfig, num_nodes: int | None = None) -> NetworkConfig:
    """The document with keys whose secret halves the simulator has; `num_nodes` replaces the nodes by so many."""
    names = [entry.name for entry in config.nodes]
    if num_nodes is not None:
        names = [f"n{index:0{len(str(num_nodes - 1))}}" for index in range(num_nodes)]
    entries = tuple(
        NodeEntry(name=name, key=_signer(config.seed, name).node, url=f"http://{name}.invalid:1") for name in names
    )
    return replace(config, nodes=entries)


def simulated_genesis(config: NetworkConfig) -> Genesis | None:
    """A genesis of the simulator's keys, if the document has one at all; of many nodes only the first few vote."""
    if config.ledger.genesis is None or not config.nodes:
        return None
    keys = tuple(sorted(entry.key for entry in config.nodes))
    return Genesis(config.name, keys[:VOTERS_MAX], keys[:VOTERS_MAX], window=WINDOW)


def _signer(seed: int, name: str) -> Signer:
    return Signer(derive(root(seed), "key", name))


def build_simulation(
    config: NetworkConfig,
    world: World,
    *,
    on_emit: Callable[[Outcome, Emit], None] = lambda outcome, emit: None,
    record: bool = False,
    dtype: torch.dtype = torch.float32,
    make_store: Callable[[], Store] = MemoryStore,
    genesis: Genesis | None = None,
    strategies: Sequence[Strategy] = (),
) -> Simulation:
    """All nodes of `config` (see `simulated`) in one world; `make_store` gives each node a disk. Raises ConfigError.

    genesis: instead of `simulated_genesis`. strategies: how the nodes behave, one each; all honestly if there is none.
    """
    shared = assemble(config, device="cpu", dtype=dtype, genesis=genesis or simulated_genesis(config))
    held = load_held(config.data, config.seed)
    shares = shares_of(held, config.data, len(config.nodes), config.seed)
    outcomes = {entry.name: Outcome(entry.name, shared.of(entry.name).said.size) for entry in config.nodes}
    names = {entry.key: entry.name for entry in config.nodes}

    def emitted(time: float, node: NodeId, emit: Emit) -> None:
        outcome = outcomes[names[node]]
        outcome.take(time, emit)
        on_emit(outcome, emit)

    speed_of = {entry.key: world.speeds[index % len(world.speeds)] for index, entry in enumerate(config.nodes)}

    nodes: dict[str, Node] = {}

    def duration(node: NodeId, task: Task) -> float:
        if task.lane == "wire":
            return world.wire_s
        steps, share = getattr(task, "steps", 1), 1.0
        if isinstance(task, Train) and task.batch is not None:
            usual = min(config.train.batch_size, nodes[names[node]].work.learner.num_samples("train"))
            share = world.fixed + (1 - world.fixed) * task.batch / usual
        return world.step_s * steps * share / speed_of[node]

    faults = world.faults
    if shared.topology.links and not faults.lines:
        faults = replace(faults, lines=lines_of(shared.topology, shared.ids, faults))
    host = SimHost(config.seed, faults, duration, persist_s=world.persist_s, record=record, on_emit=emitted)
    for index, entry in enumerate(config.nodes):
        strategy = strategies[index] if strategies else HONEST
        number = strategy.share(index)
        _add(
            host,
            shared,
            held,
            shares[number],
            number,
            entry,
            nodes,
            make_store,
            strategy,
            world.starts.get(entry.name, 0.0),
        )
    return Simulation(shared, nodes, outcomes, host, held, shares)


def lines_of(topology: Topology, ids: Mapping[str, NodeId], faults: Faults) -> dict[tuple[NodeId, NodeId], Line]:
    """The lines that a topology describes; what it does not say of one is as everywhere."""
    lines = {}
    for (a, b), link in topology.links.items():
        delay_s = faults.delay_s if link.latency_ms is None else link.latency_ms / 1e3
        # A line of no bandwidth cannot be meant by somebody who draws an edge on it.
        bytes_per_s = link.bandwidth_mbps * 1e6 / 8 if link.bandwidth_mbps else faults.bytes_per_s
        lines[between(ids[a], ids[b])] = Line(delay_s, bytes_per_s)
    return lines


def _add(
    host: SimHost,
    shared: Shared,
    held: Held,
    rows: torch.Tensor,
    index: int,
    entry: NodeEntry,
    nodes: dict[str, Node],
    make_store: Callable[[], Store],
    strategy: Strategy,
    start: float,
) -> None:
    signer = _signer(shared.config.seed, entry.name)
    splits = splits_of(held, rows, shared.config.data, shared.config.seed, index)

    def make() -> Any:
        nodes[entry.name] = shared.node(entry.name, signer, splits, strategy=strategy)
        return nodes[entry.name].party

    host.add(entry.key, make, shared.node(entry.name, signer, splits, strategy=strategy).work, make_store, start)


def run_simulation(simulation: Simulation, until: float = float("inf")) -> Trace:
    """Run to the end on one thread: what a task computes must not depend on how many cores there are."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return simulation.host.run(until)
    finally:
        torch.set_num_threads(threads)
