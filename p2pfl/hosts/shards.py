"""One shard of a network: the dense engine over some of the nodes. Knows boxes, not who carries them.

Theory of operation
-------------------
The nodes of a network are divided among K shards, each a `DenseHost` over its own. A round of shard k:

    train        its nodes train; nobody is needed for that
    send         one box for every shard (its own, empty, among them), with what the nodes there are to hear
    ..           more boxes, each made from the last ones, as often as the rule sends (`Crossing.sends`)
    land         the last boxes are in: its nodes mix, and those due are judged

Every shard takes these steps in the same order (`runs/shards_team.py` calls them), and a box is all that passes between
two of them: numbers in numpy arrays, only the rows that cross. Draws come from each node's own key and sums are taken
in the order of the nodes' ids, so what a node gets does not depend on K but for the rounding of batched products
(tests/agreement/test_shards.py). A shard that cannot train on says so in its boxes, and all stop in that round.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from p2pfl.core.ids import NodeId
from p2pfl.core.party import Emit
from p2pfl.hosts.dense import Cell, DenseHost, DenseSetting, Exchanging, Models
from p2pfl.hosts.dense_span import Span
from p2pfl.learn.crew import Crew, Drill

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]
Integers = NDArray[np.int64]


@dataclass(frozen=True)
class Place:
    """Where one shard is among all. nodes: everybody, by number; members: each shard's numbers, ascending."""

    shard: int
    nodes: tuple[NodeId, ...]
    members: tuple[tuple[int, ...], ...]

    @property
    def span(self) -> Span:
        return Span(self.members[self.shard], len(self.nodes))

    @property
    def count(self) -> int:
        """How many shards there are."""
        return len(self.members)

    @cached_property
    def number(self) -> dict[NodeId, int]:
        return {node: number for number, node in enumerate(self.nodes)}

    @cached_property
    def owner(self) -> dict[NodeId, int]:
        """Which shard a node is in."""
        return {self.nodes[number]: shard for shard, numbers in enumerate(self.members) for number in numbers}


class Box(NamedTuple):
    """What one shard has to tell another in one step. Both know from the graph which rows are in it and in what order.

    measured: the sum of the sizes of all codes that the sender measured in this round, and how many they were.
    """

    values: Floats  # (h, V P)
    scalars: Doubles  # (h, ..)
    integers: Integers  # (h, ..)
    measured: tuple[int, int] = (0, 0)
    failed: bool = False


def empty_box(measured: tuple[int, int] = (0, 0), failed: bool = False) -> Box:
    return Box(np.empty((0, 0), np.float32), np.empty((0, 0)), np.empty((0, 0), np.int64), measured, failed)


class Crossing(Exchanging, Protocol):
    """An exchange of which a part is with other shards."""

    sends: int
    """How often boxes are sent in an exchange."""

    def send(self, index: int, step: int, inbox: Sequence[Box]) -> list[Box]:
        """The boxes of one step of exchange `index`, one for each shard; `inbox` are the last step's."""
        ...

    def take(self, inbox: Sequence[Box]) -> None:
        """The last step's boxes; then comes `exchange`."""
        ...


class ShardHost(DenseHost):
    """A `DenseHost` that pauses where it needs the others."""

    def __init__(
        self,
        setting: DenseSetting,
        cells: Sequence[Cell],
        models: Models,
        crew: Crew,
        crossing: Crossing,
        place: Place,
        on_emit: Callable[[NodeId, Emit], None],
    ) -> None:
        super().__init__(setting, cells, models, crew, crossing, on_emit)
        self.crossing, self.place = crossing, place
        self.step = 0
        self.due: list[int] = []

    @property
    def finished(self) -> bool:
        """Whether all nodes here have trained as much as they are to."""
        return all(cell.local.finished for cell in self.cells)

    @property
    def closing_rounds(self) -> int:
        """Exchanges without training that follow when all are finished everywhere."""
        return self.setting.closing * self.crossing.period()

    def train(self) -> None:
        """The local phases of a round, if any node here has one left."""
        self._round()

    def send(self, inbox: Sequence[Box]) -> list[Box]:
        """The next boxes, one for each shard; `inbox` is empty at first."""
        self.failed = self.failed or any(box.failed for box in inbox)
        if self.failed:
            return [empty_box(failed=True) for _ in range(self.place.count)]
        self.step += 1
        return self.crossing.send(self.index, self.step - 1, inbox)

    def land(self, inbox: Sequence[Box]) -> None:
        """The end of a round."""
        self.failed = self.failed or any(box.failed for box in inbox)
        due, self.due, self.step = sorted(self.due), [], 0
        if self.failed:
            return
        self.crossing.take(inbox)
        super()._exchange()
        if due:
            for row, result in zip(due, self._evaluate(due), strict=True):
                self._judge(self.cells[row], result)

    def end(self) -> None:
        """The last judgement."""
        self._end()

    def _landed(self, drill: Drill) -> list[int]:
        self.due += super()._landed(drill)
        return []  # judged after the exchange, which is not in this call

    def _exchange(self) -> None:
        """Not before all has been heard: `land`."""


def mean_size(sizes: Sequence[int | None], inbox: Sequence[Box]) -> int:
    """The mean of all sizes that were measured in a round, here and elsewhere, as `dense.filled` has it."""
    total, count = measured(sizes)
    total += sum(box.measured[0] for box in inbox)
    count += sum(box.measured[1] for box in inbox)
    return round(total / count) if count else 0


def measured(sizes: Sequence[int | None]) -> tuple[int, int]:
    known = [size for size in sizes if size is not None]
    return sum(known), len(known)


def settled(sizes: Sequence[int | None], mean: int) -> list[int]:
    return [mean if size is None else size for size in sizes]
