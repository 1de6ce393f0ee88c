"""Cuts of feeds: which entries the next block makes final, and in what order. Pure; knows entries, no block or vote.

Order inside a block: again and again take, of the entries whose predecessor and references *in this block* are placed,
the one with the smallest (author, incarnation, seq). It depends on the cut alone. A reference to anything outside the
block delays nothing: else whoever names an entry of a liar's hidden branch could never become final. (An honest
proposer holds an entry and what it refers to together whenever it has both.)
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from heapq import heapify, heappop, heappush

from p2pfl.core.ids import NodeId
from p2pfl.ledger.blocks.block import Head
from p2pfl.ledger.feeds.bounds import BLOCK_ENTRIES_MAX, CUT_FEEDS_MAX
from p2pfl.ledger.feeds.entry import Entry

FeedKey = tuple[NodeId, int]
Heads = Mapping[FeedKey, Head]
"""The last entry of each feed that is in the log, at some block."""


def head_of(entry: Entry) -> Head:
    return Head(entry.author, entry.incarnation, entry.seq, entry.id)


def order(chains: Iterable[Sequence[Entry]]) -> list[Entry]:
    """The causal order of these pieces of feeds, each a chain of consecutive entries."""
    entries = {entry.id: entry for chain in chains for entry in chain}
    waits = {id_: {p for p in (entry.prev, *entry.refs) if p in entries} for id_, entry in entries.items()}
    followers: dict[bytes, list[bytes]] = {}
    for id_, before in waits.items():
        for p in before:
            followers.setdefault(p, []).append(id_)
    ready = [_key(entries[id_]) for id_, before in waits.items() if not before]
    heapify(ready)
    placed: list[Entry] = []
    while ready:
        *_, id_ = heappop(ready)
        placed.append(entries[id_])
        for follower in followers.get(id_, ()):
            waits[follower].discard(id_)
            if not waits[follower]:
                heappush(ready, _key(entries[follower]))
    return placed


def _key(entry: Entry) -> tuple[bytes, int, int, bytes]:
    return (entry.author, entry.incarnation, entry.seq, entry.id)


def choose(
    pending: Mapping[FeedKey, Sequence[Entry]], entries_max: int = BLOCK_ENTRIES_MAX
) -> tuple[tuple[Head, ...], list[Entry]]:
    """The cut of as much as one block takes of `pending` (per feed: what follows its head in the log), and its order.

    What is left out follows all that is in: a beginning of the order is the order of a smaller cut. Where not all has
    room, each feed gets the same, so nobody is kept out by somebody who writes much.
    """
    feeds = sorted(feed for feed, chain in pending.items() if chain)[:CUT_FEEDS_MAX]
    share = max(1, entries_max // max(1, len(feeds)))
    placed = order(pending[feed][:share] for feed in feeds)[:entries_max]
    heads = {(entry.author, entry.incarnation): head_of(entry) for entry in placed}
    return tuple(sorted(heads.values())), placed


def advance(heads: Heads, cut: Iterable[Head]) -> dict[FeedKey, Head]:
    """The heads after a block with this cut."""
    return {**heads, **{head.feed: head for head in cut}}


Chain = Callable[[Head, Head | None], Sequence[Entry] | None]
"""The entries after the second head up to the first; None if some are not here. Raises Reject if it is no such."""


def entries_of(cut: Iterable[Head], heads: Heads, chain: Chain) -> list[Entry] | None:
    """The entries of a cut in causal order, None if some are not here. Raises Reject if it does not extend `heads`."""
    chains = []
    whole = True
    for head in cut:
        found = chain(head, heads.get(head.feed))
        whole = whole and found is not None
        chains.append(found or ())
    return order(chains) if whole else None
