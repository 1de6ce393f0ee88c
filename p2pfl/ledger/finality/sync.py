"""Anti-entropy: how feeds spread until everybody has everything. Pure; knows the book, no vote and no clock.

Theory of operation
-------------------
    tick                      a Digest of the state vector to one neighbour, each in turn
    a Digest that is not mine my Vector to whoever sent it
    a Vector                  proofs of forks it lacks first; then the entries it lacks; then `Wanted` for those I lack
    Wanted                    the entries, on the branch of the given head if I have it, else on the main one
    Entries                   into the book; what is new goes on to the other neighbours, proofs of forks first
    Forks                     the same

A feed is a total order, so a vector says all in one row per feed, and one exchange is enough. Two heads at one seq are
already a fork: the other head alone is asked for. Every message is bounded; what does not fit comes with the next tick.
"""

from collections.abc import Iterable
from hashlib import sha256

from p2pfl.core.ids import NodeId
from p2pfl.core.party import Persist
from p2pfl.errors import Reject
from p2pfl.ledger.blocks.block import FORK, Fault, Head
from p2pfl.ledger.blocks.cut import FeedKey, Heads
from p2pfl.ledger.feeds.bounds import (
    ENTRIES_SENT_BYTES_MAX,
    ENTRIES_SENT_MAX,
    FORKS_SENT_MAX,
    HEADS_MAX,
    RANGES_MAX,
)
from p2pfl.ledger.feeds.entry import Entry, parse
from p2pfl.ledger.finality.book import Book, Fork, News
from p2pfl.ledger.finality.effects import LedgerEffect, ReadEntries, Tell
from p2pfl.ledger.finality.talk import Digest, Entries, Forks, Row, Stretch, Vector, Wanted

SyncTalk = Digest | Vector | Wanted | Entries | Forks


