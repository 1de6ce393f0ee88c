"""The voting rule: what a validator that has signed this may still sign. Pure; knows no message, block or clock.

Theory of operation
-------------------
Simplex (Chan and Pass 2023), in the form with three kinds of votes. Views are numbered from 1 in each epoch; view 0
stands for the block the epoch begins on.

    in view v, on a proposal that extends well   notarize, if nothing was signed in v          (`may_notarize`)
    a quorum notarized h in v                    go to v+1; finalize h, if v is not nullified  (`may_finalize`)
    the timer of v fired                         nullify v, if nothing was finalized in v      (`may_nullify`)
    a quorum nullified v                         go to v+1
    a quorum finalized h in v                    h and its ancestors are final
    a proposal in v extends view p < v           if p is notarized and all between nullified   (`may_extend`)

Safety. Let h be finalized in v. A quorum to nullify v would share an honest validator with the quorum that finalized,
and no honest one signs both; so no later block can skip v. No second block is notarized in v, because no honest one
notarizes twice in a view. Hence all that is notarized later descends from h. It rests on three things: a vote is
durable before it is sent, two quorums share an honest validator, and all voters of an epoch are of one set.

Differs from the paper in: an explicit nullify vote instead of a dummy block; finalize votes name the block; and at the
end of an epoch the last block is proposed again until it is final, because nothing may extend it in that epoch.
The same functions are explored exhaustively in tests/ledger/model.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import IntEnum


class Kind(IntEnum):
    """Kinds of votes, as they are numbered on the wire."""

    NOTARIZE = 0
    NULLIFY = 1
    FINALIZE = 2


NOTHING = bytes(32)
"""What a nullify vote names."""


def tolerated(n: int) -> int:
    """f: how many of n validators may fail in any way."""
    return (n - 1) // 3


def quorum(n: int) -> int:
    """q = n - f: 1, 2, 3, 3, 4, 5, 5 for n = 1 to 7. Two quorums share more than f validators."""
    return n - tolerated(n)


@dataclass(frozen=True, slots=True)
class Cast:
    """What one validator has signed in one view."""

    notarized: bytes | None = None
    nullified: bool = False
    finalized: bytes | None = None

    def plus(self, kind: Kind, block: bytes) -> "Cast":
        if kind is Kind.NULLIFY:
            return replace(self, nullified=True)
        if kind is Kind.NOTARIZE:
            return replace(self, notarized=block)
        return replace(self, finalized=block)

    def __bool__(self) -> bool:
        return self.nullified or self.notarized is not None or self.finalized is not None


class VotingRule:
    """The four decisions, and the size of a quorum. Without state; a class so that tests can break one at a time."""

    def quorum(self, n: int) -> int:
        return quorum(n)

    def may_notarize(self, cast: Cast) -> bool:
        return not cast

    def may_nullify(self, cast: Cast) -> bool:
        return not cast.nullified and cast.finalized is None

    def may_finalize(self, cast: Cast) -> bool:
        """Asked for a block that a quorum notarized."""
        return not cast.nullified and cast.finalized is None

    def may_extend(self, parent_view: int, view: int, nullified: Callable[[int], bool]) -> bool:
        """Asked for a parent that is notarized in `parent_view`, or is the epoch's first."""
        return all(nullified(skipped) for skipped in range(parent_view + 1, view))


def conflict(one: tuple[Kind, bytes], other: tuple[Kind, bytes]) -> bool:
    """Whether no honest validator signs both in one view: two blocks with one kind of vote, or nullify and finalize."""
    if one[0] is other[0]:
        return one[1] != other[1]
    return {one[0], other[0]} == {Kind.NULLIFY, Kind.FINALIZE}
