"""Validators in one process, for benches: each a Replica with its store, every message sealed, opened and parsed as on
a network. Time is virtual: waiting costs nothing, so what is measured is work. Knows no bench."""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from heapq import heappop, heappush
from math import isfinite
from typing import Any

from p2pfl.core.ids import NodeId
from p2pfl.core.party import Persist, Put, SetTimer, TimerFired
from p2pfl.ledger.blocks import votes as votes_module
from p2pfl.ledger.blocks.genesis import Genesis
from p2pfl.ledger.feeds import entry as entry_module
from p2pfl.ledger.feeds.feed import Feed, append
from p2pfl.ledger.feeds.kinds import FORMAT, Opening
from p2pfl.ledger.feeds.records import put_entry
from p2pfl.ledger.finality.effects import Final, Tell
from p2pfl.ledger.finality.forge import Terms
from p2pfl.ledger.finality.replica import Begin, Heard, Replica, ReplicaEvent, Wrote
from p2pfl.ledger.finality.simplex import Timing
from p2pfl.ledger.finality.talk import parse
from p2pfl.ledger.finality.tip import Tip
from p2pfl.ledger.outcome.contract import Accounts
from p2pfl.wire.envelope import check_body, seal, split
from p2pfl.wire.keyfile import Signer, verify

KIND = "ledger"


@dataclass
class Tape:
    """What one run did, so that the bare cost of the same can be measured."""

    delivered: list[bytes] = field(default_factory=list)
    verified: list[tuple[bytes, bytes, bytes]] = field(default_factory=list)
    signed: list[tuple[Signer, bytes]] = field(default_factory=list)
    sealed: list[tuple[Signer, bytes]] = field(default_factory=list)

    def repeat(self, net: bytes) -> None:
        """The messages and signatures again, and nothing else."""
        for signer, raw in self.sealed:
            seal(signer, net, KIND, [], (raw,))
        for message in self.delivered:
            open_message(message)
        for node, text, signature in self.verified:
            assert verify(node, text, signature)
        for signer, text in self.signed:
            signer.sign(text)


class TapedSigner:
    """A node's key that notes what it signs."""

    def __init__(self, signer: Signer, tape: Tape) -> None:
        self.signer, self.tape, self.node = signer, tape, signer.node

    def sign(self, text: bytes) -> bytes:
        self.tape.signed.append((self.signer, text))
        return self.signer.sign(text)


def open_message(message: bytes) -> tuple[NodeId, Any]:
    """A sealed message, authentic and whole, and what it says."""
    head, body = split(message)
    assert head.authentic()
    check_body(head, body)
    return head.author, parse(body)


class Cluster:
    """`n` validators, all to all. `make_store(i)` gives each its store."""

    def __init__(self, n: int, make_store: Callable[[int], Any]) -> None:
        self.signers = [Signer(bytes([i + 1]) * 32) for i in range(n)]
        keys = tuple(sorted(s.node for s in self.signers))
        genesis = Genesis("bench", keys[:1], keys, epoch=1_000_000)
        self.net, self.tape = genesis.digest, Tape()
        accounts = Accounts(genesis)
        terms = Terms(self.net, genesis.epoch, accounts)
        timing = Timing(interval_s=0.001, timeout_s=1000.0, gossip_s=1000.0)
        self.stores = [make_store(i) for i in range(n)]
        self.tips = [Tip(self.net, accounts.first_state()) for _ in range(n)]
        self.feeds = [Feed(self.net, s.node) for s in self.signers]
        self.index = {s.node: i for i, s in enumerate(self.signers)}
        self.nodes = [
            Replica(terms, TapedSigner(s, self.tape), [k for k in keys if k != s.node], None, timing, tick_s=10_000.0)
            for s in self.signers
        ]
        self.now = 0.0
        self._queue: deque[tuple[int, bytes]] = deque()
        self._timers: list[tuple[float, int, int, str]] = []
        self._armed: dict[tuple[int, str], float] = {}
        self._count = 0
        self._count_verifications()
        for i in range(n):
            self._step(i, Begin({}))
            self.write(i, "feed.open", Opening(FORMAT, bytes(32)))
        self.run()

    def write(self, i: int, kind: str, payload: Any) -> None:
        """Node `i` appends an entry: durable, then told."""
        self.feeds[i], entry = append(self.feeds[i], self.nodes[i].finality.signer, 0, kind, payload)
        self.stores[i].commit([put_entry(entry)])
        self._step(i, Wrote((entry,)))

    def run(self, until: Callable[[], bool] = lambda: False) -> None:
        """Deliver and fire until nothing waits (but the ticks of sync), or `until` says so."""
        while not until():
            if self._queue:
                i, message = self._queue.popleft()
                self.tape.delivered.append(message)
                self._step(i, Heard(*open_message(message)))
            elif self._timers and self._timers[0][0] < self.now + 500.0:
                at, _, i, key = heappop(self._timers)
                if self._armed.get((i, key)) == at:
                    del self._armed[i, key]
                    self.now = max(self.now, at)
                    self._step(i, TimerFired(key))
            else:
                return

    @property
    def height(self) -> int:
        """What all have finalized."""
        return min(tip.height for tip in self.tips)

    def _step(self, i: int, event: ReplicaEvent) -> None:
        puts: list[Put] = []
        effects = self.nodes[i].handle(event, self.now)
        for effect in effects:  # what one handle persists is one commit, with what its heights add to the log
            if isinstance(effect, Persist):
                puts += effect.puts
            elif isinstance(effect, Final):
                self.tips[i], more = self.tips[i].record(effect.block.header, effect.entries, effect.execution.state)
                puts += more
        if puts:
            self.stores[i].commit(puts)
        for effect in effects:
            if isinstance(effect, Tell):
                self._tell(i, effect)
            elif isinstance(effect, SetTimer):
                self._arm(i, str(effect.key), effect.at)

    def _tell(self, i: int, tell: Tell) -> None:
        if tell.relayed:
            return  # all hear each other directly
        self.tape.sealed.append((self.signers[i], tell.message.raw))
        parts = seal(self.signers[i], self.net, KIND, [], (tell.message.raw,))
        message = b"".join(bytes(part) for part in parts)
        to = [tell.to] if tell.to is not None else [key for key in self.nodes[i].neighbours if key != tell.but]
        self._queue.extend((self.index[key], message) for key in to)

    def _arm(self, i: int, key: str, at: float) -> None:
        self._armed[i, key] = at
        if isfinite(at):
            self._count += 1
            heappush(self._timers, (at, self._count, i, key))

    def _count_verifications(self) -> None:
        def taped(node: bytes, text: bytes, signature: bytes) -> bool:
            self.tape.verified.append((node, text, signature))
            return verify(node, text, signature)

        votes_module.verify = taped  # type: ignore[attr-defined]
        entry_module.verify = taped  # type: ignore[attr-defined]
