"""Networks over real sockets: hosts in this process (with a lossy middle on demand), or a process for every node."""

import asyncio
import importlib.util
import sys
from collections import defaultdict
from collections.abc import Collection, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import tomli_w

from p2pfl.assemble.network import Node, assemble
from p2pfl.assemble.splits import load_held, shares_of, splits_of
from p2pfl.config import NetworkConfig, parse_network
from p2pfl.core.ids import NodeId
from p2pfl.core.noise import derive, root
from p2pfl.core.party import Emit, Stop
from p2pfl.hosts.http import HttpHost
from p2pfl.hosts.reach import Reach
from p2pfl.hosts.settings import HttpSettings
from p2pfl.ledger.check.verify import verify_store
from p2pfl.ledger.stores.sqlite import SqliteStore
from p2pfl.runs.network import references_agree, summarise
from p2pfl.runs.outcome import Outcome
from p2pfl.runs.simulate import simulated
from p2pfl.wire.keyfile import Signer

PATIENCE_S = 600.0


def beside(name: str) -> ModuleType:
    """A module of this folder that holds no tests."""
    spec = importlib.util.spec_from_file_location(f"e2e_{name}", Path(__file__).with_name(f"{name}.py"))
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


Proxy = beside("proxy").Proxy


@dataclass(eq=False)
class Served:
    """A network's run over HTTP. `emitted`: (seconds, what) for each node, in order."""

    nodes: list[Node]
    summary: dict[str, Any]
    stops: dict[str, Stop]
    emitted: dict[str, list[tuple[float, Emit]]]
    lost: dict[str, int] = field(default_factory=dict)

    def check(self) -> None:
        assert {stop.code for stop in self.stops.values()} == {0}
        assert not self.summary["failures"]
        assert all(row["round"] == row["rounds"] for row in self.summary["per_node"])
        assert self.summary["feeds_verified"]
        assert self.summary["references_agree"]

    @property
    def longest_pause_s(self) -> float:
        """Between two rounds of any node."""
        pauses = [0.0]
        for told in self.emitted.values():
            times = [seconds for seconds, emit in told if emit.name == "round"]
            pauses += [after - before for before, after in pairwise(times)]
        return max(pauses)


def document(num_nodes: int, topology: str, rounds: int, **sections: dict[str, Any]) -> NetworkConfig:
    """A network that learns digits, split by Dirichlet(0.1); `sections` change or add keys."""
    plain: dict[str, Any] = {
        "format": 1,
        "model": {"name": "mlp", "args": {"hidden": [32]}, "input_shape": [1, 8, 8], "num_classes": 10},
        "pace": {"rounds": rounds, "evaluate": 0, "timeout_s": 5.0},
        "topology": {"family": topology},
        "train": {"lr": 0.2, "batch_size": 32, "steps": 5},
        "data": {"source": "digits", "partition": {"by": "dirichlet", "alpha": 0.1}},
    }
    for name, values in sections.items():
        plain[name] = {**plain.get(name, {}), **values}
    return simulated(parse_network(tomli_w.dumps(plain), Path("network.toml")), num_nodes)


def serve(
    config: NetworkConfig,
    folder: Path,
    loss: float = 0.0,
    documents: Mapping[str, NetworkConfig] | None = None,
    hidden: Collection[str] = (),
    tls: bool = False,
) -> Served:
    """All nodes of `config`, each on a host of its own in this process; with `loss` behind a lossy proxy each.

    `documents`: nodes that have another document than the rest. `hidden`: nodes that do not listen, but fetch.
    """
    theirs, scheme = documents or {}, "https" if tls else "http"
    names = [entry.name for entry in config.nodes]
    nodes = {name: _node(theirs.get(name, config), index, name) for index, name in enumerate(names)}
    addresses: dict[NodeId, str] = {}
    emitted: dict[str, list[tuple[float, Emit]]] = defaultdict(list)
    outcomes = {name: Outcome(name, node.work.schema.size) for name, node in nodes.items()}
    proxies = {name: Proxy(loss, loss, seed) for seed, name in enumerate(nodes)} if loss else {}

    async def one(name: str, node: Node) -> Stop:
        loop = asyncio.get_running_loop()
        begun = loop.time()

        def on_emit(emit: Emit) -> None:
            emitted[name].append((loop.time() - begun, emit))
            outcomes[name].take(loop.time() - begun, emit)

        def on_listening(port: int) -> None:
            if name in proxies:
                proxies[name].target = ("127.0.0.1", port)
            plain = f"{scheme}://127.0.0.1:{port}"
            url = "none" if name in hidden else proxies[name].url if proxies else plain
            addresses[config.node(name).key] = url

        host = HttpHost(
            node.party,
            node.work,
            SqliteStore(folder / f"{name}.db"),
            addresses,
            None if name in hidden else ("127.0.0.1", 0),
            bytes(derive(root(config.seed), "entropy", name)),
            on_emit,
            on_listening=on_listening,
            settings=HttpSettings(drain_s=1.0),
            reach=Reach(
                signer_of(config, name), node.party.network, "none" if name in hidden else f"{scheme}://127.0.0.1"
            ),
        )
        return await host.run()

    async def everybody() -> list[Stop]:
        async with asyncio.timeout(PATIENCE_S), AsyncExitStack() as stack:
            for proxy in proxies.values():
                await stack.enter_async_context(proxy.listening())
            return await asyncio.gather(*(one(name, node) for name, node in nodes.items()))

    stops = dict(zip(nodes, asyncio.run(everybody()), strict=True))
    rows = [outcome.summary() for outcome in outcomes.values()]
    verified = all(verify_store(folder / f"{name}.db").ok for name in nodes)
    ids = {entry.name: entry.key.hex() for entry in config.nodes}
    summary = summarise(rows, None, references_agree(rows, ids), verified, ids)
    lost = {name: sum(c for what, c in p.counts.items() if "lost" in what) for name, p in proxies.items()}
    return Served(list(nodes.values()), summary, stops, emitted, lost)


def signer_of(config: NetworkConfig, name: str) -> Signer:
    return Signer(derive(root(config.seed), "key", name))


def _node(config: NetworkConfig, index: int, name: str) -> Node:
    """One machine's node, sharing nothing with the others but the document."""
    shared = assemble(config, device="cpu")
    held = load_held(config.data, config.seed)
    rows = shares_of(held, config.data, len(config.nodes), config.seed)[index]
    return shared.node(name, signer_of(config, name), splits_of(held, rows, config.data, config.seed, index))


@pytest.fixture(scope="session")
def until() -> Any:
    """`until(found, processes, what)`: looks at processes until something is so (watching.py)."""
    return beside("watching").until


@pytest.fixture(scope="session")
def kit() -> SimpleNamespace:
    """The functions above, for tests in files of their own."""
    return SimpleNamespace(document=document, serve=serve)
