"""The head of one author's chain, and the two ways it grows. Pure; knows no store.

`append` signs our own next entry, `extend` takes an entry that was read or received. The law: an unbroken chain from
`feed.open` on, each entry naming the id of the one before; and never two entries at one position.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from p2pfl.core.ids import NodeId, short
from p2pfl.errors import BrokenChain
from p2pfl.ledger.feeds.entry import NO_ENTRY, Entry, check_signature, make
from p2pfl.ledger.feeds.evidence import ProvenFork
from p2pfl.ledger.feeds.kinds import batches
from p2pfl.wire.envelope import Signs


@dataclass(frozen=True, slots=True)
class Feed:
    """One chain: author and incarnation in one network, up to `last`."""

    net: bytes
    author: NodeId
    incarnation: int = 0
    last: Entry | None = None

    @property
    def head(self) -> bytes:
        """The id that the next entry names as its predecessor."""
        return self.last.id if self.last else NO_ENTRY

    @property
    def next_seq(self) -> int:
        return self.last.seq + 1 if self.last else 0


def append(
    feed: Feed, signer: Signs, round_: int, kind: str, payload: Sequence[Any], refs: Sequence[bytes] = ()
) -> tuple[Feed, Entry]:
    """Sign the next entry. It must be durable before anybody hears of it, else a crash turns it into a fork.

    Raises ValueError for another signer, or a payload that the kind does not allow.
    """
    if signer.node != feed.author:
        raise ValueError(f"the feed of {short(feed.author)} cannot be signed by {short(signer.node)}")
    position = (feed.incarnation, feed.next_seq)
    entry = make(signer, feed.net, position, feed.head, round_, kind, payload, refs)
    return replace(feed, last=entry), entry


def append_rows(
    feed: Feed, signer: Signs, round_: int, kind: str, rows: Sequence[Any], refs: Sequence[bytes] = ()
) -> tuple[Feed, list[Entry]]:
    """As `append` for the kinds that are batches of rows: as many entries as the bounds ask for, none for no rows."""
    entries = []
    for piece in batches(list(rows)):
        feed, entry = append(feed, signer, round_, kind, piece, refs)
        entries.append(entry)
    return feed, entries


def extend(feed: Feed, entry: Entry, known: Entry | None = None) -> Feed:
    """The feed with `entry` at its end. `known` is what the store holds at the entry's position, if anything.

    An entry that is there already changes nothing. Raises ProvenFork if another one is there, BrokenChain if it is
    not of this feed, not signed by its author, or does not follow the head.
    """
    if (entry.net, entry.author, entry.incarnation) != (feed.net, feed.author, feed.incarnation):
        raise BrokenChain(
            f"{entry.name}: expected the feed {short(feed.author)}/{feed.incarnation} of network {short(feed.net)}, "
            f"got network {short(entry.net)}"
        )
    if not check_signature(entry):
        raise BrokenChain(f"{entry.name}: the signature is not its author's")
    if entry.seq == feed.next_seq:
        if entry.prev != feed.head:
            raise BrokenChain(f"{entry.name}: expected predecessor {short(feed.head)}, got {short(entry.prev)}")
        return replace(feed, last=entry)
    known = feed.last if feed.last and entry.seq == feed.last.seq else known
    if entry.seq > feed.next_seq or known is None:
        raise BrokenChain(f"{entry.name}: expected seq {feed.next_seq}, got {entry.seq}")
    if known.id != entry.id:
        raise ProvenFork(known, entry)
    return feed


def feed_from(entries: Iterable[Entry], start: Feed | None = None) -> Feed:
    """The feed that these entries make, in order, each checked. `start` defaults to the empty feed of the first one.

    Raises BrokenChain or ProvenFork; BrokenChain for no entries and no start.
    """
    feed = start
    for entry in entries:
        feed = extend(feed or Feed(entry.net, entry.author, entry.incarnation), entry)
    if feed is None:
        raise BrokenChain("expected at least the first entry of a feed, got none")
    return feed
