"""One shard of a network, built from the network's document: what a worker holds. Knows no carrier of boxes.

A `Shard` takes the steps of `hosts/shards.py`'s round, and answers with what its nodes had to tell (`Told`). Every
worker builds its own from the same document: data are loaded where they are used, and models never pass through whoever
asks for the steps.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from time import process_time
from typing import Any, NamedTuple, TypeVar

import torch
from numpy.typing import NDArray
from torch import Tensor

from p2pfl.assemble import Shared, assemble, load_held, rows_of, shares_of, splits_of, training_of
from p2pfl.config import NetworkConfig
from p2pfl.core.ids import NodeId
from p2pfl.core.party import Emit
from p2pfl.errors import ConfigError
from p2pfl.hosts.dense import Models
from p2pfl.hosts.shards import Box, Crossing, Place, ShardHost
from p2pfl.hosts.shards_cut import Members
from p2pfl.hosts.shards_pairs import ShardPairs
from p2pfl.hosts.shards_rows import ShardRows
from p2pfl.hosts.shards_state import keep, restore
from p2pfl.learn.crew import Learners
from p2pfl.learn.data import Held
from p2pfl.learn.learner import TorchLearner
from p2pfl.learn.pool import Pool
from p2pfl.learn.stacked import ENGINES, EngineName, TorchCrew
from p2pfl.mixing.pairwise import Pairwise
from p2pfl.runs import dense
from p2pfl.runs.memory import estimate_bytes, free_bytes
from p2pfl.runs.shards_file import read_shard, write_shard
from p2pfl.wire.messages import PHASE_MIN

T = TypeVar("T")


@dataclass(frozen=True)
class ShardOrder:
    """What a worker needs to build its shard. The last three are as `build_dense` has them."""

    config: NetworkConfig
    shard: int
    members: Members
    engine: EngineName = "auto"
    dtype: torch.dtype = torch.float32
    chunk: int | None = None


class Told(NamedTuple):
    """What came of a step: what the nodes emitted, by number; whether all here have finished; whether one failed.

    rounds: those that are over, closing ones included; box_bytes: of the boxes since the last telling.
    """

    emits: list[tuple[int, Emit]]
    finished: bool
    failed: bool
    rounds: int
    closing_rounds: int
    engine: str
    box_bytes: int


class Shard:
    """Raises ConfigError if its part of the network cannot be built on this machine."""

    def __init__(self, order: ShardOrder) -> None:
        config = order.config
        shared = assemble(config, device="cpu", dtype=order.dtype)
        place = Place(order.shard, tuple(entry.key for entry in config.nodes), order.members)
        check_share(shared, place)
        held = load_held(config.data, config.seed)
        shares = shares_of(held, config.data, len(config.nodes), config.seed)
        self.order, self.shared, self.place = order, shared, place
        self.emits: list[tuple[int, Emit]] = []
        self.box_bytes = 0
        self.host = self._host(crew_of(shared, held, shares, order), order.chunk)

    def _host(self, crew: TorchCrew | Learners, chunk: int | None) -> ShardHost:
        shared, place = self.shared, self.place
        names = [shared.config.nodes[number].name for number in place.span.numbers]
        cells = [dense._cell(shared, crew, row, name) for row, name in enumerate(names)]
        setting = dense._setting(shared, chunk)
        start = shared.model.start().expand(len(cells), -1).clone()
        models = Models(start, torch.zeros(len(cells), dtype=torch.float64))
        crossing: Crossing
        if isinstance(setting.rule, Pairwise):
            crossing = ShardPairs(setting, cells, models, crew, dense._next_epoch, PHASE_MIN, place)
        else:
            crossing = ShardRows(setting, cells, models, place)
        return ShardHost(setting, cells, models, crew, crossing, place, self._emitted)

    def _emitted(self, node: NodeId, emit: Emit) -> None:
        self.emits.append((self.place.number[node], emit))

    # -------------------------------------------------------------------------------------------- a round

    def told(self) -> Told:
        emits, self.emits = self.emits, []
        crew, host = self.host.crew, self.host
        engine = crew.engine_name if isinstance(crew, TorchCrew) else "learners"
        sent, self.box_bytes = self.box_bytes, 0
        return Told(emits, host.finished, host.failed, host.index, host.closing_rounds, engine, sent)

    def train(self, closing: bool) -> list[Box]:
        """The first boxes of a round. closing: nobody trains any more."""
        if not closing:
            one_thread(self.host.train)
        return self.send()

    def send(self, *inbox: Box) -> list[Box]:
        boxes = one_thread(partial(self.host.send, inbox))
        self.box_bytes += sum(box.values.nbytes + box.scalars.nbytes + box.integers.nbytes for box in boxes)
        return boxes

    def land(self, *inbox: Box) -> Told:
        one_thread(partial(self.host.land, inbox))
        return self.told()

    def end(self) -> Told:
        one_thread(self.host.end)
        return self.told()

    # -------------------------------------------------------------------------------------------- what it holds

    def models(self) -> list[tuple[int, int, NDArray[Any]]]:
        """Of each node: its number, its round and its model (P,), copied."""
        rows = zip(self.place.span.numbers, self.host.cells, self.host.models.x.clone().numpy(), strict=True)
        return [(number, cell.local.round, x) for number, cell, x in rows]

    def save(self, path: Path) -> bytes:
        """Write all that a fresh shard needs to go on. Returns the file's digest. Raises HostError."""
        return write_shard(path, keep(self.host))

    def load(self, path: Path, digest: bytes, engine: str) -> Told:
        """Become what was saved, training with the same engine. Raises ConfigError if the file is of something else."""
        try:
            restore(self.host, read_shard(path, digest))
        except ValueError as error:
            raise ConfigError(f"{path}: {error}") from None
        crew = self.host.crew
        if isinstance(crew, TorchCrew) and crew.engine is None and engine in ENGINES:
            kind = ENGINES[engine]
            crew.engine = next((found for found in crew.candidates if type(found) is kind), None)
        return self.told()


