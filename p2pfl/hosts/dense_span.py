"""Which nodes of a whole network are in one tensor program. Knows numbers only."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Span:
    """numbers: of each row's node in the whole network, ascending; total: nodes of the whole network."""

    numbers: Sequence[int]
    total: int

    @classmethod
    def whole(cls, total: int) -> "Span":
        return cls(range(total), total)
