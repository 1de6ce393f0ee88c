"""How entries and receipts lie in a store: spaces, keys, and what the space "entry" takes. Knows no disk.

| space | key | value |
|---|---|---|
| entry | author (32) + incarnation (u32) + seq (u64) | raw entry; insert-only |
| receipt | peer (32) + epoch (u64) + seq (u64) | the signed envelope head of that peer's answer |

Numbers are big-endian, so keys sort by position. What finality keeps is in `journal` and `tip`; of that, `FINAL` never
changes.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from zlib import crc32

from p2pfl.core.ids import NodeId
from p2pfl.core.limits import MIB
from p2pfl.core.party import Put
from p2pfl.errors import BrokenChain, Reject
from p2pfl.ledger.feeds.entry import Entry, parse
from p2pfl.ledger.feeds.evidence import ProvenFork
from p2pfl.ledger.feeds.feed import Feed, feed_from

ENTRY = "entry"
RECEIPT = "receipt"
BRANCH = "branch"
FINAL = ("leaf", "node")
"""Spaces that are insert-only, as entries are: the same bytes again are fine, others and removal are refused."""

ENTRY_KEY_BYTES = 44
RECEIPT_KEY_BYTES = 48

VALUE_BYTES_MAX = 256 * MIB
"""One value of a store; longer ones are cut by the caller."""


def entry_key(author: bytes, incarnation: int, seq: int) -> bytes:
    return author + incarnation.to_bytes(4, "big") + seq.to_bytes(8, "big")


def receipt_key(peer: bytes, epoch: int, seq: int) -> bytes:
    return peer + epoch.to_bytes(8, "big") + seq.to_bytes(8, "big")


@dataclass(frozen=True, slots=True)
class PutEntry(Put):
    """The write of an entry that was parsed already: reading it again would be half of what an append costs."""

    entry: Entry


def put_entry(entry: Entry) -> Put:
    """The durable write of an entry."""
    return PutEntry(ENTRY, entry_key(entry.author, entry.incarnation, entry.seq), entry.raw, entry)


def put_receipt(peer: NodeId, epoch: int, seq: int, head: bytes) -> Put:
    """The durable write of a peer's signed answer."""
    return Put(RECEIPT, receipt_key(peer, epoch, seq), head)


def entry_at(key: bytes, raw: bytes) -> Entry:
    """The entry stored at `key`. Raises BrokenChain if the bytes are no entry, or one of another position."""
    try:
        entry = parse(raw)
    except Reject as error:
        raise BrokenChain(f"entry at key {key.hex()}: {error}") from None
    if entry_key(entry.author, entry.incarnation, entry.seq) != key:
        raise BrokenChain(f"{entry.name}: stored at the key {key.hex()} of another position")
    return entry


def entry_to_put(put: Put) -> Entry:
    """What a write to the space "entry" holds. Raises BrokenChain for a removal, or bytes that do not fit the key."""
    if isinstance(put, PutEntry):
        return put.entry
    if put.value is None:
        raise BrokenChain(f"entry at key {put.key.hex()}: entries are never removed")
    return entry_at(put.key, put.value)


def check_value(put: Put) -> None:
    """Raises ValueError if a value is over the bound: that is our own fault."""
    if put.value is not None and len(put.value) > VALUE_BYTES_MAX:
        raise ValueError(f"{put.space}: expected a value of at most {VALUE_BYTES_MAX} bytes, got {len(put.value)}")


def check_of(space: str, key: bytes, value: bytes) -> int:
    """A checksum against damage, not against people: what no signature and no hash covers must not rot unseen."""
    return crc32(value, crc32(key, crc32(space.encode() + b"\0")))


def check_final(put: Put, known: bytes | None) -> None:
    """Raises BrokenChain if `put` would change what is final, where `known` is what lies there."""
    if put.space in FINAL and known is not None and known != put.value:
        raise BrokenChain(f"{put.space} {put.key.hex()} is final: it is never changed or removed")


def is_new(known: bytes | None, entry: Entry) -> bool:
    """Whether `entry` is to be inserted, where `known` is what lies at its position. The same bytes again are fine.

    Raises ProvenFork if another statement is there; BrokenChain if the same one is, with another signature.
    """
    if known is None:
        return True
    if known == entry.raw:
        return False
    before = parse(known)
    if before.id == entry.id:
        raise BrokenChain(f"{entry.name}: is there already with another signature")
    raise ProvenFork(before, entry)


def restore(entries: Mapping[bytes, bytes], start: Feed) -> tuple[Feed, list[Entry]]:
    """One's own feed, and its entries in order, from the space "entry" of a store (which may hold other feeds too).

    Every entry is checked, signature included. Raises BrokenChain or ProvenFork.
    """
    prefix = start.author + start.incarnation.to_bytes(4, "big")
    own = [entry_at(key, raw) for key, raw in sorted(entries.items()) if key.startswith(prefix)]
    return feed_from(own, start), own
