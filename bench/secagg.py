"""Secure sums: mask streams against numpy's generator, and a round of secure cells against a plain one over loopback.

A round is that of the gossip job over the HTTP host, all nodes in one process: train (a learner that adds a constant),
exchange, mix. plain: everybody says its model to everybody ("average" on the complete graph). secure: one cell of all.
What is timed is the median distance of two rounds at one node; both sides run in the same minute, in turns.

Numpy's side draws what a member would: a generator for each seed, words of 32 bits, added to the vector.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import median
from time import perf_counter

import numpy as np
import torch
from harness import bar, parse_args, race, table, write_json
from torch import Tensor

from p2pfl.compress import Dense, Int8
from p2pfl.core.ids import NodeId
from p2pfl.core.noise import Key, derive, root
from p2pfl.core.party import Emit
from p2pfl.core.vectors import ParamSchema, ParamSpec
from p2pfl.horizontal.gossip import Gossip
from p2pfl.horizontal.model.work import GossipWork
from p2pfl.horizontal.plan import Plan
from p2pfl.horizontal.terms.neighbourhood import Neighbourhood
from p2pfl.horizontal.terms.recipe import Recipe
from p2pfl.hosts.http import HttpHost
from p2pfl.hosts.memory import keep_memory
from p2pfl.hosts.settings import HttpSettings
from p2pfl.learn.optim import OptState
from p2pfl.learn.training import Evaluation, Trained
from p2pfl.ledger.stores.memory import MemoryStore
from p2pfl.mixing import Average, RowMixer
from p2pfl.mixing.cell import Cell
from p2pfl.peer.door import Door
from p2pfl.peer.peer import Peer
from p2pfl.secagg.masks import Stream, apply_streams
from p2pfl.secagg.partition import Ground
from p2pfl.secagg.rounding import Grid
from p2pfl.secagg.statements import CellMessage
from p2pfl.wire.keyfile import Signer

MILLION = 1_000_000
STREAMS = 8
NETWORK = bytes(32)
PATIENCE_S = 1200.0
CASES = [(MILLION, 4), (MILLION, 8), (MILLION, 16), (10 * MILLION, 4), (10 * MILLION, 8), (10 * MILLION, 16)]
PLAIN_BYTES_MAX = 5e9
"""Of a plain round of all nodes: above, all bodies at once are more than this one process should hold, and only the
secure side is run. What a plain one sends is known."""


@dataclass(frozen=True, eq=False)
class Constant:
    """A learner that costs one pass over the vector."""

    schema: ParamSchema

    def start(self) -> Tensor:
        return torch.zeros(self.schema.size)

    def start_digest(self) -> bytes:
        return bytes(32)

    def init(self, x: Tensor) -> OptState:
        return OptState(0, {})

    def lr_at(self, round: int) -> float:
        return 0.1

    def train(
        self, x: Tensor, state: OptState, shift: Tensor | None, steps: int, round: int, key: Key, weight: float = 1.0
    ) -> Trained:
        return Trained(x + 0.01, OptState(state.steps + steps, {}), 0.1 * steps, (1.0,) * steps, 1.0, steps, None)

    def evaluate(self, x: Tensor, split: str) -> Evaluation:
        return Evaluation(0.0, None, 1)

    def num_samples(self, split: str) -> int:
        return 1


def streams(size: int, repeats: int) -> list[dict[str, object]]:
    """A member's masks: 8 streams added to a vector of `size` words."""
    words = np.zeros(size, np.uint32)
    values = np.random.default_rng(0).normal(size=size).astype(np.float32)
    seeds = [derive(root(1), n) for n in range(STREAMS)]
    grid = Grid(64.0, STREAMS)

    def aes() -> None:
        apply_streams(words, [Stream(seed, 1) for seed in seeds])

    def pcg() -> None:
        for seed in seeds:
            generator = np.random.Generator(np.random.PCG64(int.from_bytes(seed, "big")))
            np.add(words, generator.integers(0, 1 << 32, size, dtype=np.uint32), out=words)

    def usual() -> None:
        for seed in seeds:
            generator = np.random.default_rng(int.from_bytes(seed, "big"))
            np.add(words, generator.integers(0, 1 << 32, size).astype(np.uint32), out=words)

    sides = {"AES-128": aes, "PCG64, uint32": pcg, "PCG64, default integers": usual}
    took = race({**sides, "rounding (one vector)": lambda: grid.encode(values, root(2))}, repeats)
    rows = []
    for name, seconds in took.items():
        gigabytes = 4 * size * (1 if name.startswith("rounding") else STREAMS) / 1e9
        row = {"words": size, "what": name, "ms": 1e3 * seconds, "GB/s": gigabytes / seconds}
        rows.append(row | {"AES is faster by": seconds / took["AES-128"]})
    return rows


# ------------------------------------------------------------------------------------------------ rounds over loopback


