"""The Merkle tree of a growing log: roots, and proofs that a leaf is in it and that a later tree continues an earlier.
Pure; knows hashes, not what the leaves are.

    leaf hash = SHA-256(0x00 || leaf)     node hash = SHA-256(0x01 || left || right)

A tree of n > 1 leaves splits at k, the largest power of two below n: its left part is complete and never changes again.
So a log keeps only the hashes of complete subtrees, `Node(level, number)` over the leaves number * 2^level and on,
each written once; and whoever only appends needs no more than one of them for each set bit of n (`Range`).

Source: RFC 9162, sections 2.1.1 (root), 2.1.3 (inclusion), 2.1.4 (consistency); trees are those of RFC 6962.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import NamedTuple, TypeAlias

HASH_BYTES = 32
EMPTY_ROOT = sha256(b"").digest()
"""The root of the tree without leaves."""

PROOF_HASHES_MAX = 64
"""A tree of fewer than 2^63 leaves needs no longer proof."""

Fetch: TypeAlias = Callable[[int, int], bytes]
"""The stored hash of the complete subtree (level, number)."""


class Node(NamedTuple):
    """A complete subtree: the leaves from number * 2^level to (number + 1) * 2^level."""

    level: int
    number: int
    hash: bytes


def leaf_hash(leaf: bytes) -> bytes:
    return sha256(b"\0" + leaf).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    return sha256(b"\1" + left + right).digest()


@dataclass(frozen=True, slots=True)
class Range:
    """A tree of `size` leaves by its largest complete subtrees, from the left: one peak for each set bit of size."""

    size: int = 0
    peaks: tuple[bytes, ...] = ()

    def append(self, leaf: bytes) -> tuple["Range", list[Node]]:
        """The range with one more leaf, given by its hash, and the nodes that are complete now: the leaf's first."""
        peaks, nodes = list(self.peaks), [Node(0, self.size, leaf)]
        while (self.size >> nodes[-1].level) & 1:  # a peak of this level waits for its right half
            level, number, right = nodes[-1]
            nodes.append(Node(level + 1, number >> 1, node_hash(peaks.pop(), right)))
        return Range(self.size + 1, (*peaks, nodes[-1].hash)), nodes

    def root(self) -> bytes:
        if not self.peaks:
            return EMPTY_ROOT
        root = self.peaks[-1]
        for peak in reversed(self.peaks[:-1]):
            root = node_hash(peak, root)
        return root


# -------------------------------------------------------------------------------------------------- proving


def tree_root(fetch: Fetch, size: int) -> bytes:
    """The root of the first `size` leaves, from stored nodes."""
    return _part(fetch, 0, size) if size else EMPTY_ROOT


def prove_inclusion(fetch: Fetch, index: int, size: int) -> list[bytes]:
    """That leaf `index` is in the tree of `size` leaves. RFC 9162, 2.1.3.1. Raises ValueError if it is not."""
    if not 0 <= index < size:
        raise ValueError(f"expected a leaf of 0 to {size - 1}, got {index}")
    proof, low, high = [], 0, size
    while high - low > 1:
        middle = _split(low, high)
        if index < middle:
            proof.append(_part(fetch, middle, high))
            high = middle
        else:
            proof.append(_part(fetch, low, middle))
            low = middle
    return proof[::-1]


def prove_consistency(fetch: Fetch, old: int, new: int) -> list[bytes]:
    """That the tree of `old` leaves is the beginning of the tree of `new`. RFC 9162, 2.1.4.1. Raises ValueError."""
    if not 0 <= old <= new:
        raise ValueError(f"expected an older size of 0 to {new}, got {old}")
    if old == 0:
        return []
    proof, low, high = [], 0, new
    while old < high:
        middle = _split(low, high)
        if old <= middle:
            proof.append(_part(fetch, middle, high))
            high = middle
        else:
            proof.append(_part(fetch, low, middle))
            low = middle
    if low > 0:  # else the verifier has this one: it is the old root
        proof.append(_part(fetch, low, high))
    return proof[::-1]


def _split(low: int, high: int) -> int:
    """Where the tree over low..high splits: after the largest power of two below its size."""
    return low + (1 << ((high - low - 1).bit_length() - 1))


def _part(fetch: Fetch, low: int, high: int) -> bytes:
    """The root over the leaves low..high, where low is a multiple of the power of two that reaches high."""
    level = (high - low).bit_length() - 1
    if high - low == 1 << level:
        return fetch(level, low >> level)
    middle = _split(low, high)
    return node_hash(_part(fetch, low, middle), _part(fetch, middle, high))


# ------------------------------------------------------------------------------------------------ verifying


def verify_inclusion(leaf: bytes, index: int, size: int, proof: Sequence[bytes], root: bytes) -> bool:
    """Whether `proof` shows the leaf of this hash at `index` of the tree. RFC 9162, 2.1.3.2. Never raises."""
    if not 0 <= index < size or not _well_formed(proof):
        return False
    here, last, computed = index, size - 1, leaf
    for sibling in proof:
        if last == 0:
            return False
        if here & 1 or here == last:
            computed = node_hash(sibling, computed)
            here, last = _climb(here, last)
        else:
            computed = node_hash(computed, sibling)
        here, last = here >> 1, last >> 1
    return last == 0 and computed == root


def verify_consistency(old: int, new: int, proof: Sequence[bytes], old_root: bytes, new_root: bytes) -> bool:
    """Whether `proof` shows that the newer tree continues the older one. RFC 9162, 2.1.4.2. Never raises."""
    if not 0 <= old <= new or not _well_formed(proof):
        return False
    if old in (0, new):
        return not proof and old_root == (EMPTY_ROOT if old == 0 else new_root)
    path = [old_root, *proof] if old & (old - 1) == 0 else list(proof)
    if not path:
        return False
    here, last = old - 1, new - 1
    while here & 1:
        here, last = here >> 1, last >> 1
    old_computed = new_computed = path[0]
    for sibling in path[1:]:
        if last == 0:
            return False
        if here & 1 or here == last:
            old_computed, new_computed = node_hash(sibling, old_computed), node_hash(sibling, new_computed)
            here, last = _climb(here, last)
        else:
            new_computed = node_hash(new_computed, sibling)
        here, last = here >> 1, last >> 1
    return last == 0 and old_computed == old_root and new_computed == new_root


def _climb(here: int, last: int) -> tuple[int, int]:
    """Up to where `here` is a right child: the levels between have no sibling."""
    while here and not here & 1:
        here, last = here >> 1, last >> 1
    return here, last


def _well_formed(proof: Sequence[bytes]) -> bool:
    return len(proof) <= PROOF_HASHES_MAX and all(len(sibling) == HASH_BYTES for sibling in proof)
