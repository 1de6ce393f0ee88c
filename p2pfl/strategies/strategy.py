"""What a strategy may change of a node: its data, what it computes, its manner, the blocks that it proposes. Changes
nothing itself.

A strategy is given to `Shared.node` (assemble.py), so the same class runs in the simulator and as a process over HTTP,
and the rest of the node does not know.
"""

from typing import ClassVar

from p2pfl.horizontal.model.work import GossipWork
from p2pfl.horizontal.valuing.manner import Manner
from p2pfl.learn.data import Splits
from p2pfl.ledger.finality.book import Book
from p2pfl.ledger.finality.forge import Forge, Terms


class Strategy:
    """Honest. `works`: whether it puts its own data and training in; so it should earn."""

    name: ClassVar[str] = "honest"
    works: ClassVar[bool] = True

    def __init__(self, friends: frozenset[bytes] = frozenset()) -> None:
        self.friends = friends
        self.manner = Manner()

    def share(self, index: int) -> int:
        """Which share of the data the node of this index takes."""
        return index

    def splits(self, splits: Splits) -> Splits:
        return splits

    def work(self, work: GossipWork) -> GossipWork:
        """What computes for the node."""
        return work

    def forge(self, terms: Terms, book: Book) -> Forge:
        """What makes and checks blocks for the node."""
        return Forge(terms, book)


HONEST = Strategy()
