"""What all nodes' data say together about one column: count, mean, variance, histogram, by one secure sum. Knows a
node's document and its data; prints nothing.

Every machine runs the same question; each puts [count, sum, sum of squares, one count a bin] into one cell of all
members, and all read the sum. Values are taken as (value - low) / (high - low), those outside the range count as its
ends: so one row moves the sum by a bounded amount, and the grid of the sum is known beforehand.

It is everybody or nobody (`Cell.whole`): the data do not change between two questions, so a sum with a node and one
without it would give that node's figures away.
"""

import asyncio
import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from blake3 import blake3
from numpy.typing import NDArray
from torch import Tensor

from p2pfl.assemble.splits import node_splits
from p2pfl.compress import Dense, Int8
from p2pfl.config import NodeConfig
from p2pfl.core.noise import Key
from p2pfl.core.party import Emit
from p2pfl.core.vectors import ParamSchema, ParamSpec
from p2pfl.errors import ConfigError, HostError
from p2pfl.horizontal.gossip import Gossip
from p2pfl.horizontal.model.work import GossipWork
from p2pfl.horizontal.plan import Plan
from p2pfl.horizontal.terms.neighbourhood import Neighbourhood
from p2pfl.horizontal.terms.recipe import Recipe
from p2pfl.hosts.http import HttpHost
from p2pfl.hosts.reach import Reach
from p2pfl.learn.data import Data, Splits
from p2pfl.learn.optim import OptState
from p2pfl.learn.training import Evaluation, Trained
from p2pfl.ledger.stores.memory import MemoryStore
from p2pfl.mixing.cell import Cell
from p2pfl.peer.door import Door
from p2pfl.peer.peer import Peer
from p2pfl.privacy.accounting import check_target
from p2pfl.runs.stats_noise import Promised
from p2pfl.secagg.cell import CELL_MAX, CELL_MIN
from p2pfl.secagg.partition import Ground
from p2pfl.secagg.rounding import RANGE_MAX, Grid
from p2pfl.secagg.statements import CellMessage
from p2pfl.wire import canonical, keyfile
from p2pfl.wire.envelope import Signs

BINS_MAX = 1024
ROWS_MAX = int(RANGE_MAX)
"""Of one node: more would not fit the range of the sum."""
FIGURES = 3  # before the bins


@dataclass(frozen=True, slots=True)
class Question:
    """column: "label", a feature's name, or "x17" for the 18th value of a sample. Values from low to high, in bins.
    promised: differential privacy of each row, if it is asked for."""

    column: str
    low: float
    high: float
    bins: int = 10
    promised: Promised | None = None

    def __post_init__(self) -> None:
        if not (np.isfinite([self.low, self.high]).all() and self.low < self.high):
            raise ConfigError(f"stats: expected a finite range with low below high, got {self.low:g} to {self.high:g}")
        if not 1 <= self.bins <= BINS_MAX:
            raise ConfigError(f"stats: expected 1 to {BINS_MAX} bins, got {self.bins}")


@dataclass(frozen=True, slots=True)
class Figures:
    """Over all nodes' rows. error: what mean may be off by through rounding. deviation: of the noise in the count and
    in each bin, if there is any."""

    nodes: int
    count: int
    mean: float
    variance: float
    counts: tuple[int, ...]
    edges: tuple[float, ...]
    error: float
    deviation: float = 0.0


def column_of(splits: Splits, name: str) -> NDArray[np.float64]:
    """The named column of a node's own rows (not of the common test set). Raises ConfigError."""
    parts = [_column(data, name) for data in (splits.train, splits.validation) if len(data)]
    values = np.concatenate(parts) if parts else np.empty(0)
    if len(values) > ROWS_MAX:
        raise ConfigError(f"stats: expected at most {ROWS_MAX} rows at one node, got {len(values)}")
    return values


def _column(data: Data, name: str) -> NDArray[np.float64]:
    if name == "label":
        return data.y.reshape(len(data), -1)[:, 0].double().numpy()
    flat = data.x.reshape(len(data), -1)
    place = data.features.index(name) if name in data.features else _number(name)
    if place is None or place >= flat.shape[1]:
        known = ", ".join(data.features[:8]) if data.features else f"x0 to x{flat.shape[1] - 1}"
        raise ConfigError(f"{data.name}: no column {name!r}; expected label, or one of {known}")
    return flat[:, place].double().numpy()


def _number(name: str) -> int | None:
    digits = name.removeprefix("x")
    return int(digits) if name.startswith("x") and digits.isdecimal() and len(digits) < 9 else None


def counted(values: NDArray[np.float64], question: Question) -> Tensor:
    """One node's part of the sum, (3 + bins,) float64."""
    part = np.clip((values - question.low) / (question.high - question.low), 0.0, 1.0)
    bins = np.bincount(np.minimum((part * question.bins).astype(int), question.bins - 1), minlength=question.bins)
    return torch.tensor([len(part), part.sum(), np.square(part).sum(), *bins], dtype=torch.float64)