class Sync:
    """One node's side of anti-entropy over its book."""

    def __init__(self, book: Book) -> None:
        self.book = book
        self._vector: tuple[int, Vector] = (-1, Vector(()))

    def vector(self) -> Vector:
        """What is here. Kept until the book changes."""
        if self._vector[0] != self.book.version:
            rows = (Row(tip, tip.feed in self.book.forks) for tip in self.book.tips()[:HEADS_MAX])
            self._vector = (self.book.version, Vector(tuple(rows)))
        return self._vector[1]

    def greet(self, to: NodeId) -> LedgerEffect:
        """What to say on a tick."""
        return Tell(Digest(self._digest()), to)

    def told(self, sender: NodeId, message: SyncTalk) -> tuple[list[LedgerEffect], News]:
        """The reaction to a message, and what is new by it. Raises Reject if the sender is at fault."""
        match message:
            case Digest():
                same = message.digest == self._digest()
                return ([] if same else [Tell(self.vector(), sender)]), News()
            case Vector():
                return self._compare(sender, message), News()
            case Wanted():
                return self._serve(sender, message), News()
            case Entries():
                return self._take_entries(sender, message)
            case Forks():
                return self._take_forks(sender, message)

    def spread(self, news: News, sender: NodeId | None) -> list[LedgerEffect]:
        """Make news durable and tell the neighbours: proofs of forks before anything else."""
        effects: list[LedgerEffect] = [Persist(tuple(news.puts))] if news.puts else []
        relayed = sender is not None
        if news.forks:
            proofs = tuple(fork.evidence for fork in news.forks[:FORKS_SENT_MAX])
            effects.append(Tell(Forks(proofs), but=sender, relayed=relayed))
        for piece in _pieces(news.entries):
            effects.append(Tell(Entries(piece), but=sender, relayed=relayed))
        return effects

    def ask(self, stretches: Iterable[Stretch], to: NodeId | None) -> list[LedgerEffect]:
        """Ask for these, and for what parked entries wait for."""
        asked = {stretch.head.id: stretch for stretch in stretches}
        for head in self.book.missing():
            tip = self.book.tip(head.feed)
            after = min(tip.seq, head.seq - 1) if tip and head.feed not in self.book.forks else head.seq - 64
            asked.setdefault(head.id, Stretch(head, max(after, -1)))
        wanted = [asked[id_] for id_ in sorted(asked)][:RANGES_MAX]
        return [Tell(Wanted(tuple(wanted)), to)] if wanted else []

    # ------------------------------------------------------------------------------------------------ inside

    def _digest(self) -> bytes:
        return sha256(self.vector().raw).digest()

    def _compare(self, sender: NodeId, theirs: Vector) -> list[LedgerEffect]:
        mine = {row.head.feed: row for row in self.vector().rows}
        rows = {row.head.feed: row for row in theirs.rows}
        unknown = [fork for feed, fork in sorted(self._forks()) if not (feed in rows and rows[feed].forked)]
        effects: list[LedgerEffect] = []
        if unknown:
            proofs = tuple(fork.evidence for fork in unknown[:FORKS_SENT_MAX])
            effects.append(Tell(Forks(proofs), sender))
        give: list[Entry] = []
        want: list[Stretch] = []
        for feed in sorted(mine.keys() | rows.keys()):
            here, there = mine.get(feed), rows.get(feed)
            after = there.head.seq if there else -1
            if here is not None and here.head.seq > after and len(give) < ENTRIES_SENT_MAX:
                give += self.book.stretch(feed, after, after + ENTRIES_SENT_MAX - len(give))
                if after + 1 < self.book.first_seq(feed):
                    effects.append(ReadEntries(sender, here.head, after))
            elif there is not None and self._lacks(here, there):
                want.append(Stretch(there.head, min(here.head.seq if here else -1, after - 1)))
        effects += [Tell(Entries(piece), sender) for piece in _pieces(give)[:1]]
        return effects + self.ask(want[:RANGES_MAX], sender)

    def _lacks(self, here: Row | None, there: Row) -> bool:
        if self.book.get(there.head.id) is not None or (here is not None and here.head.id == there.head.id):
            return False
        fork = self.book.forks.get(there.head.feed)
        return fork is None or (here is None and fork.seq > 0) or (here is not None and here.head.seq + 1 < fork.seq)

    def _forks(self) -> list[tuple[FeedKey, Fork]]:
        return list(self.book.forks.items())

    def _serve(self, sender: NodeId, wanted: Wanted) -> list[LedgerEffect]:
        found: list[Entry] = []
        effects: list[LedgerEffect] = []
        for stretch in wanted.stretches:
            room = ENTRIES_SENT_MAX - len(found)
            if room <= 0:
                break
            found += self._branch(stretch, room)
            tip = self.book.tip(stretch.head.feed)
            if tip is not None and stretch.after + 1 < self.book.first_seq(stretch.head.feed):
                last = min(tip, stretch.head, key=lambda head: head.seq)
                effects.append(ReadEntries(sender, last, stretch.after))
        return [*effects, *(Tell(Entries(piece), sender) for piece in _pieces(found)[:1])]

    def _branch(self, stretch: Stretch, room: int) -> list[Entry]:
        """The entries of a stretch, the first ones if there are too many."""
        head, after = stretch
        entry = self.book.get(head.id)
        if entry is None or (entry.author, entry.incarnation, entry.seq) != (*head.feed, head.seq):
            return self.book.stretch(head.feed, after, min(head.seq, after + room))
        found = []
        while entry is not None and entry.seq > after:
            found.append(entry)
            entry = self.book.get(entry.prev)
        return found[::-1][:room]

    def _take_entries(self, sender: NodeId, message: Entries) -> tuple[list[LedgerEffect], News]:
        news, lacked = News(), set(self.book.missing())
        refused: Reject | None = None
        for raw in message.entries:
            try:
                some = self.book.add(parse(raw))
            except Reject as reject:
                refused = reject
                break
            news.entries += some.entries
            news.forks += some.forks
            news.puts += some.puts
        if refused is not None and not news:
            raise refused
        effects = self.spread(news, sender)
        if refused is None and set(self.book.missing()) - lacked:
            effects += self.ask((), sender)
        if refused is None and len(message.entries) == ENTRIES_SENT_MAX:
            effects.append(Tell(self.vector(), sender))  # there is more
        return effects, news

    def _take_forks(self, sender: NodeId, message: Forks) -> tuple[list[LedgerEffect], News]:
        news = News()
        for evidence in message.proofs:
            some = self.book.add_evidence(evidence)
            news.entries += some.entries
            news.forks += some.forks
            news.puts += some.puts
        return self.spread(news, sender), news


def faults_of(news: News) -> list[Fault]:
    """The new forks as faults for a block."""
    return [Fault(FORK, fork.evidence.first, fork.evidence.second) for fork in news.forks]


def missing_of(heads: Iterable[Head], book: Book, bases: Heads) -> list[Stretch]:
    """What to ask for so that these heads are here."""
    found = []
    for head in heads:
        if book.get(head.id) is None or book.chain(head, bases.get(head.feed)) is None:
            base = bases.get(head.feed)
            found.append(Stretch(head, base.seq if base else -1))
    return found


def _pieces(entries: list[Entry]) -> list[tuple[bytes, ...]]:
    """Raw entries cut into messages."""
    pieces: list[list[bytes]] = []
    room = 0
    for entry in entries:
        if not pieces or len(entry.raw) > room or len(pieces[-1]) == ENTRIES_SENT_MAX:
            pieces.append([])
            room = ENTRIES_SENT_BYTES_MAX
        pieces[-1].append(entry.raw)
        room -= len(entry.raw)
    return [tuple(piece) for piece in pieces]
