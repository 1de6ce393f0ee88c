"""The feeds of everybody, as far as they are here: one main branch each, forks as evidence. Pure; knows no vote.

The laws: an entry is taken up when its predecessor is; the first entry seen at a position is never replaced; a second
one is evidence, and from there on the feed does not grow. Entries of other branches are kept only where somebody proves
a need for them (`expect`: a quorum finalized that branch), and are found by id. Entries whose predecessor is not here
are parked, boundedly.
"""

from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from p2pfl.core.ids import NodeId
from p2pfl.core.limits import FEED_ENTRY_BYTES_MAX
from p2pfl.core.party import Put, Restored
from p2pfl.errors import BrokenChain, Reject
from p2pfl.ledger.blocks.block import Head
from p2pfl.ledger.blocks.cut import FeedKey, Heads, head_of
from p2pfl.ledger.feeds.bounds import BLOCK_ENTRIES_MAX, BRANCH_MAX, PARKED_MAX
from p2pfl.ledger.feeds.entry import NO_ENTRY, Entry, check_signature, parse
from p2pfl.ledger.feeds.evidence import Evidence, convict, evidence_of
from p2pfl.ledger.feeds.records import ENTRY, put_entry
from p2pfl.wire import canonical, fields

BRANCH = "branch"
FORK = "fork"

Ceiling = Callable[[NodeId, int], int | None]


@dataclass(frozen=True, slots=True)
class Fork:
    """The lowest position at which the author is known to have signed twice."""

    seq: int
    evidence: Evidence = field(repr=False)


@dataclass(slots=True)
class News:
    """What came of taking something in. `entries` are new and in order; `puts` make it durable."""

    entries: list[Entry] = field(default_factory=list)
    forks: list[Fork] = field(default_factory=list)
    puts: list[Put] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.puts)


@dataclass(slots=True)
class _Main:
    """The main branch of one feed: ids from `first` on; `tip` is the last."""

    first: int
    ids: list[bytes]
    tip: Head

    def at(self, seq: int) -> bytes | None:
        return self.ids[seq - self.first] if self.first <= seq <= self.tip.seq else None


