"""A node that was away for longer than anybody remembers last blocks comes back in pages, each of them bounded."""

import heapq
from itertools import count
from math import inf
from typing import Any

import pytest

from p2pfl.core.party import Emit, Persist, SetTimer
from p2pfl.ledger.blocks.genesis import Genesis
from p2pfl.ledger.feeds.ends import is_end
from p2pfl.ledger.feeds.feed import Feed, append
from p2pfl.ledger.feeds.kinds import FORMAT, Opening
from p2pfl.ledger.feeds.records import put_entry
from p2pfl.ledger.finality import archive, replica, sync
from p2pfl.ledger.finality.events import Timing
from p2pfl.ledger.finality.talk import Entries, Finals, parse
from p2pfl.ledger.stores.memory import MemoryStore
from p2pfl.peer import keeper as keepers
from p2pfl.peer import shelf
from p2pfl.peer.keeper import Charter, Keeper, Letter
from p2pfl.peer.outbox import unpack
from p2pfl.wire.keyfile import Signer

SIGNERS = sorted((Signer(bytes([number]) * 32) for number in (1, 2)), key=lambda signer: signer.node)
GENESIS = Genesis("two", (SIGNERS[0].node,), (SIGNERS[0].node,), window=4, epoch=16)
HEIGHTS, PER_HEIGHT = 40, 3
PAGE, KEPT, ENTRIES = 2, 4, 8


class Pair:
    """A validator and a follower, each a Keeper with its store, and the wire between them; the follower comes later."""

    def __init__(self) -> None:
        self.now, self._order = 0.0, count()
        self._heap: list[Any] = []
        self.keepers: list[Keeper | None] = [None, None]
        self.stores = [MemoryStore(), MemoryStore()]
        self.timers: dict[tuple[int, str], float] = {}
        self.feed = Feed(GENESIS.digest, SIGNERS[0].node)
        self.pages: list[int] = []
        self.emitted: list[Emit] = []

    def start(self, who: int) -> None:
        charter = Charter(GENESIS, (), Timing(interval_s=0.1))
        self.keepers[who] = made = Keeper(charter, SIGNERS[who], [SIGNERS[1 - who].node])
        self.perform(who, made.start(self.stores[who].load(), self.now))

    def at(self, delay: float, *what: Any) -> None:
        heapq.heappush(self._heap, (self.now + delay, next(self._order), what))

    def perform(self, who: int, effects: list[Any]) -> None:
        for effect in effects:
            match effect:
                case Persist():
                    self.stores[who].commit(effect.puts)
                case Letter():
                    self.at(0.01, "letter", who, effect.body)
                case SetTimer() if effect.at < inf:
                    self.timers[who, effect.key.key] = effect.at  # type: ignore[attr-defined]
                    self.at(max(effect.at - self.now, 0.0), "timer", who, effect.key.key, effect.at)  # type: ignore[attr-defined]
                case SetTimer():
                    self.timers.pop((who, effect.key.key), None)  # type: ignore[attr-defined]
                case Emit():
                    self.emitted.append(effect)

    def write(self) -> None:
        entries = []
        for _ in range(PER_HEIGHT):
            first = self.feed.last is None
            kind, payload = ("feed.open", Opening(FORMAT, bytes(32))) if first else ("model", [bytes(32), 0])
            self.feed, entry = append(self.feed, SIGNERS[0], 0, kind, payload)
            entries.append(entry)
        self.stores[0].commit([put_entry(entry) for entry in entries])
        made = self.keepers[0]
        assert made is not None
        self.perform(0, made.wrote(entries, self.now))

    def advance(self) -> None:
        self.now, _, what = heapq.heappop(self._heap)
        match what:
            case ("timer", who, key, at):
                if self.timers.get((who, key)) == at:
                    del self.timers[who, key]
                    self.perform(who, self.keepers[who].fired(key, self.now))
            case ("letter", who, body):
                self.deliver(who, 1 - who, body)

    def deliver(self, who: int, to: int, body: bytes) -> None:
        receiver, sender = self.keepers[to], self.keepers[who]
        assert sender is not None
        if receiver is None:
            self.perform(who, sender.failed(SIGNERS[to].node, self.now))
            return
        for raw in unpack(body)[0]:
            message = None if is_end(raw) else parse(raw)
            if isinstance(message, Finals):
                self.pages.append(len(message.decided))
            if isinstance(message, Entries):
                assert len(message.entries) <= max(ENTRIES, PER_HEIGHT)
        self.perform(to, receiver.heard(SIGNERS[who].node, body, self.now))
        self.perform(who, sender.delivered(SIGNERS[to].node, self.now))

    def height(self, who: int) -> int:
        made = self.keepers[who]
        return made.tip.height if made else 0


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Bounds that a short story passes."""
    for module, name, value in (
        (archive, "FINALS_KEPT", KEPT),
        (archive, "FINALS_MAX", PAGE),
        (shelf, "FINALS_MAX", PAGE),
        (shelf, "ENTRIES_SENT_MAX", ENTRIES),
        (sync, "ENTRIES_SENT_MAX", ENTRIES),
        (replica, "ENTRIES_KEPT", KEPT),
        (keepers, "ENTRIES_KEPT", KEPT),
    ):
        monkeypatch.setattr(module, name, value)


@pytest.mark.usefixtures("small")
def test_who_was_away_comes_back_in_pages() -> None:
    pair = Pair()
    pair.start(0)
    for height in range(HEIGHTS):
        pair.write()
        while pair.height(0) <= height:
            pair.advance()
    begun = pair.now
    pair.start(1)
    while pair.height(1) < HEIGHTS:
        pair.advance()
        assert pair.now < begun + 10.0, "a page brings the next one, without waiting for a tick"
        assert len(pair.keepers[1].replica.finality.chain.decided) <= PAGE  # type: ignore[union-attr]
    assert max(pair.pages) == PAGE
    assert len(pair.pages) < HEIGHTS
    first, second = (made.tip for made in pair.keepers if made)
    assert (first.head, first.log.root()) == (second.head, second.log.root())
    assert not [emit for emit in pair.emitted if emit.name in ("ledger.blamed", "ledger.halted")]
