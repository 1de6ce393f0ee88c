"""One shard of a network, built from the network's document: what a worker holds. Knows no carrier of boxes.

A `Shard` takes the steps of `hosts/shards.py`'s round, and answers with what its nodes had to tell (`Told`). Every
worker builds its own from the same document: data are loaded where they are used, and models never pass through whoever
asks for the steps.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import torch
from numpy.typing import NDArray

from p2pfl.assemble.network import Shared, assemble
from p2pfl.assemble.splits import load_held, shares_of
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
from p2pfl.learn.stacked import ENGINES, EngineName, TorchCrew
from p2pfl.mixing.pairwise import Pairwise
from p2pfl.runs.crews import cell_of, crew_of, next_epoch_of, setting_of
from p2pfl.runs.memory import estimate_bytes, free_bytes
from p2pfl.runs.shards_file import read_shard, write_shard
from p2pfl.transfer.distill import Distill
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
        if config.privacy.unit != "none":
            raise ConfigError("--engine ray: a network with [privacy] runs with --engine dense")
        if config.personal.steps:
            raise ConfigError("personal.steps: --engine ray makes no copies of a node's own; use --engine dense")
        if config.train.seconds is not None:
            raise ConfigError("train.seconds: --engine ray knows no time; use --engine events")
        shared = assemble(config, device="cpu", dtype=order.dtype)
        if isinstance(shared.mixer, Distill):
            raise ConfigError('mix.rule "distill": this engine mixes models alone; use --engine events')
        place = Place(order.shard, tuple(entry.key for entry in config.nodes), order.members)
        check_share(shared, place)
        held = load_held(config.data, config.seed)
        shares = shares_of(held, config.data, len(config.nodes), config.seed)
        self.order, self.shared, self.place = order, shared, place
        self.emits: list[tuple[int, Emit]] = []
        self.box_bytes = 0
        self.host = self._host(
            crew_of(shared, held, shares, order.engine, order.chunk, place.span.numbers), order.chunk
        )

    def _host(self, crew: TorchCrew | Learners, chunk: int | None) -> ShardHost:
        shared, place = self.shared, self.place
        names = [shared.config.nodes[number].name for number in place.span.numbers]
        cells = [cell_of(shared, crew, row, name) for row, name in enumerate(names)]
        setting = setting_of(shared, chunk)
        start = shared.start().expand(len(cells), -1).clone()
        models = Models(start, torch.zeros(len(cells), dtype=torch.float64))
        crossing: Crossing
        if isinstance(setting.rule, Pairwise):
            crossing = ShardPairs(setting, cells, models, crew, next_epoch_of, PHASE_MIN, place)
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
        """Of each node: its number, its round and its whole model (P,), copied."""
        host, found = self.host, []
        for row, (number, cell) in enumerate(zip(self.place.span.numbers, host.cells, strict=True)):
            whole = self.shared.whole(host.models.x[row], {name: slot[row] for name, slot in host.slots.items()})
            found.append((number, cell.local.round, whole.clone().numpy()))
        return found

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


def check_share(shared: Shared, place: Place) -> None:
    """Whether this shard fits into what is free on its machine. Raises ConfigError."""
    share = len(place.span.numbers) / place.span.total
    needed, free = round(share * estimate_bytes(shared, dense=True)), free_bytes()
    if free is not None and needed > free:
        raise ConfigError(
            f"worker {place.shard}: {len(place.span.numbers)} nodes of {shared.schema.size} parameters take about "
            f"{needed / 1e9:.1f} GB, and {free / 1e9:.1f} GB are free on its machine; take more workers or fewer nodes"
        )
