"""The largest magnitudes and where they stand. Knows vectors, and never sorts one.

A threshold is read off a strided sample of 64k magnitudes; everything at or above it is sent, up to `cap` values.
Vectors below 128k values are their own sample, so there the choice is exact: the k largest, ties to the lower position.
If a long vector's sample misleads (more than `cap` values at or above the threshold), the threshold becomes exactly the
cap-th largest magnitude. Magnitudes are compared by their bits without the sign, which order like the numbers do.

Laws: nothing left out is larger than anything sent; at most `cap` values; at least one if v is not 0. When k values are
sent as float32, ||v - q||^2 <= (1 - k/n) ||v||^2. Quantised values have the error of their codec among themselves.
Body: the values (values.py), then the gap bytes of their positions in a zstd frame.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from p2pfl.compress.codec import Bounds, Packed, check_packed, int_field
from p2pfl.compress.frames import expand, frame_bound, squeeze
from p2pfl.compress.gaps import Positions, decode_gaps, encode_gaps, gap_bytes_max
from p2pfl.compress.rows import mapped
from p2pfl.compress.values import (
    ELEMENTWISE,
    ValueName,
    check_dtype,
    count_bytes,
    pack_values,
    project_values,
    unpack_values,
)
from p2pfl.compress.vectors import Floats, check_size, not_finite, tiles, to_array
from p2pfl.core.noise import Key
from p2pfl.errors import ConfigError, Reject

Bits = NDArray[np.uint32]

SAMPLE = 1 << 16
SELECT_TILE = 1 << 17
MAGNITUDE = np.uint32(0x7FFFFFFF)


@dataclass(frozen=True, slots=True)
class TopK:
    """A `share` of the values, at least one, as `dtype`: float32, float16, int8 or int4."""

    share: float = 0.01
    dtype: ValueName = "float32"

    def __post_init__(self) -> None:
        if not 0.0 < self.share <= 1.0:
            raise ConfigError(f"topk: expected share above 0 and at most 1, got {self.share}")
        check_dtype("topk", self.dtype)

    def cap(self, size: int) -> int:
        """The most values that are sent of `size`: the share, and a quarter more where it is only sampled."""
        k = max(1, round(self.share * size))
        return k if _stride(size) == 1 else min(size, k + k // 4)

    def bounds(self, size: int) -> Bounds:
        """One field: how many values."""
        cap = self.cap(size)
        return Bounds(1, count_bytes(cap, self.dtype) + frame_bound(gap_bytes_max(cap, size)))

    def encode(self, v: Tensor, key: Key, damp: float = 1.0) -> tuple[Packed, Tensor]:
        """See `Codec.encode`. Ignores `key` and `damp`."""
        flat = to_array(v)
        positions = largest(flat.view(np.uint32), self._sampled(flat), self.cap(flat.size))
        values = flat[positions]
        if not np.isfinite(values).all():  # they are the largest of all, so they are here if there are any
            raise not_finite(flat)
        raw, sent = pack_values(values, self.dtype)
        q = np.zeros(flat.size, np.float32)
        q[positions] = sent
        return Packed((positions.size,), raw + squeeze(encode_gaps(positions).data)), torch.from_numpy(q)

    def decode_sparse(self, packed: Packed, size: int) -> tuple[Positions, Floats]:
        """Ascending positions (k,) and values (k,): `decode` without its zeros. Raises Reject like it."""
        check_size(size)
        check_packed(packed, self.bounds(size))
        count = int_field(packed, 0, 0, self.cap(size))
        cut = count_bytes(count, self.dtype)
        if cut > len(packed.body):
            raise Reject("codec", f"expected {cut} bytes of values, got {len(packed.body)} bytes")
        body = memoryview(packed.body)
        gaps = np.frombuffer(expand(body[cut:], count, gap_bytes_max(count, size) if count else 0), np.uint8)
        values = unpack_values(body[:cut], count, self.dtype)
        if self.dtype == "float32" and not values.all():
            raise Reject("codec", "a value that is 0")
        return decode_gaps(gaps, count, size), values

    def decode(self, packed: Packed, size: int) -> Tensor:
        """See `Codec.decode`."""
        positions, values = self.decode_sparse(packed, size)
        q = np.zeros(size, np.float32)
        q[positions] = values
        return torch.from_numpy(q)

    def add_to(self, x: Tensor, packed: Packed) -> None:
        """x (n,) float32 += q in place, at the cost of the values sent, not of all. Raises Reject before it writes."""
        positions, values = self.decode_sparse(packed, x.numel())
        x.index_add_(0, torch.from_numpy(positions), torch.from_numpy(values))

    def project(self, v: Tensor, key: Key, damp: float = 1.0) -> Tensor:
        """See `Codec.project`. Sorts the whole vector, where `encode` would not."""
        n = v.shape[-1]
        magnitude = v.abs()
        sample = magnitude[:: _stride(n)]
        sampled = torch.topk(sample, self._rank(sample.shape[-1])).values[-1]
        exact = torch.topk(magnitude, self.cap(n)).values[-1]
        threshold = torch.maximum(sampled, exact)
        above, ties = magnitude > threshold, magnitude == threshold
        kept = above | (ties & (ties.cumsum(-1) <= self.cap(n) - above.sum(-1)))
        kept = kept & (magnitude > 0.0)
        return torch.where(kept, self._project_kept(v, kept), 0.0)

    def project_rows(self, v: Tensor, keys: Sequence[Key], damp: Tensor) -> Tensor:
        """See `rows.project_rows`."""
        return mapped(self, v)

    def _project_kept(self, v: Tensor, kept: Tensor) -> Tensor:
        """The kept values of v (n,) as they arrive, anything elsewhere."""
        if self.dtype in ELEMENTWISE:
            return project_values(v, self.dtype)
        cap = self.cap(v.shape[-1])
        place = torch.where(kept, kept.cumsum(-1) - 1, cap)  # in the order of positions; the others share the last
        together = torch.zeros_like(v[:1]).expand(cap + 1).scatter(0, place, torch.where(kept, v, 0.0))
        return project_values(together[:cap], self.dtype).index_select(0, place.clamp(max=cap - 1))

    def _rank(self, sample_size: int) -> int:
        return max(1, round(self.share * sample_size))

    def _sampled(self, flat: Floats) -> int:
        """The bits of the sampled threshold, at least 1: zeros are never sent."""
        sample = flat[:: _stride(flat.size)].view(np.uint32) & MAGNITUDE
        place = sample.size - self._rank(sample.size)
        return max(1, int(np.partition(sample, place)[place]))


def _stride(size: int) -> int:
    """Odd, so that it does not beat with layer widths."""
    return (size // SAMPLE) | 1


def largest(bits: Bits, threshold: int, cap: int) -> Positions:
    """Ascending positions of the magnitudes >= threshold; if these are more than `cap`, of the `cap` largest."""
    found = at_least(bits, threshold, cap)
    if found is not None:
        return found
    threshold = nth_largest(bits, cap)
    above = at_least(bits, threshold + 1, cap)
    assert above is not None, "fewer than `cap` magnitudes are larger than the cap-th"
    return np.sort(np.concatenate([above, first_equal(bits, threshold, cap - above.size)]))


def at_least(bits: Bits, threshold: int, cap: int) -> Positions | None:
    """Ascending positions of the magnitudes >= threshold; None if they are more than `cap`."""
    magnitude, mask = np.empty(SELECT_TILE, np.uint32), np.empty(SELECT_TILE, np.bool_)
    limit, found, total = np.uint32(threshold), [], 0
    for part in tiles(bits.size, SELECT_TILE):
        count = part.stop - part.start
        np.bitwise_and(bits[part], MAGNITUDE, out=magnitude[:count])
        np.greater_equal(magnitude[:count], limit, out=mask[:count])
        positions = np.flatnonzero(mask[:count])
        total += positions.size
        if total > cap:
            return None
        positions += part.start
        found.append(positions)
    return np.concatenate(found)


def first_equal(bits: Bits, threshold: int, count: int) -> Positions:
    """The first `count` positions whose magnitude is `threshold`."""
    found, missing = [np.empty(0, np.int64)], count
    for part in tiles(bits.size, SELECT_TILE):
        positions = np.flatnonzero(bits[part] & MAGNITUDE == threshold)[:missing]
        found.append(positions + part.start)
        missing -= positions.size
        if not missing:
            break
    return np.concatenate(found)


def nth_largest(bits: Bits, rank: int) -> int:
    """The rank-th largest magnitude, rank >= 1: counts the upper 16 bits, then the lower ones of its bin."""
    upper = np.zeros(1 << 15, np.int64)
    for part in tiles(bits.size):
        upper += np.bincount((bits[part] & MAGNITUDE) >> 16, minlength=1 << 15)
    top, rank = _bin_from_above(upper, rank)
    lower = np.zeros(1 << 16, np.int64)
    for part in tiles(bits.size):
        magnitude = bits[part] & MAGNITUDE
        lower += np.bincount(magnitude[magnitude >> 16 == top] & 0xFFFF, minlength=1 << 16)
    return top << 16 | _bin_from_above(lower, rank)[0]


def _bin_from_above(counts: NDArray[np.int64], rank: int) -> tuple[int, int]:
    """The bin that holds the rank-th item from above, and its rank inside that bin."""
    from_above = np.cumsum(counts[::-1])
    place = int(np.searchsorted(from_above, rank))
    return counts.size - 1 - place, rank - int(from_above[place - 1] if place else 0)
