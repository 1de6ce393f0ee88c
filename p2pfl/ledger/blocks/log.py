"""The finalized log: one RFC 6962 tree over everything final, in order. Knows leaves and where hashes lie; no vote.

The leaves of a height are its entries as they came (raw), then the header's bytes. Every hash of a complete subtree is
written once and never changes; `leaf` says what each leaf is, so that a proof is made without reading blocks.

| space | key | value |
|---|---|---|
| node | level (u8) + number (u64) | hash of that complete subtree; insert-only by nature |
| leaf | index (u64) | the id of an entry (32 bytes), or the height of a header (u64) |
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from p2pfl.core.party import Put
from p2pfl.errors import BrokenChain
from p2pfl.ledger.blocks.block import Header
from p2pfl.ledger.blocks.merkle import Range, leaf_hash
from p2pfl.ledger.feeds.entry import ID_BYTES, Entry

NODE = "node"
LEAF = "leaf"


def node_key(level: int, number: int) -> bytes:
    return level.to_bytes(1, "big") + number.to_bytes(8, "big")


def index_key(index: int) -> bytes:
    """The key of a leaf by its index, and of whatever is numbered by height."""
    return index.to_bytes(8, "big")


@dataclass(frozen=True, slots=True)
class Log:
    """The tree up to a finalized size."""

    tree: Range = field(default_factory=Range)

    @property
    def size(self) -> int:
        return self.tree.size

    def root(self) -> bytes:
        return self.tree.root()

    def append(self, header: Header, entries: Sequence[Entry]) -> tuple["Log", list[Put]]:
        """The log with one height more, and what to write. Raises BrokenChain if the header is not of this place."""
        if (header.first_index, header.entry_count) != (self.size, len(entries)):
            raise BrokenChain(
                f"{header.name}: expected {len(entries)} entries from leaf {self.size}, "
                f"the header says {header.entry_count} from {header.first_index}"
            )
        puts = [Put(LEAF, index_key(i), entry.id) for i, entry in enumerate(entries, self.size)]
        puts.append(Put(LEAF, index_key(self.size + len(entries)), index_key(header.height)))
        tree, nodes = self.tree.extend(leaf_hash(leaf) for leaf in (*(entry.raw for entry in entries), header.raw))
        puts += [Put(NODE, node_key(level, number), hash_) for level, number, hash_ in nodes]
        return Log(tree), puts


def leaf_place(value: bytes) -> bytes | int:
    """What a record of the space "leaf" points to: an entry's id, or a height. Raises BrokenChain."""
    if len(value) == ID_BYTES:
        return value
    if len(value) == 8:
        return int.from_bytes(value, "big")
    raise BrokenChain(f"a leaf record has {ID_BYTES} or 8 bytes, got {len(value)}")