def figures(total: NDArray[np.float64], nodes: int, question: Question, unit: float) -> Figures:
    """What a sum says. unit: what the mean over the nodes of each figure may be off by. Noisy figures are brought to
    where true ones can be, which costs no privacy."""
    span, count = question.high - question.low, round(total[0])
    deviation = question.promised.deviation(nodes, unit, len(total)) if question.promised else 0.0
    if count <= 0:
        raise ConfigError("stats: no node has a row" if not deviation else "stats: too few rows to be told from noise")
    if deviation:
        total = np.maximum(total, 0.0)
        total[1], total[2] = min(total[1], count), min(total[2], count)
    mean = total[1] / count
    variance = max(total[2] / count - mean**2, 0.0)
    edges = tuple(float(edge) for edge in np.linspace(question.low, question.high, question.bins + 1))
    counts = tuple(round(bin_) for bin_ in total[FIGURES:])
    error = span * nodes * unit / count
    return Figures(nodes, count, question.low + span * mean, span**2 * variance, counts, edges, error, deviation)


@dataclass(frozen=True, eq=False)
class Counting:
    """A learner whose model is a node's part of the sum."""

    part: Tensor

    @property
    def schema(self) -> ParamSchema:
        return ParamSchema((ParamSpec("figures", (self.part.numel(),), "weights"),))

    def start(self) -> Tensor:
        return torch.zeros_like(self.part)

    def start_digest(self) -> bytes:
        return bytes(32)

    def init(self, x: Tensor) -> OptState:
        return OptState(0, {})

    def lr_at(self, round: int) -> float:
        return 1.0

    def train(
        self, x: Tensor, state: OptState, shift: Tensor | None, steps: int, round: int, key: Key, weight: float = 1.0
    ) -> Trained:
        return Trained(self.part, OptState(state.steps + steps, {}), 1.0, (1.0,) * steps, 0.0, 0, None)

    def evaluate(self, x: Tensor, split: str) -> Evaluation:
        return Evaluation(0.0, None, 1)

    def num_samples(self, split: str) -> int:
        return 1


@dataclass(frozen=True, eq=False)
class Census:
    """One machine's part of a question, ready for a host."""

    party: Peer
    job: Gossip
    work: GossipWork
    question: Question

    def answer(self) -> Figures:
        """After the run. Raises HostError if nobody has learned anything."""
        exchange: Any = self.job.exchange
        nodes = len(self.job.plan.nb.members)
        if exchange.sums != 1:
            raise HostError("stats: the sum failed and nobody learned anything; every node must run the same question")
        return figures(self.job.local.x.numpy() * nodes, nodes, self.question, Grid(RANGE_MAX, nodes).unit)


def census(
    network: bytes, members: tuple[bytes, ...], signer: Signs, part: Tensor, question: Question, timeout_s: float
) -> Census:
    """What one member runs. `network`: names the members' network; a question has a name of its own below it."""
    if not CELL_MIN <= len(members) <= CELL_MAX:
        raise ConfigError(f"stats: expected a network of {CELL_MIN} to {CELL_MAX} nodes, got {len(members)}")
    asked = [network, question.column, float(question.low), float(question.high), question.bins]
    promised = question.promised
    if promised is not None:
        asked += [promised.epsilon, promised.delta, promised.coalition]
    name = blake3(canonical.packb(asked), derive_key_context="p2pfl stats v1").digest()
    learner = Counting(part)
    ids: Any = tuple(sorted(members))
    around = {node: tuple(other for other in ids if other != node) for node in ids}
    ground = Ground(around, len(ids), "members")
    others = around[signer.node]
    rule = Cell(len(ids), "members", RANGE_MAX, whole=True)
    recipe = Recipe(name, learner.schema.digest, bytes(32), bytes(32), ("stats",), ("fp32",), "lockstep", 1)
    nb = Neighbourhood(signer.node, others, dict.fromkeys(others, 1.0 / len(ids)), len(ids) - 1.0, (), ids, 1, around)
    work = GossipWork(learner, Dense(), rule, Int8())
    plan = Plan(recipe, replace(nb, ground=ground), 1, timeout_s, 60.0 * timeout_s, 2, 0, "fp32")
    if promised is not None:
        plan = replace(plan, noise=promised.noise(len(ids)))
    job = Gossip(plan, work)
    door = Door(signer.node, name, frozenset(others), {CellMessage.KIND: CellMessage.from_fields})
    return Census(Peer(signer, name, recipe.digest, others, job, "stats", door=door), job, work, question)


def ask(config: NodeConfig, question: Question, on_emit: Callable[[Emit], None], timeout_s: float) -> Figures:
    """This machine's part over HTTP, until all have the answer. Raises ConfigError or HostError in one line."""
    from p2pfl.assemble.network import assemble

    signer = keyfile.load(config.key_file)
    shared = assemble(config.network, "cpu")
    rows = column_of(node_splits(config.data, config.network), question.column)
    if question.promised is not None:
        check_target(question.promised.epsilon, question.promised.delta, max(len(rows), 1))
    part = counted(rows, question)
    members = tuple(entry.key for entry in config.network.nodes)
    mine = census(shared.network, members, signer, part, question, timeout_s)
    addresses = {entry.key: entry.url for entry in config.network.nodes}
    network = config.network
    reach = Reach(signer, shared.network, network.node(config.name).url, network.tls == "off")
    host = HttpHost(
        mine.party, mine.work, MemoryStore(), addresses, config.address, os.urandom(32), on_emit, reach=reach
    )
    asyncio.run(host.run())
    return mine.answer()
