"""What all nodes agree on: a map from keys to values, and one hash of it. Knows keys and values; knows no entry.

A key is the canonical msgpack of [tag, parts...], a value the canonical array of whole numbers, bytes and text that the
tag says (`TAGS`), together with the log index of the entry that wrote it last: so two states that differ name the entry
where they parted. The root:

    bucket b  = the rows [key, touched, value], keys ascending, whose SHA-256(key) begins with the byte b
    root      = the RFC 6962 root over the 256 leaves: canonical msgpack of bucket 0, 1, .. 255

It depends on the content alone, never on the order of writing; a write costs its own bucket and a path of eight. States
are values: `Draft` makes the next one and shares what it did not touch, so a block can be tried and thrown away.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from hashlib import sha256
from typing import Any, NamedTuple

from p2pfl.errors import BrokenChain, Reject
from p2pfl.ledger.blocks.merkle import EMPTY_ROOT, leaf_hash, node_hash
from p2pfl.ledger.feeds.kinds import Payload, Value, freeze
from p2pfl.wire import canonical

BUCKETS = 256
STATE_VALUE_BYTES_MAX = 1 << 20

TAGS: dict[str, tuple[str, ...]] = {
    "height": (),
    "validators": (),
    "window": (),
    "settled": ("window",),
    "issued": (),
    "balance": ("node",),
    "member": ("node",),
    "endorsed": ("node",),
    "incarnation": ("author",),
    "feed": ("author", "incarnation"),
    "frozen": ("node",),
    "rotated": ("node",),
    "voted": ("node",),
    "pair": ("sender", "receiver"),
    "rule": (),
    "proposal": ("id",),
    "reputation": ("node",),
    "stake": ("node",),
    "release": ("node",),
    "burned": (),
    "lapse": ("node",),
    "task": ("id",),
    "bid": ("task", "node"),
    "won": ("task", "node"),
    "commit": ("window", "author"),
    "draw": ("window",),
    "salt": ("window", "author"),
    "hidden": ("window", "evaluator"),
    "opinion": ("window", "evaluator"),
    "score": ("window", "subject"),
    "standing": ("node",),
    "caught": ("node",),
}
"""The parts of the keys of each tag: docs/formats/state.md says what their values are."""


class Cell(NamedTuple):
    """A value, and the log index that wrote it."""

    touched: int
    value: Payload


Bucket = Mapping[bytes, Cell]


def key_of(tag: str, *parts: Value) -> bytes:
    """The key of `tag` with these parts."""
    assert len(parts) == len(TAGS[tag])
    return canonical.packb([tag, *parts])


def name_of(key: bytes) -> str:
    """For messages: `balance 3fa9c0de`."""
    try:
        tag, *parts = canonical.unpackb(key, len(key))
    except (Reject, ValueError, TypeError):
        return key.hex()
    return " ".join([str(tag), *(part[:4].hex() if isinstance(part, bytes) else str(part) for part in parts)])


def bucket_of(key: bytes) -> int:
    return sha256(key).digest()[0]


@lru_cache(maxsize=1 << 14)
def _place(tag: str, *parts: Value) -> tuple[bytes, int]:
    """A key and its bucket: asked for again and again."""
    key = key_of(tag, *parts)
    return key, bucket_of(key)


def bucket_text(bucket: Bucket) -> bytes:
    """The leaf of a bucket."""
    return canonical.packb([[key, *bucket[key]] for key in sorted(bucket)])


def cell_text(cell: Cell) -> bytes:
    """How a store keeps a cell: canonical [touched, value]."""
    return canonical.packb(list(cell))


def parse_cell(raw: bytes) -> Cell:
    """Raises BrokenChain for bytes that are no cell."""
    try:
        match canonical.unpackb(raw, STATE_VALUE_BYTES_MAX):
            case [int(touched), list(value)] if not isinstance(touched, bool) and touched >= 0:
                frozen = freeze(value)
                assert isinstance(frozen, tuple)
                return Cell(touched, frozen)
    except Reject as error:
        raise BrokenChain(f"is no cell of the state: {error}") from None
    raise BrokenChain("is no cell of the state: expected [touched, value]")


_EMPTY: Bucket = {}
_EMPTY_LEAF = leaf_hash(bucket_text(_EMPTY))


@dataclass(frozen=True, slots=True)
class State:
    """One state. Immutable: nobody changes a bucket that is in one."""

    buckets: tuple[Bucket, ...] = (_EMPTY,) * BUCKETS
    leaves: tuple[bytes, ...] = (_EMPTY_LEAF,) * BUCKETS

    def cell(self, key: bytes) -> Cell | None:
        return self.buckets[bucket_of(key)].get(key)

    def get(self, tag: str, *parts: Value) -> Payload | None:
        """The value at the key, or None."""
        key, number = _place(tag, *parts)
        cell = self.buckets[number].get(key)
        return cell.value if cell else None

    def number(self, tag: str, *parts: Value) -> int:
        """The only number at the key; 0 if there is none."""
        value = self.get(tag, *parts)
        return _whole(value[0]) if value else 0

    def items(self, tag: str) -> list[tuple[tuple[Any, ...], Payload]]:
        """Parts and values of all keys of `tag`, keys ascending. Looks at every key: for closing a window, say."""
        start = _prefix(tag)
        found = [(key, cell.value) for bucket in self.buckets for key, cell in bucket.items() if key.startswith(start)]
        return [(tuple(canonical.unpackb(key, len(key))[1:]), value) for key, value in sorted(found)]

    def cells(self) -> Iterator[tuple[bytes, Cell]]:
        """All keys, ascending, with their cells."""
        yield from sorted((item for bucket in self.buckets for item in bucket.items()), key=lambda item: item[0])

    def root(self) -> bytes:
        """32 bytes that stand for the whole state."""
        return _root(self.leaves)


@lru_cache(maxsize=8)
def _root(leaves: tuple[bytes, ...]) -> bytes:
    level = list(leaves) or [EMPTY_ROOT]
    while len(level) > 1:
        level = [node_hash(level[i], level[i + 1]) for i in range(0, len(level), 2)]
    return level[0]


def state_from(cells: Iterable[tuple[bytes, Cell]]) -> State:
    """The state with these cells."""
    buckets: list[dict[bytes, Cell]] = [{} for _ in range(BUCKETS)]
    for key, cell in cells:
        buckets[bucket_of(key)][key] = cell
    return State(tuple(buckets), tuple(leaf_hash(bucket_text(bucket)) for bucket in buckets))


def changes(old: State, new: State) -> list[tuple[bytes, Cell | None]]:
    """Keys at which the states differ, ascending, with the new cell, or None. Shared buckets cost nothing."""
    found: dict[bytes, Cell | None] = {}
    for before, after in zip(old.buckets, new.buckets, strict=True):
        if before is not after:
            found |= {key: cell for key, cell in after.items() if before.get(key) != cell}
            found |= {key: None for key in before if key not in after}
    return sorted(found.items(), key=lambda item: item[0])


def first_difference(one: State, other: State) -> tuple[bytes, Cell | None, Cell | None] | None:
    """The smallest key at which the states differ, with both cells; None if they are the same."""
    for key, cell in changes(one, other):
        return key, one.cell(key), cell
    return None


def _prefix(tag: str) -> bytes:
    whole = key_of(tag, *(0 for _ in TAGS[tag]))
    return whole[: len(whole) - len(TAGS[tag])]


def _whole(value: Value) -> int:
    assert isinstance(value, int)
    return value


# ------------------------------------------------------------------------------------------------ the next state


@dataclass(slots=True)
class Draft:
    """The state that is being made out of `base`. `index` is the log index that writes are attributed to."""

    base: State
    index: int = 0
    _changed: dict[int, dict[bytes, Cell]] = field(default_factory=dict)

    def get(self, tag: str, *parts: Value) -> Payload | None:
        key, number = _place(tag, *parts)
        cell = self._bucket(number).get(key)
        return cell.value if cell else None

    def number(self, tag: str, *parts: Value) -> int:
        value = self.get(tag, *parts)
        return _whole(value[0]) if value else 0

    def put(self, value: Payload, tag: str, *parts: Value) -> None:
        """Write `value`; writing what is there already is no write."""
        key, number = _place(tag, *parts)
        cell = self._bucket(number).get(key)
        if cell is None or cell.value != value:
            self._open(number)[key] = Cell(self.index, value)

    def remove(self, tag: str, *parts: Value) -> None:
        key, number = _place(tag, *parts)
        if key in self._bucket(number):
            del self._open(number)[key]

    def items(self, tag: str) -> list[tuple[tuple[Any, ...], Payload]]:
        return self.view().items(tag)

    def view(self) -> State:
        """The state as it is now, without its hashes: to read from, and only until the next write."""
        return State(tuple(self._bucket(number) for number in range(BUCKETS)), self.base.leaves)

    def done(self) -> State:
        """The state as it is now. The draft goes on from it."""
        buckets, leaves = list(self.base.buckets), list(self.base.leaves)
        for number, bucket in self._changed.items():
            buckets[number], leaves[number] = bucket, leaf_hash(bucket_text(bucket))
        self._changed = {}
        self.base = State(tuple(buckets), tuple(leaves))
        return self.base

    def _bucket(self, number: int) -> Bucket:
        return self._changed[number] if number in self._changed else self.base.buckets[number]

    def _open(self, number: int) -> dict[bytes, Cell]:
        if number not in self._changed:
            self._changed[number] = dict(self.base.buckets[number])
        return self._changed[number]
