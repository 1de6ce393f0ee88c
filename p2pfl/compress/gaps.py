"""Sets of positions as gap bytes. Knows sorted integers, not what stands at them.

For ascending positions i_0 < i_1 < ...: the gap of the first is i_0, of each other i_k - i_(k-1) - 1. A gap g is
g // 255 bytes of 255, then one byte g % 255. Canonical: every byte string that does not end in 255 is one set.
"""

import numpy as np
import torch
from numpy.typing import NDArray

from p2pfl.errors import Reject

Bytes = NDArray[np.uint8]
Positions = NDArray[np.int64]

ESCAPE = 255


def gap_bytes_max(count: int, size: int) -> int:
    """The most gap bytes of `count` positions below `size`."""
    return count + (size - count) // ESCAPE


def encode_gaps(positions: Positions | NDArray[np.int32]) -> Bytes:
    """Gap bytes of ascending positions (int32 or int64)."""
    if not positions.size:
        return np.empty(0, np.uint8)
    gaps = np.diff(positions, prepend=positions.dtype.type(-1))
    gaps -= 1
    if int(gaps.max()) < ESCAPE:
        return gaps.astype(np.uint8)
    far = np.flatnonzero(gaps >= ESCAPE)  # few: dividing all would take most of the time
    escapes = gaps[far] // ESCAPE
    gaps[far] -= escapes * ESCAPE
    return np.insert(gaps.astype(np.uint8), np.repeat(far, escapes), ESCAPE)


def decode_gaps(raw: Bytes, count: int, size: int) -> Positions:
    """`count` ascending positions below `size`; Reject if `raw` means anything else."""
    if raw.size > gap_bytes_max(count, size):
        raise Reject("codec", f"expected at most {gap_bytes_max(count, size)} gap bytes, got {raw.size}")
    ends = np.flatnonzero(raw != ESCAPE)
    if ends.size != count or (raw.size and raw[-1] == ESCAPE):
        raise Reject("codec", f"expected {count} positions, got {ends.size}")
    sums = torch.from_numpy(raw.astype(np.int64)).cumsum_(0).numpy()  # numpy's takes twice as long
    if count and sums[-1] + count > size:
        raise Reject("codec", f"expected positions below {size}, got {sums[-1] + count - 1}")
    positions: Positions = sums[ends]
    positions += np.arange(count)
    return positions