class Book:
    """All feeds of one network, in memory from `start` (heads that lie before what is loaded) on."""

    def __init__(self, net: bytes, start: Heads | None = None) -> None:
        self.net = net
        self.version = 0
        """Grows with every change: for whoever keeps something computed from the book."""
        self.forks: dict[FeedKey, Fork] = {}
        self._main = {feed: _Main(head.seq + 1, [], head) for feed, head in (start or {}).items()}
        self._by_id: dict[bytes, Entry] = {}
        self._branch: set[bytes] = set()
        self._parked: OrderedDict[bytes, Entry] = OrderedDict()
        self._followers: dict[bytes, set[bytes]] = {}
        self._expected: dict[bytes, Head] = {}

    # -------------------------------------------------------------------------------------------- reading

    def get(self, id_: bytes) -> Entry | None:
        return self._by_id.get(id_)

    def tip(self, feed: FeedKey) -> Head | None:
        """Where the main branch ends."""
        main = self._main.get(feed)
        return main.tip if main else None

    def tips(self) -> list[Head]:
        """All of them, ascending by feed."""
        return [self._main[feed].tip for feed in sorted(self._main)]

    def first_seq(self, feed: FeedKey) -> int:
        """Where the main branch begins in memory; before it, the store has it."""
        main = self._main.get(feed)
        return main.first if main else 0

    def stretch(self, feed: FeedKey, after: int, last: int) -> list[Entry]:
        """Entries of the main branch with after < seq <= last, as far as they are in memory."""
        main = self._main.get(feed)
        if main is None:
            return []
        low = max(after + 1 - main.first, 0)
        return [self._by_id[id_] for id_ in main.ids[low : max(last + 1 - main.first, 0)]]

    def chain(self, head: Head, base: Head | None) -> list[Entry] | None:
        """What follows `base` (None: the beginning) up to `head`, on whatever branch; None if some of it is not here.

        Raises Reject if `head` does not come after `base`, or is not where it says.
        """
        after = base.seq if base else -1
        if not 0 < head.seq - after <= BLOCK_ENTRIES_MAX:
            raise Reject("cut", f"expected 1 to {BLOCK_ENTRIES_MAX} entries after seq {after}, got seq {head.seq}")
        found: list[Entry] = []
        id_ = head.id
        for seq in range(head.seq, after, -1):
            entry = self._by_id.get(id_)
            if entry is None:
                return None
            if (entry.author, entry.incarnation, entry.seq) != (head.author, head.incarnation, seq):
                raise Reject("cut", f"{entry.name} is not where the cut says")
            found.append(entry)
            id_ = entry.prev
        if id_ != (base.id if base else NO_ENTRY):
            raise Reject("cut", f"{found[-1].name} does not follow what is final")
        return found[::-1]

    def pending(self, heads: Heads, ceiling: Ceiling) -> dict[FeedKey, list[Entry]]:
        """Per feed what a block on top of `heads` could make final: nothing from a fork, or the ceiling, on."""
        found = {}
        for feed, main in self._main.items():
            base = heads.get(feed)
            after = base.seq if base else -1
            if main.tip.seq <= after:
                continue
            fork, top = self.forks.get(feed), ceiling(*feed)
            last = min(main.tip.seq, fork.seq - 1 if fork else main.tip.seq, main.tip.seq if top is None else top)
            entries = self.stretch(feed, after, min(last, after + BLOCK_ENTRIES_MAX))
            if entries and entries[0].prev == (base.id if base else NO_ENTRY):
                found[feed] = entries
        return found

    def missing(self) -> list[Head]:
        """Predecessors that parked entries wait for, and expected heads; each is asked for by id."""
        heads = {e.prev: Head(e.author, e.incarnation, e.seq - 1, e.prev) for e in self._parked.values()}
        known = self._by_id.keys() | self._parked.keys()
        wanted = heads | self._expected
        return [head for id_, head in sorted(wanted.items()) if id_ not in known]

    # -------------------------------------------------------------------------------------------- growing

    def add(self, entry: Entry) -> News:
        """Take an entry in. Raises Reject if it is of another network, or not signed by its author."""
        if entry.net != self.net:
            raise Reject("network", f"{entry.name} is of another network")
        news = News()
        if entry.id in self._by_id or entry.id in self._parked:
            return news
        if not check_signature(entry):
            raise Reject("signature", f"{entry.name} is not signed by its author")
        self._take(entry, news)
        return news

    def add_evidence(self, evidence: Evidence) -> News:
        """Take a proof of a fork in. Raises Reject if it proves nothing."""
        convict(evidence)
        first, second = parse(evidence.first), parse(evidence.second)
        if first.net != self.net:
            raise Reject("network", f"{first.name} is of another network")
        news = News()
        self._forked(first, second, news)
        for entry in (first, second):
            if entry.id not in self._by_id:
                self._take(entry, news)
        return news

    def expect(self, heads: Iterable[Head]) -> None:
        """A quorum vouches for these heads: their branches are taken in even after a fork."""
        for head in heads:
            if head.id not in self._by_id and len(self._expected) < BRANCH_MAX:
                self._expected[head.id] = head

    def settle(self, heads: Heads) -> None:
        """These heads are final: what was expected up to them is not any more."""
        for id_, head in list(self._expected.items()):
            if head.feed in heads and head.seq <= heads[head.feed].seq:
                del self._expected[id_]

    def _take(self, first: Entry, news: News) -> None:
        """The entry, then those that waited for it."""
        ready = [first]
        while ready:
            entry = ready.pop()
            if self._place(entry, news):
                self._expected.pop(entry.id, None)
                ready += [self._unpark(id_) for id_ in sorted(self._followers.get(entry.id, ()))]

    def _place(self, entry: Entry, news: News) -> bool:
        """Whether the entry is in the book now."""
        feed = (entry.author, entry.incarnation)
        main, next_seq = self._main.get(feed), 0
        if main is not None:
            next_seq = main.tip.seq + 1
            at = main.at(entry.seq)
            if at is not None and at != entry.id:
                self._forked(self._by_id[at], entry, news)
        fork = self.forks.get(feed)
        sound = fork is None or entry.seq < fork.seq
        if sound and entry.seq == next_seq and entry.prev == (main.tip.id if main else NO_ENTRY):
            self._extend(feed, entry, news)
            return True
        if not sound or entry.seq < next_seq:
            return self._branch_off(feed, entry, news)
        self._park(entry)
        return False

    def _extend(self, feed: FeedKey, entry: Entry, news: News) -> None:
        head = head_of(entry)
        main = self._main.setdefault(feed, _Main(0, [], head))
        main.ids.append(entry.id)
        main.tip = head
        self._keep(entry, put_entry(entry), news)

    def _branch_off(self, feed: FeedKey, entry: Entry, news: News) -> bool:
        """Keep an entry beside the main branch: one of the two of the proof, or one that a quorum vouches for."""
        known = entry.seq == 0 or entry.prev in self._by_id or self._is_tip(feed, entry.prev)
        fork = self.forks.get(feed)
        if fork is None or len(self._branch) >= BRANCH_MAX:
            return False
        proof = entry.raw in (fork.evidence.first, fork.evidence.second)
        wanted = any(h.feed == feed and h.seq >= entry.seq for h in self._expected.values())
        if wanted and not known:
            self._park(entry)
        if not known or not (proof or wanted):
            return False
        self._branch.add(entry.id)
        self._keep(entry, Put(BRANCH, entry.id, entry.raw), news)
        return True

    def _is_tip(self, feed: FeedKey, id_: bytes) -> bool:
        main = self._main.get(feed)
        return main is not None and main.tip.id == id_

    def _keep(self, entry: Entry, put: Put, news: News) -> None:
        self._by_id[entry.id] = entry
        self.version += 1
        news.entries.append(entry)
        news.puts.append(put)

    def _forked(self, known: Entry, other: Entry, news: News) -> None:
        feed = (known.author, known.incarnation)
        before = self.forks.get(feed)
        if before is not None and before.seq <= known.seq:
            return
        fork = Fork(known.seq, evidence_of(known, other))
        self.forks[feed] = fork
        self.version += 1
        news.forks.append(fork)
        news.puts.append(put_fork(feed, fork))

    def _park(self, entry: Entry) -> None:
        if len(self._parked) >= PARKED_MAX:
            self._unpark(next(iter(self._parked)))
        self._parked[entry.id] = entry
        self._followers.setdefault(entry.prev, set()).add(entry.id)

    def _unpark(self, id_: bytes) -> Entry:
        entry = self._parked.pop(id_)
        waiting = self._followers[entry.prev]
        waiting.discard(id_)
        if not waiting:
            del self._followers[entry.prev]
        return entry

    # -------------------------------------------------------------------------------------- memory and disk

    def trim(self, heads: Heads, keep: int) -> None:
        """Forget what lies more than `keep` entries before what is final; the store has it."""
        for feed, head in heads.items():
            main = self._main.get(feed)
            below = min(head.seq, main.tip.seq) + 1 - keep if main else 0
            if main is not None and below > main.first:
                for id_ in main.ids[: below - main.first]:
                    self._by_id.pop(id_, None)
                del main.ids[: below - main.first]
                main.first = below

    def restore(self, restored: Restored) -> None:
        """Take in what a store holds, without checking signatures again: whoever doubts the disk verifies it.

        Raises BrokenChain if the stored feeds are not chains.
        """
        news = News()
        for key, raw in restored.get(FORK, {}).items():
            fork = fork_from(key, raw)
            self.forks[(NodeId(key[:32]), int.from_bytes(key[32:36], "big"))] = fork
        for raw in restored.get(ENTRY, {}).values():
            entry = _stored(raw)
            feed = (entry.author, entry.incarnation)
            main = self._main.get(feed)
            if main is not None and entry.seq <= main.tip.seq:
                continue  # before the start
            if entry.seq != (main.tip.seq + 1 if main else 0) or entry.prev != (main.tip.id if main else NO_ENTRY):
                raise BrokenChain(f"{entry.name}: does not follow what is stored before it")
            self._extend(feed, entry, news)
        for raw in restored.get(BRANCH, {}).values():
            entry = _stored(raw)
            self._branch.add(entry.id)
            self._by_id[entry.id] = entry


def put_fork(feed: FeedKey, fork: Fork) -> Put:
    """The durable write of a proof: space "fork", key author (32) + incarnation (u32), value [first, second]."""
    value = canonical.packb([fork.evidence.first, fork.evidence.second])
    return Put(FORK, feed[0] + feed[1].to_bytes(4, "big"), value)


def fork_from(key: bytes, raw: bytes) -> Fork:
    """The proof stored at `key`. Raises BrokenChain if it is none of this author."""
    try:
        pair = fields.array(canonical.unpackb(raw, 2 * FEED_ENTRY_BYTES_MAX + 16), "fork", 2)
        evidence = Evidence(*(fields.blob(item, "fork", FEED_ENTRY_BYTES_MAX) for item in pair))
        author, entry = convict(evidence), parse(evidence.first)
    except Reject as error:
        raise BrokenChain(f"fork at key {key.hex()}: {error}") from None
    if key != author + entry.incarnation.to_bytes(4, "big"):
        raise BrokenChain(f"fork at key {key.hex()}: is one of {entry.name}")
    return Fork(entry.seq, evidence)


def _stored(raw: bytes) -> Entry:
    try:
        return parse(raw)
    except Reject as error:
        raise BrokenChain(f"a stored entry is none: {error}") from None
