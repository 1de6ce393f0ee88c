"""Private set intersection by blinded points, as pure functions over whole chunks. Knows sets; no party and no route.

Every party raises every party's points to its own secret power. What has been raised by all is equal exactly where the
ids are equal, whatever the order of the powers, and tells nobody without all the powers which id it was.
Source: Meadows 1986; Huberman, Franklin, Hogg 1999; hash to the curve as in `curve`.

Legend: n points of one set; a tag is the first 16 bytes of a point that all have raised, as two big-endian numbers.
"""

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
from blake3 import blake3
from numpy.typing import NDArray

from p2pfl.core.noise import derive
from p2pfl.crypto.curve import POINT_BYTES

TAG_BYTES = 16
"""Two different ids of a billion share a tag with a chance of 2^-69."""

PAD_BYTES = 32

Tags: TypeAlias = NDArray[np.uint64]
"""(n, 2)"""


def permutation(n: int, key: bytes) -> NDArray[np.int64]:
    """A secret order of n rows: by 64 bits of BLAKE3's output under the key, so as secret as the key."""
    stream = np.frombuffer(blake3(b"p2pfl/psi-order\0", key=key).digest(length=max(8 * n, 1)), np.uint8)
    return np.argsort(stream[: 8 * n].view("<u8"), kind="stable").astype(np.int64)


def padding(num: int, key: bytes) -> list[bytes]:
    """Items nobody else has, to hide how large a set is: their points look like all others and meet none."""
    return [b"\0pad" + derive(key, "psi-pad", i)[:PAD_BYTES] for i in range(num)]


def tags_of(blob: bytes) -> Tags:
    """The tags of points raised by all. The blob is whole points."""
    return np.frombuffer(blob, ">u8").reshape(-1, POINT_BYTES // 8)[:, : TAG_BYTES // 8].astype(np.uint64)


def has_doubles(tags: Tags) -> bool:
    """Is one tag there twice? Then its set held one id twice, or a point was repeated on its way."""
    order = _by_tag(tags)
    return bool((tags[order[1:]] == tags[order[:-1]]).all(axis=1).any())


def intersect(sets: Sequence[Tags]) -> list[NDArray[np.int64]]:
    """For each set, where its common members are, listed in ascending order of the tag: one common order for all.

    Each set's tags are distinct (`has_doubles`). The order looks random to who lacks one of the powers.
    """
    tags = np.concatenate(sets)
    owner = np.repeat(np.arange(len(sets)), [len(s) for s in sets])
    place = np.concatenate([np.arange(len(s)) for s in sets])
    order = np.lexsort((owner, tags[:, 1], tags[:, 0]))
    starts = _runs(tags[order], len(sets))
    return [place[order[starts + i]].astype(np.int64) for i in range(len(sets))]


def _runs(ordered: Tags, length: int) -> NDArray[np.int64]:
    """Where a run of `length` equal tags starts. No run is longer."""
    last = len(ordered) - length + 1
    if last <= 0:
        return np.zeros(0, np.int64)
    return np.flatnonzero((ordered[:last] == ordered[length - 1 :]).all(axis=1)).astype(np.int64)


def _by_tag(tags: Tags) -> NDArray[np.int64]:
    return np.lexsort((tags[:, 1], tags[:, 0])).astype(np.int64)
