"""A cell: who sums together, how many must stay, who sums which slice. Knows identities and sizes, no key or message.

Legend: c members drawn; t of them must answer for anything to be opened.

    t = floor(2 c / 3) + 1

Two answers of one kind and of the other would need 2 t - T members, T of whom lie to both sides; while T < c / 3 that
is more than c, so nobody can be told two survivor lists and have both opened (Bonawitz et al. 2017, section 6.2).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from blake3 import blake3

from p2pfl.core.ids import NodeId
from p2pfl.errors import ConfigError

CELL_MIN = 3
"""With two, the sum and one's own vector give the other's."""
BLOCK_WORDS = 4
"""Words in one block of a mask stream (masks.py): slices begin at a block."""
CELL_MAX = 16
"""Pairwise work grows with c^2 in a cell, and control messages with it."""


@dataclass(frozen=True)
class Cell:
    """members: ascending. context: what the sum is for, 32 bytes; the same members in another round differ by it.
    whole: everybody or nobody; for sums of what does not change, where two sums with and without a member would give it
    away."""

    members: tuple[NodeId, ...]
    context: bytes
    round: int
    whole: bool = False

    def __post_init__(self) -> None:
        if not CELL_MIN <= len(self.members) <= CELL_MAX:
            raise ConfigError(f"secure cell: expected {CELL_MIN} to {CELL_MAX} members, got {len(self.members)}")
        if list(self.members) != sorted(set(self.members)):
            raise ValueError("expected members in ascending order, each once")

    @cached_property
    def id(self) -> bytes:
        """32 bytes; in every statement, so that none serves twice."""
        text = b"".join([self.context, self.round.to_bytes(8, "big"), bytes([self.whole]), *self.members])
        return blake3(text, derive_key_context="p2pfl secagg cell v1").digest()

    @property
    def threshold(self) -> int:
        return len(self.members) if self.whole else threshold_of(len(self.members))

    @cached_property
    def chair(self) -> NodeId:
        """Who relays control statements: by the cell's id, so another one every round."""
        return self.members[int.from_bytes(self.id[:8], "big") % len(self.members)]

    def index(self, member: NodeId) -> int:
        return self.members.index(member)


def threshold_of(size: int) -> int:
    """t of a cell of this size."""
    return 2 * size // 3 + 1


def slices(size: int, count: int) -> list[range]:
    """`size` words cut for `count` members: ranges that start at a block of the mask streams; the last may be empty."""
    step = -(-size // (count * BLOCK_WORDS)) * BLOCK_WORDS
    return [range(min(k * step, size), min((k + 1) * step, size)) for k in range(count)]


def heirs(sliced: Sequence[NodeId], alive: Sequence[NodeId]) -> dict[NodeId, tuple[int, ...]]:
    """Which slices each member that is there sums: its own, and in turn those of members that are gone."""
    found: dict[NodeId, list[int]] = {member: [] for member in sorted(alive)}
    takers, taken = sorted(alive), 0
    for number, owner in enumerate(sliced):
        if owner in found:
            found[owner].append(number)
        else:
            found[takers[taken % len(takers)]].append(number)
            taken += 1
    return {member: tuple(numbers) for member, numbers in found.items()}
