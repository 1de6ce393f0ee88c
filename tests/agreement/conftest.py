"""One network on two hosts: in virtual time, and over HTTP on loopback. The same seed, keys, data and entropy."""

import asyncio
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import tomli_w
import torch

from p2pfl.assemble.network import Node, assemble
from p2pfl.assemble.splits import load_held, shares_of, splits_of
from p2pfl.config import NetworkConfig, parse_network
from p2pfl.core.ids import NodeId
from p2pfl.core.noise import derive, root
from p2pfl.core.party import Emit, Started, Stop
from p2pfl.hosts.http import HttpHost
from p2pfl.hosts.settings import HttpSettings
from p2pfl.ledger.stores.memory import MemoryStore
from p2pfl.runs.simulate import World, build_simulation, run_simulation, simulated
from p2pfl.wire.keyfile import Signer

PATIENCE_S = 120.0


@dataclass(frozen=True)
class Final:
    """What a node holds at the end: its model's bits, and each edge's (epoch, seq, digest), by neighbour."""

    x: bytes
    edges: dict[str, tuple[int, int, bytes]]
    round: int


def document(**sections: dict[str, Any]) -> NetworkConfig:
    """Four nodes in a ring, six lockstep rounds of a small model on digits; `sections` change or add keys."""
    plain: dict[str, Any] = {
        "format": 1,
        "seed": 3,
        "model": {"name": "mlp", "args": {"hidden": [16]}, "input_shape": [1, 8, 8], "num_classes": 10},
        "pace": {"mode": "lockstep", "rounds": 6, "window": 3, "evaluate": 0},
        "topology": {"family": "ring"},
        "train": {"lr": 0.1, "batch_size": 16, "steps": 2},
        "data": {"source": "digits", "partition": {"by": "dirichlet", "alpha": 0.5}},
    }
    for name, values in sections.items():
        plain[name] = {**plain.get(name, {}), **values}
    return simulated(parse_network(tomli_w.dumps(plain), Path("network.toml")), 4)


def in_virtual_time(config: NetworkConfig) -> tuple[dict[str, Final], dict[NodeId, bytes]]:
    """What every node holds at the end, and the entropy that each was given."""
    simulation = build_simulation(config, World(), record=True)
    trace = run_simulation(simulation)
    assert trace.outcome == "stopped"
    entropy = {}
    for node, events in trace.events.items():
        started = events[0][1]
        assert isinstance(started, Started)
        entropy[node] = started.entropy
    return {name: final(node) for name, node in simulation.nodes.items()}, entropy


def over_http(config: NetworkConfig, entropy: dict[NodeId, bytes]) -> dict[str, Final]:
    """The same on a loop with one host per node, each with a port, threads and a model of its own."""
    nodes = {name: alone(config, index, name) for index, name in enumerate(e.name for e in config.nodes)}
    addresses: dict[NodeId, str] = {}

    async def one(node: Node) -> Stop:
        me = node.party.signer.node

        def listening(port: int) -> None:
            addresses[me] = f"http://127.0.0.1:{port}"

        host = HttpHost(
            node.party,
            node.work,
            MemoryStore(),
            addresses,
            ("127.0.0.1", 0),
            entropy[me],
            ignored,
            on_listening=listening,
            settings=HttpSettings(drain_s=1.0),
        )
        return await host.run()

    async def all_of_them() -> list[Stop]:
        async with asyncio.timeout(PATIENCE_S):
            return await asyncio.gather(*(one(node) for node in nodes.values()))

    stops = asyncio.run(all_of_them())
    assert [stop.code for stop in stops] == [0] * len(nodes)
    return {name: final(node) for name, node in nodes.items()}


def alone(config: NetworkConfig, index: int, name: str) -> Node:
    """One machine's node, sharing nothing with the others but the document."""
    shared = assemble(config, device="cpu")
    held = load_held(config.data, config.seed)
    rows = shares_of(held, config.data, len(config.nodes), config.seed)[index]
    signer = Signer(derive(root(config.seed), "key", name))
    return shared.node(name, signer, splits_of(held, rows, config.data, config.seed, index))


def final(node: Node) -> Final:
    edges = getattr(node.job.exchange, "edges", {})
    places = {peer.hex(): (edge.epoch, edge.seq, edge.digest) for peer, edge in edges.items()}
    return Final(node.job.local.x.numpy().tobytes(), places, node.job.local.round)


def ignored(emit: Emit) -> None:
    """Nobody watches."""


def distance(one: dict[str, Final], other: dict[str, Final]) -> float:
    """The largest difference of any value of any node's model."""
    return max(float((vector(one[name]) - vector(other[name])).abs().max()) for name in one)


def vector(end: Final) -> torch.Tensor:
    return torch.frombuffer(bytearray(end.x), dtype=torch.float32)


@pytest.fixture(scope="session")
def kit() -> SimpleNamespace:
    """The functions above, for tests in files of their own."""
    return SimpleNamespace(
        document=document, in_virtual_time=in_virtual_time, over_http=over_http, distance=distance, alone=alone
    )
