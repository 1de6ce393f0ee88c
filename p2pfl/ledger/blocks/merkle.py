"""The Merkle tree of a growing log: roots, and proofs that a leaf is in it and that a later tree continues an earlier.
Pure; knows hashes, not what the leaves are.

    leaf hash = SHA-256(0x00 || leaf)     node hash = SHA-256(0x01 || left || right)

A tree of n > 1 leaves splits at k, the largest power of two below n: its left part is complete and never changes again.
So a log keeps only the hashes of complete subtrees, `Node(level, number)` over the leaves number * 2^level and on,
each written once; and whoever only appends needs no more than one of them for each set bit of n (`Range`).

Source: RFC 9162, sections 2.1.1 (root), 2.1.3 (inclusion), 2.1.4 (consistency); trees are those of RFC 6962.
"""

from collections.abc import Callable, Iterable, Sequence
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
        return self.extend((leaf,))

    def extend(self, leaves: Iterable[bytes]) -> tuple["Range", list[Node]]:
        """As `append` for several leaves, one after another."""
        size, peaks, nodes = self.size, list(self.peaks), []
        node, hasher = Node._make, sha256
        for hash_ in leaves:
            nodes.append(node((0, size, hash_)))
            level, number = 0, size
            while number & 1:  # a peak of this level waits for its right half
                hash_ = hasher(b"\1" + peaks.pop() + hash_).digest()
                level, number = level + 1, number >> 1
                nodes.append(node((level, number, hash_)))
            peaks.append(hash_)
            size += 1
        return Range(size, tuple(peaks)), nodes

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
    edge, low, high = [], 0, size
    while (high - low) & (high - low - 1):  # not complete yet: along the right edge
        level = (high - low).bit_length() - 1  # of the left part, which is complete
        middle = low + (1 << level)
        if index < middle:
            edge.append(_part(fetch, middle, high))
            high = middle
        else:
            edge.append(fetch(level, low >> level))
            low = middle
    levels = range((high - low).bit_length() - 1)
    return [fetch(level, (index >> level) ^ 1) for level in levels] + edge[::-1]


def prove_consistency(fetch: Fetch, old: int, new: int) -> list[bytes]:
    """That the tree of `old` leaves is the beginning of the tree of `new`. RFC 9162, 2.1.4.1. Raises ValueError."""
    if not 0 <= old <= new:
        raise ValueError(f"expected an older size of 0 to {new}, got {old}")
    if old == 0:
        return []
    edge, low, high = [], 0, new
    while old < high and (high - low) & (high - low - 1):
        level = (high - low).bit_length() - 1
        middle = low + (1 << level)
        if old <= middle:
            edge.append(_part(fetch, middle, high))
            high = middle
        else:
            edge.append(fetch(level, low >> level))
            low = middle
    if old == high:
        return [_part(fetch, low, high)] * (low > 0) + edge[::-1]
    last, first = old - 1, (old & -old).bit_length() - 1  # the old tree ends with a subtree of level `first`
    path = [fetch(level, (last >> level) ^ 1) for level in range(first, (high - low).bit_length() - 1)]
    begin = [fetch(first, last >> first)] if old != 1 << first else []  # else the verifier has it: the old root
    return begin + path + edge[::-1]


def _part(fetch: Fetch, low: int, high: int) -> bytes:
    """The root over the leaves low..high, where low is a multiple of the power of two that reaches high."""
    size = high - low
    level = size.bit_length() - 1
    if not size & (size - 1):
        return fetch(level, low >> level)
    middle = low + (1 << level)
    return sha256(b"\1" + fetch(level, low >> level) + _part(fetch, middle, high)).digest()


# ------------------------------------------------------------------------------------------------ verifying


def verify_inclusion(leaf: bytes, index: int, size: int, proof: Sequence[bytes], root: bytes) -> bool:
    """Whether `proof` shows the leaf of this hash at `index` of the tree. RFC 9162, 2.1.3.2. Never raises."""
    if not 0 <= index < size or len(proof) > PROOF_HASHES_MAX:
        return False
    here, last, computed = index, size - 1, leaf
    for sibling in proof:
        if last == 0 or len(sibling) != HASH_BYTES:
            return False
        if here & 1 or here == last:
            computed = sha256(b"\1" + sibling + computed).digest()
            while here and not here & 1:  # up to where it is a right child: the levels between have no sibling
                here, last = here >> 1, last >> 1
        else:
            computed = sha256(b"\1" + computed + sibling).digest()
        here, last = here >> 1, last >> 1
    return last == 0 and computed == root


def verify_consistency(old: int, new: int, proof: Sequence[bytes], old_root: bytes, new_root: bytes) -> bool:
    """Whether `proof` shows that the newer tree continues the older one. RFC 9162, 2.1.4.2. Never raises."""
    if not 0 <= old <= new or len(proof) > PROOF_HASHES_MAX:
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
        if last == 0 or len(sibling) != HASH_BYTES:
            return False
        if here & 1 or here == last:
            old_computed = sha256(b"\1" + sibling + old_computed).digest()
            new_computed = sha256(b"\1" + sibling + new_computed).digest()
            while here and not here & 1:
                here, last = here >> 1, last >> 1
        else:
            new_computed = sha256(b"\1" + new_computed + sibling).digest()
        here, last = here >> 1, last >> 1
    return last == 0 and old_computed == old_root and new_computed == new_root
