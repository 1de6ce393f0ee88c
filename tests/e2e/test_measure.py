"""`p2pfl topology measure`: real nodes over loopback say how good their lines are; the designer reads the file."""

import asyncio
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from p2pfl.assemble.network import assemble
from p2pfl.assemble.splits import load_held, shares_of, splits_of
from p2pfl.cli import main
from p2pfl.config import NetworkConfig
from p2pfl.core.ids import NodeId
from p2pfl.core.noise import derive, root
from p2pfl.core.party import Emit
from p2pfl.hosts.http import HttpHost
from p2pfl.hosts.settings import HttpSettings
from p2pfl.ledger.stores.memory import MemoryStore
from p2pfl.topology import load_topology
from p2pfl.topology.overlays.underlay import load_underlay
from p2pfl.wire.keyfile import Signer

PATIENCE_S = 60.0


async def while_running(config: NetworkConfig, call: Callable[[list[str]], bool]) -> None:
    """Starts every node, calls with their addresses after some round, again until that returns true, and ends all."""
    addresses: dict[NodeId, str] = {}
    again = asyncio.Event()
    shared, held = assemble(config, device="cpu"), load_held(config.data, config.seed)
    shares = shares_of(held, config.data, len(config.nodes), config.seed)

    def host(index: int, name: str) -> HttpHost:
        def on_emit(emit: Emit) -> None:
            if emit.name == "round" and len(addresses) == len(config.nodes):
                again.set()

        def on_listening(port: int) -> None:
            addresses[config.node(name).key] = f"http://127.0.0.1:{port}"

        splits = splits_of(held, shares[index], config.data, config.seed, index)
        node = shared.node(name, Signer(derive(root(config.seed), "key", name)), splits)
        return HttpHost(
            node.party,
            node.work,
            MemoryStore(),
            addresses,
            ("127.0.0.1", 0),
            bytes(derive(root(config.seed), "entropy", name)),
            on_emit,
            on_listening=on_listening,
            settings=HttpSettings(drain_s=0.1),
        )

    running = [asyncio.ensure_future(host(i, entry.name).run()) for i, entry in enumerate(config.nodes)]
    try:
        async with asyncio.timeout(PATIENCE_S):
            await again.wait()
            while not await asyncio.to_thread(call, list(addresses.values())):
                again.clear()
                await again.wait()
    finally:
        for run in running:
            run.cancel()
        await asyncio.gather(*running, return_exceptions=True)


def test_lines_of_running_nodes_become_an_underlay(kit, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "under.toml"
    model = {"name": "mlp", "args": {"hidden": [256]}, "input_shape": [1, 8, 8], "num_classes": 10}
    config = kit.document(4, "ring", 50_000, model=model, compress={"codec": "fp32"}, pace={"mode": "lockstep"})
    lines: list[dict] = []

    def measure(urls: list[str]) -> bool:
        """True once every line was in use."""
        code = main(["topology", "measure", *urls, "-o", str(out), "--json"])
        told = capsys.readouterr().out
        lines[:] = json.loads(told) if code == 0 else []
        return len(lines) == 4 and all(line["bandwidth_mbps"] for line in lines)

    asyncio.run(while_running(config, measure))
    names = {entry.name for entry in config.nodes}
    assert {(line["a"], line["b"]) for line in lines} == {("n0", "n1"), ("n1", "n2"), ("n2", "n3"), ("n0", "n3")}
    assert all(0 < line["latency_ms"] < PATIENCE_S * 1e3 for line in lines)
    assert set(load_topology(str(out)).nodes) == names
    direct = {(line["a"], line["b"]): line["latency_ms"] for line in lines}
    under = load_underlay(out)
    assert all(under.link(a, b).latency_ms <= direct[a, b] + 1e-3 for a, b in direct)  # less if round about is shorter
    design = ["topology", "design", "--underlay", str(out), "--model-size", "1e5", "--compute-ms", "5"]
    assert main([*design, "--effort", "10", "-o", str(tmp_path / "best.toml")]) == 0
    assert set(load_topology(str(tmp_path / "best.toml")).nodes) == names


def test_what_does_not_answer(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    for words, said, code in (
        (["ftp://x"], "expected an address like", None),
        (["http://127.0.0.1:1"], "does not answer", None),
        (["http://127.0.0.1:1", "-o", str(tmp_path / "x.gml")], "expected a file ending in .toml", 2),
        (["http://127.0.0.1:1"] * 1025, "expected at most 1024 addresses, got 1025", 2),
    ):
        result = main(["topology", "measure", *words])
        assert result == code if code is not None else result != 0
        error = capsys.readouterr().err
        assert said in error
        assert len(error.strip().splitlines()) == 1
