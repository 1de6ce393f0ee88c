"""The heavy half of a secure sum: masked words, sums of slices, and their values. Pure functions; knows no protocol.

Legend: n words in a vector; c members.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from p2pfl.core.noise import Key
from p2pfl.core.party import Buffer
from p2pfl.errors import Reject
from p2pfl.secagg.masks import Words, apply_streams
from p2pfl.secagg.member import Cover, Lifting
from p2pfl.secagg.rounding import Grid, Width


def covered(grid: Grid, values: ArrayLike, key: Key, cover: Cover, noise: NDArray[np.int64] | None = None) -> Words:
    """(n,) values -> (n,) masked words: what may be shown. `key` draws the rounding. ValueError if not finite.

    noise: (n,) integers that are added to the rounded values, in units of the grid."""
    words = grid.encode(values, key)
    if noise is not None:
        words += noise.astype(np.uint32)  # mod 2^32
    apply_streams(words, cover.streams)
    return words


def to_bytes(words: Words, width: Width = 32) -> bytes:
    """Little-endian; of narrow words the lower bits, whose sums mod 2^16 are those of the whole words."""
    return words.astype(f"<u{width // 8}", copy=False).tobytes()


def from_bytes(body: Buffer, count: int, width: Width = 32) -> Words:
    """`count` words; a view of `body` where that can be. Raises Reject."""
    view = memoryview(body).cast("B")
    if view.nbytes != count * width // 8:
        raise Reject("size", f"expected {count * width // 8} bytes of words, got {view.nbytes}")
    return np.frombuffer(view, f"<u{width // 8}").astype(np.uint32, copy=False)


def lifted(parts: Sequence[Words], lifting: Lifting, start: int) -> Words:
    """The survivors' words of one slice that begins at word `start` -> the words of its sum, masks taken off."""
    total = np.array(parts[0])
    for part in parts[1:]:
        total += part
    apply_streams(total, lifting.streams, start)
    return total


def mean(grid: Grid, totals: Sequence[Words], count: int) -> NDArray[np.float64]:
    """All slices' sums, in order -> the mean (n,) of `count` vectors, off by less than `grid.unit` each."""
    return grid.decode(np.concatenate(totals)) / count