def make_peers(size: int, count: int, rule: RowMixer, rounds: int) -> list[tuple[Peer, GossipWork]]:
    """`count` nodes on the complete graph."""
    schema = ParamSchema((ParamSpec("w", (size,), "weights"),))
    signers = sorted((Signer(derive(root(7), "node", n)) for n in range(count)), key=lambda s: s.node)
    ids = tuple(signer.node for signer in signers)
    around = {node: tuple(other for other in ids if other != node) for node in ids}
    ground = Ground(around, count, "members")
    recipe = Recipe(NETWORK, schema.digest, bytes(32), bytes(32), ("rule",), ("fp32",), "lockstep", rounds)
    found = []
    for signer in signers:
        others = around[signer.node]
        weights = dict.fromkeys(others, 1.0 / count)
        nb = Neighbourhood(signer.node, others, weights, count - 1.0, (), ids, 1, around, ground=ground)
        work = GossipWork(Constant(schema), Dense(), rule, Int8())
        job = Gossip(Plan(recipe, nb, 1, 30.0, 30.0, rounds + 1, 0, "fp32"), work)
        door = Door(signer.node, NETWORK, frozenset(others), {CellMessage.KIND: CellMessage.from_fields})
        found.append((Peer(signer, NETWORK, recipe.digest, others, job, "node", door=door), work))
    return found


async def run_network(peers: Sequence[tuple[Peer, GossipWork]], stamps: list[float]) -> None:
    """Every node on a host of its own; `stamps`: when the first one ended each local phase."""
    addresses: dict[NodeId, str] = {}

    async def one(index: int, peer: Peer, work: GossipWork) -> None:
        def emitted(emit: Emit) -> None:
            if index == 0 and emit.name == "round":
                stamps.append(perf_counter())
            if emit.name in ("cell_failed", "blamed", "late", "failed"):
                raise SystemExit(f"the run went wrong: {emit.name} {dict(emit.fields)}")

        host = HttpHost(
            peer,
            work,
            MemoryStore(),
            addresses,
            ("127.0.0.1", 0),
            derive(root(5), index),
            emitted,
            on_listening=lambda port: addresses.__setitem__(peer.signer.node, f"http://127.0.0.1:{port}"),
            settings=HttpSettings(drain_s=1.0),
        )
        await host.run()

    async with asyncio.timeout(PATIENCE_S):
        await asyncio.gather(*(one(index, peer, work) for index, (peer, work) in enumerate(peers)))


def round_of(size: int, count: int, rule: RowMixer, rounds: int) -> tuple[list[float], float]:
    """Seconds of each round but the first, and bytes that one node sent for learning in one."""
    peers, stamps = make_peers(size, count, rule, rounds), list[float]()
    asyncio.run(run_network(peers, stamps))
    sent = float(np.mean([peer.traffic.sent for peer, _ in peers])) / rounds
    return [b - a for a, b in pairwise(stamps)][1:], sent


def rounds(size: int, count: int, num_rounds: int, repeats: int) -> dict[str, object]:
    sides: dict[str, RowMixer] = {"plain": Average(), "secure": Cell(count, "members")}
    sent = {"plain": 4.0 * size * (count - 1)}
    if sent["plain"] * count > PLAIN_BYTES_MAX:
        del sides["plain"]
    took: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(repeats):
        for name, rule in sides.items():
            seconds, sent[name] = round_of(size, count, rule, num_rounds)
            took[name] += seconds
    plain, secure = median(took["plain"]) if "plain" in sides else None, median(took["secure"])
    return {
        "parameters": size,
        "members": count,
        "plain ms": None if plain is None else 1e3 * plain,
        "secure ms": 1e3 * secure,
        "wall": None if plain is None else secure / plain,
        "plain MB sent": sent["plain"] / 1e6,
        "secure MB sent": sent["secure"] / 1e6,
        "bytes": sent["secure"] / sent["plain"],
    }


def main() -> None:
    args = parse_args(__doc__)
    keep_memory()
    torch.set_num_threads(1)
    masks = streams(MILLION, 5 if args.quick else 15)
    table(masks)
    cases = [(MILLION, 8)] if args.quick else CASES
    rows = [rounds(size, count, 5 if size == MILLION else 3, 2) for size, count in cases]
    table(rows)
    of_masks = {str(row["what"]): float(str(row["AES is faster by"])) for row in masks}
    wall = next(row for row in rows if (row["parameters"], row["members"]) == (MILLION, 8))["wall"]
    bar("mask expansion of numpy's PCG64 (32-bit words)", of_masks["PCG64, uint32"], 5.0)
    bar("mask expansion of numpy's PCG64 (default integers)", of_masks["PCG64, default integers"], 5.0)
    bar("secure round of a plain one, 1M parameters, 8 members", float(str(wall)), 2.0, at_least=False)
    write_json(args, [*masks, *rows])  # type: ignore[list-item]


if __name__ == "__main__":
    main()
