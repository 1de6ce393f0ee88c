"""One node's ledger: the book of feeds, its sync and its finality, put together. Knows no network, disk or thread.

Events in (`Begin`, `Heard`, `Wrote`, core's TimerFired), effects out: those of `effects.py`, where every `Tell` is to
be packed and signed by whoever owns the node's key, and Final is for whoever keeps the log. What it guarantees: entries
are durable before a vote for them, a vote before it is said; no neighbour's bytes make it raise.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from p2pfl.core.ids import NodeId
from p2pfl.core.party import Restored, SetTimer, TimerFired
from p2pfl.errors import BrokenChain, Reject
from p2pfl.ledger.blocks.rule import VotingRule
from p2pfl.ledger.feeds.entry import Entry
from p2pfl.ledger.finality.book import Book, News
from p2pfl.ledger.finality.effects import Final as FinalEffect
from p2pfl.ledger.finality.effects import Lack, LedgerEffect, Refused, Tell
from p2pfl.ledger.finality.events import Grew, Recall, Timing, Told
from p2pfl.ledger.finality.forge import Forge, Node, Terms
from p2pfl.ledger.finality.journal import parse_decided
from p2pfl.ledger.finality.simplex import Finality
from p2pfl.ledger.finality.sync import Sync, faults_of
from p2pfl.ledger.finality.talk import Digest, Entries, Forks, Talk, Vector, Wanted
from p2pfl.wire.envelope import Signs

TICK_TIMER = "sync.tick"
ENTRIES_KEPT = 64
"""Final entries of each feed that stay in memory, opened. A neighbour further behind is served bytes from the shelf."""


@dataclass(frozen=True, slots=True)
class Begin:
    """The first event: all that the store holds."""

    restored: Restored


@dataclass(frozen=True, slots=True)
class Heard:
    """A neighbour's parsed message (`talk.parse`); the envelope said who it is from."""

    sender: NodeId
    message: Talk


@dataclass(frozen=True, slots=True)
class Wrote:
    """This node appended these entries to its own feed; whoever wrote them has persisted them in the same handle."""

    entries: tuple[Entry, ...]


ReplicaEvent = Begin | Heard | Wrote | TimerFired


class Replica:
    """See the module's head. `base` is the last final block as executed (`replay`, or a snapshot of it)."""

    def __init__(
        self,
        terms: Terms,
        signer: Signs,
        neighbours: Sequence[NodeId],
        base: Node | None = None,
        timing: Timing | None = None,
        tick_s: float = 5.0,
        wall_ms_at_zero: int = 0,
        rule: VotingRule | None = None,
        book: Book | None = None,
        forge: Callable[[Terms, Book], Forge] = Forge,
    ) -> None:
        self.book = book or Book(terms.net)
        self.sync = Sync(self.book)
        self.neighbours = tuple(neighbours)
        self.tick_s = tick_s
        self.finality = Finality(
            forge(terms, self.book), signer, base or terms.genesis(), timing, wall_ms_at_zero, rule
        )
        self._turn = 0

    def handle(self, event: ReplicaEvent, now: float) -> list[LedgerEffect]:
        """Advance by one event. Never raises on remote input."""
        match event:
            case Begin():
                effects = self.finality.handle(Recall(event.restored), now)
                known = News(forks=list(self.book.forks.values()))
                return [*self._finality(effects), *self._grew(known, now), *self._tick(now)]
            case Wrote():
                return self._wrote(event.entries, now)
            case Heard():
                return self._heard(event, now)
            case TimerFired() if event.key == TICK_TIMER:
                return self._tick(now)
            case TimerFired():
                return self._finality(self.finality.handle(event, now))

    def _heard(self, event: Heard, now: float) -> list[LedgerEffect]:
        message = event.message
        if not isinstance(message, Digest | Vector | Wanted | Entries | Forks):
            return self._finality(self.finality.handle(Told(event.sender, message), now))
        try:
            effects, news = self.sync.told(event.sender, message)
        except Reject as reject:
            return [Refused(event.sender, reject.code, reject.detail)]
        return [*effects, *self._grew(news, now)]

    def _wrote(self, entries: Iterable[Entry], now: float) -> list[LedgerEffect]:
        news = News()
        for entry in entries:
            some = self.book.add(entry)
            news.entries += some.entries
            news.forks += some.forks
        return [*self.sync.spread(news, None), *self._grew(news, now)]

    def _grew(self, news: News, now: float) -> list[LedgerEffect]:
        if not news.entries and not news.forks:
            return []
        return self._finality(self.finality.handle(Grew(tuple(faults_of(news))), now))

    def _finality(self, effects: list[LedgerEffect]) -> list[LedgerEffect]:
        """What finality wants of sync, done."""
        done: list[LedgerEffect] = []
        for effect in effects:
            if isinstance(effect, Lack):
                if effect.sure:
                    self.book.expect(stretch.head for stretch in effect.stretches)
                done += self.sync.ask(effect.stretches, effect.of)
                continue
            done.append(effect)
            if isinstance(effect, FinalEffect):
                heads = {head.feed: head for head in effect.block.cut}
                self.book.settle(heads)
                self.book.trim(heads, ENTRIES_KEPT)
        return done

    def _tick(self, now: float) -> list[LedgerEffect]:
        """Compare notes with the next neighbour."""
        if not self.neighbours:
            return []
        to = self.neighbours[self._turn % len(self.neighbours)]
        self._turn += 1
        status = Tell(self.finality.status(), to)
        asked = self.sync.ask((), to)
        return [self.sync.greet(to), status, *asked, SetTimer(TICK_TIMER, now + self.tick_s)]


def replay(terms: Terms, restored: Restored) -> tuple[Book, Node, list[FinalEffect]]:
    """The book and the last final block, out of what a store holds, by executing all there is, and each final height.

    Raises BrokenChain if the store is not what a replica writes: a gap, a block that does not come out as it says.
    """
    book = Book(terms.net)
    book.restore(restored)
    forge, node, finals = Forge(terms, book), terms.genesis(), []
    for raw in restored.get("final", {}).values():
        try:
            decided = parse_decided(raw)
            found = forge.check(decided.block, node)
        except Reject as reject:
            raise BrokenChain(f"the final block after height {node.height}: {reject}") from None
        if found is None:
            raise BrokenChain(f"{decided.block.header.name}: entries of its cut are missing")
        node = found
        finals.append(FinalEffect(decided.block, decided.certificate, node.entries, node.execution))
    book.trim(node.heads, ENTRIES_KEPT)
    return book, node, finals
