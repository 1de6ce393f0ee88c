"""What is known of one member, and how two such knowledges become one. Pure.

`merge` is commutative, associative and idempotent, and gives what is later in this order: a higher incarnation before
all else; within one, alive < suspect < dead < left. So members that have heard the same statements, in whatever order
and however often, hold the same. Differs from SWIM (Das, Gupta, Motivala 2002) in: only the subject can speak for a new
incarnation, accusations are signed and count once for each accuser, and who left has said so itself.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import IntEnum

from p2pfl.core.ids import NodeId
from p2pfl.membership.bounds import ACCUSERS_MAX
from p2pfl.membership.record import Record, newer
from p2pfl.membership.statements import Statement, Tag


class State(IntEnum):
    """In the order in which later knowledge goes."""

    ALIVE = 0
    SUSPECT = 1
    DEAD = 2
    LEFT = 3


@dataclass(frozen=True, slots=True)
class Standing:
    """accusers: by key, ascending, at most ACCUSERS_MAX: those of the smallest keys. All are of the record's
    incarnation."""

    record: Record
    accusers: tuple[Statement, ...] = field(default=())
    dead: Statement | None = None
    left: Statement | None = None

    @property
    def node(self) -> NodeId:
        return self.record.node

    @property
    def incarnation(self) -> int:
        return self.record.incarnation

    @property
    def state(self) -> State:
        if self.left is not None:
            return State.LEFT
        if self.dead is not None:
            return State.DEAD
        return State.SUSPECT if self.accusers else State.ALIVE

    @property
    def is_here(self) -> bool:
        """Whether it counts as a member of the view: a suspicion is no verdict."""
        return self.state <= State.SUSPECT

    @property
    def row(self) -> tuple[int, int]:
        """What push-pulls compare: the incarnation, and 0 here, 1 dead, 2 left."""
        return self.incarnation, max(0, int(self.state) - 1)

    def statements(self) -> list[bytes]:
        """All of it, for somebody who knows nothing."""
        rest = [self.left] if self.left is not None else [self.dead] if self.dead is not None else self.accusers
        return [self.record.raw, *(said.raw for said in rest)]

    def told(self, statement: Statement) -> "Standing":
        """With a statement about this member; the same if it is of another incarnation."""
        if statement.number != self.incarnation or statement.about != self.node:
            return self
        return merge(self, _only(self.record, statement))


def merge(a: Standing, b: Standing) -> Standing:
    """What both know together, of one member."""
    if a.incarnation != b.incarnation:
        return a if a.incarnation > b.incarnation else b
    found: dict[NodeId, Statement] = {said.author: said for said in (*a.accusers, *b.accusers)}
    return Standing(
        newer([a.record, b.record]),
        tuple(found[author] for author in sorted(found)[:ACCUSERS_MAX]),
        _first(said for said in (a.dead, b.dead) if said is not None),
        a.left or b.left,
    )


def _first(said: Iterable[Statement]) -> Statement | None:
    return min(said, key=lambda statement: statement.author, default=None)


def _only(record: Record, statement: Statement) -> Standing:
    match statement.tag:
        case Tag.SUSPECT:
            return Standing(record, accusers=(statement,))
        case Tag.DEAD:
            return Standing(record, dead=statement)
        case Tag.LEFT:
            return Standing(record, left=statement)
        case _:
            return Standing(record)
