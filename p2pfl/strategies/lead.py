"""A leader that chooses among the blocks that it may propose. Knows drafts of blocks and draws; knows no model.

The root of the state at the end of an accounting window is a part of the seed of that window's draw, and whoever leads
there may put any time into the header, or leave entries for later. So it can make many blocks, with many roots, and
propose the one whose draw it likes best: this one tries times. What it cannot know are the salts, which others
committed to before and show after: what it looks at is the draw that the root alone would make.
"""

from collections.abc import Mapping
from typing import ClassVar

from p2pfl.core.ids import NodeId
from p2pfl.ledger.blocks.block import Fault
from p2pfl.ledger.finality.book import Book
from p2pfl.ledger.finality.forge import Forge, Node, Terms
from p2pfl.ledger.outcome.draw import draw, seed_of, standing_of
from p2pfl.ledger.outcome.state import State
from p2pfl.strategies.strategy import Strategy

TRIES = 16
"""Blocks that it makes where a window ends."""


class GrindingForge(Forge):
    """Proposes, of TRIES blocks, the one that looks best for its friends."""

    def __init__(self, terms: Terms, book: Book, friends: frozenset[bytes]) -> None:
        super().__init__(terms, book)
        self.friends = friends

    def draft(self, parent: Node, view: int, time_ms: int, faults: Mapping[NodeId, Fault]) -> Node:
        first = super().draft(parent, view, time_ms, faults)
        if liking(parent.execution.state, first.execution.state, self.friends) is None:
            return first
        made = [first, *(super(GrindingForge, self).draft(parent, view, time_ms + k, faults) for k in range(1, TRIES))]
        return max(made, key=lambda node: liking(parent.execution.state, node.execution.state, self.friends) or 0)


def liking(before: object, after: object, friends: frozenset[bytes]) -> int | None:
    """Friends that would evaluate less those that would be audited, by the root alone; None where no window ended."""
    assert isinstance(before, State)
    assert isinstance(after, State)
    window = before.get("window")
    number = window[0] if window is not None else 0
    kept = after.get("draw", number)
    if before.get("draw", number) is not None or kept is None:
        return None
    members = {
        NodeId(author): standing_of(after, author)[0] for (of, author), _ in after.items("commit") if of == number
    }
    drawn = draw(seed_of(kept[0], {}), members)  # type: ignore[arg-type]
    return len(friends & set(drawn.evaluators)) - len(friends & set(drawn.audits))


class GrindingLeader(Strategy):
    """Works, and grinds the draw whenever it leads where a window ends."""

    name: ClassVar[str] = "grindingleader"

    def forge(self, terms: Terms, book: Book) -> Forge:
        return GrindingForge(terms, book, self.friends)