def one_thread(call: Callable[[], T]) -> T:
    """A step on one thread: shards are as many as there are cores, and a result must not depend on that."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return call()
    finally:
        torch.set_num_threads(threads)


def crew_of(shared: Shared, held: Held, shares: Sequence[Tensor], order: ShardOrder) -> TorchCrew | Learners:
    """Who trains a shard's nodes, by row. Raises ConfigError."""
    config, data, numbers = shared.config, shared.config.data, order.members[order.shard]
    if str(config.train.learner) != "torch":
        if order.engine != "auto":
            raise ConfigError(
                f"train engine {order.engine!r}: train.learner is {str(config.train.learner)!r}; use 'auto'"
            )
        splits = [splits_of(held, shares[number], data, config.seed, number) for number in numbers]
        return Learners([shared.work(own, config.train).learner for own in splits])
    parts = [rows_of(held, shares[number], data, config.seed, number) for number in numbers]
    train, test = (part.to(shared.model.device, shared.model.dtype) for part in (held.train, held.test))
    pool = Pool(train, test, [own for own, _ in parts], [kept for _, kept in parts], config.train.batch_size)
    if type(shared.work(pool.splits(0), config.train).learner) is not TorchLearner:  # as differential privacy has it
        raise ConfigError("--engine ray: a network with [privacy] runs with --engine dense")
    training = training_of(config.train, config.pace.rounds)
    pairs = isinstance(shared.mixer, Pairwise)
    return TorchCrew(shared.model, pool, training, order.engine, order.chunk, directions=pairs, clock=process_time)


def check_share(shared: Shared, place: Place) -> None:
    """Whether this shard fits into what is free on its machine. Raises ConfigError."""
    share = len(place.span.numbers) / place.span.total
    needed, free = round(share * estimate_bytes(shared, dense=True)), free_bytes()
    if free is not None and needed > free:
        raise ConfigError(
            f"worker {place.shard}: {len(place.span.numbers)} nodes of {shared.schema.size} parameters take about "
            f"{needed / 1e9:.1f} GB, and {free / 1e9:.1f} GB are free on its machine; take more workers or fewer nodes"
        )
