"""Answers other nodes' questions where their feeds end, and carries far ones on. Pure; knows the book and the state.

A near question comes from a neighbour and is answered to it. A far one goes on to everybody once, and so does each
answer. Only validators answer those, besides the author's neighbours: theirs are the acknowledgements that count, and
theirs alone are carried on.

Bounded: a question is a neighbour's, or of somebody whose feed is here, and of each at most one in `EVERY_S`; an answer
that goes on is to a question that came by, one of each validator. What went on is remembered for the last `SEEN_MAX`.
"""

from collections import OrderedDict
from collections.abc import Callable
from typing import NamedTuple

from p2pfl.core.ids import NodeId
from p2pfl.ledger.feeds.ends import Answer, Question, answer
from p2pfl.ledger.feeds.entry import NO_ENTRY
from p2pfl.ledger.feeds.statements import acknowledge
from p2pfl.ledger.finality.book import Book
from p2pfl.ledger.outcome.members import validators_of
from p2pfl.ledger.outcome.state import State
from p2pfl.wire.envelope import Signs

EVERY_S = 0.5
SEEN_MAX = 4096
AUTHORS_MAX = 1024


class Saying(NamedTuple):
    """Bytes for one neighbour, or for all (`to` is None) but one."""

    raw: bytes
    to: NodeId | None
    but: NodeId | None


class Herald:
    """`look` gives the node's book and its final state as they are now."""

    def __init__(self, signer: Signs, net: bytes, look: Callable[[], tuple[Book, State]]) -> None:
        self.signer, self.net, self._look = signer, net, look
        self._seen: OrderedDict[tuple[bytes, ...], None] = OrderedDict()
        self._asked_at: OrderedDict[NodeId, float] = OrderedDict()

    def asked(self, sender: NodeId, question: Question, now: float) -> list[Saying]:
        """What to say to somebody else's question."""
        author = question.author
        near = sender == author
        book, state = self._look()
        if author == self.signer.node or not (near or (question.far and _knows(book, author))):
            return []
        if not self._is_due(question, now):
            return []
        said: list[Saying] = []
        if question.far:
            said.append(Saying(question.raw, None, sender))
        if near or self.signer.node in validators_of(state):
            mine = self._answer(question, book, state)
            self._is_new(mine)
            said.append(Saying(mine.raw, None if question.far and not near else sender, None))
        return said

    def heard(self, sender: NodeId, found: Answer) -> list[Saying]:
        """A validator's answer to somebody else's question goes on, once."""
        if (found.author, found.nonce) not in self._seen or found.witness not in validators_of(self._look()[1]):
            return []
        return [Saying(found.raw, None, sender)] if self._is_new(found) else []

    def _answer(self, question: Question, book: Book, state: State) -> Answer:
        author = question.author
        counts = state.number("incarnation", author)
        latest = max(((tip.incarnation, tip.seq) for tip in book.tips() if tip.author == author), default=(0, 0))
        tip = book.tip((author, counts))
        if tip is None:
            return answer(self.signer, self.net, question, latest, (counts, 0, NO_ENTRY), b"")
        place = (counts, tip.seq, tip.id)
        sound = tip.feed not in book.forks and state.get("frozen", author) is None
        vouched = acknowledge(self.signer, self.net, author, *place) if sound else b""
        return answer(self.signer, self.net, question, latest, place, vouched)

    def _is_due(self, question: Question, now: float) -> bool:
        last = self._asked_at.get(question.author)
        if last is not None and now < last + EVERY_S:
            return False
        if not self._remember((question.author, question.nonce)):
            return False
        self._asked_at[question.author] = now
        self._asked_at.move_to_end(question.author)
        if len(self._asked_at) > AUTHORS_MAX:
            self._asked_at.popitem(last=False)
        return True

    def _is_new(self, found: Answer) -> bool:
        return self._remember((found.author, found.nonce, found.witness))

    def _remember(self, key: tuple[bytes, ...]) -> bool:
        """Whether it was not seen before."""
        if key in self._seen:
            return False
        self._seen[key] = None
        if len(self._seen) > SEEN_MAX:
            self._seen.popitem(last=False)
        return True


def _knows(book: Book, author: NodeId) -> bool:
    return any(tip.author == author for tip in book.tips())
