"""What a member of secure cells did since it last committed to work: not its own, which nobody may see, but what a cell
did together. Knows sums and rounds; no message, no window of the ledger.

In the last round of every window of cells the sum has a second part: the members' local work since the last such round.
Its mean, which all members of the cell learn alike, is what stands for the work of each of them.
"""

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from torch import Tensor

from p2pfl.core.ids import NodeId
from p2pfl.horizontal.pairs.deeds import Deeds

ROUNDS_KEPT = 64
"""Weighed rounds whose cells are known: work is judged two windows of the ledger later."""


class Sum(NamedTuple):
    """A weighed round's sum at one member: mean local work (P,) of a cell, and the member's models around it."""

    cell: bytes
    round: int
    members: int
    before: Tensor
    after: Tensor
    work: Tensor


@dataclass(frozen=True, eq=False)
class Together:
    """As `Deed` of pairs, of a cell: update (P,) is the mean of the work of its members. first, last: its rounds."""

    first: int
    last: int
    before: Tensor
    after: Tensor
    update: Tensor
    sum: Sum

    @property
    def shift(self) -> Tensor:
        """What moved the model besides."""
        return self.after - self.before - self.update


class CellDeeds(Deeds):
    """`cells`: members by the id of each cell of the newest weighed rounds: who can have done what together."""

    def __init__(self, x: Tensor, every: int) -> None:
        super().__init__(x)
        self.every = every
        self.cells: dict[bytes, tuple[NodeId, ...]] = {}
        self._rounds: deque[tuple[bytes, ...]] = deque(maxlen=ROUNDS_KEPT)
        self._mark = self.total
        self._newest: Sum | None = None

    def due(self) -> Tensor:
        """The local work since this was last asked: what goes into the sum of a weighed round."""
        work, self._mark = self.total - self._mark, self.total
        return work

    def drawn(self, cells: Mapping[bytes, tuple[NodeId, ...]]) -> None:
        """All cells of a weighed round."""
        if len(self._rounds) == ROUNDS_KEPT:
            for old in self._rounds[0]:
                self.cells.pop(old, None)
        self._rounds.append(tuple(cells))
        self.cells.update(cells)

    def summed(self, found: Sum, size_bytes: int) -> None:
        """A weighed round is over."""
        self._newest = found
        self.bytes_said += size_bytes

    def look(self) -> Together | None:  # type: ignore[override]
        """The newest sum that was not committed to."""
        found = self._newest
        if found is None:
            return None
        first = max(found.round - self.every + 1, 0)
        return Together(first, found.round, found.before, found.after, found.work, found)

    def take(self) -> None:
        self._newest = None

    def restart(self, x: Tensor, round_: int) -> None:
        super().restart(x, round_)
        self._mark, self._newest = self.total, None
