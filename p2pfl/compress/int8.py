"""Eight bits a value, one scale a block. Knows no entropy: for snapshots of a whole model and as a plain baseline.

    scale = max|v| / 127 over a block;  k = round(v / scale) to the nearest even;  q = k * scale, all in float32

Law: |v - q| <= 0.51 scale, or |v| itself in a block whose values are all below 2^-100 (it is sent as zeros).
Body: the scales (float32, little-endian), then the codes (int8), all blocks but the last of `block` values.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from p2pfl.compress.codec import Bounds, Packed, check_packed
from p2pfl.compress.vectors import TILE, Floats, check_size, not_finite, tiles, to_array
from p2pfl.core.noise import Key
from p2pfl.errors import ConfigError, Reject

LEVELS = 127
SCALE_TILE = 2 * TILE
MAGNITUDE = np.uint32(0x7FFFFFFF)
TINY = 2.0**-100
"""A block below this is sent as zeros, so that 1 / scale is never infinite."""

SCALE_MAX = float(np.nextafter(np.float32(np.finfo(np.float32).max / LEVELS), np.float32(0.0)))
"""127 * scale must be finite."""


@dataclass(frozen=True, slots=True)
class Int8:
    """`block` values share a scale: 4 / block bytes a value more than one."""

    block: int = 1024

    def __post_init__(self) -> None:
        if not (isinstance(self.block, int) and 16 <= self.block <= TILE and self.block & (self.block - 1) == 0):
            raise ConfigError(f"int8: expected block to be a power of two from 16 to {TILE}, got {self.block}")

    def bounds(self, size: int) -> Bounds:
        """No fields."""
        return Bounds(0, 4 * self._num_blocks(size) + size)

    def encode(self, v: Tensor, key: Key, damp: float = 1.0) -> tuple[Packed, Tensor]:
        """See `Codec.encode`. Ignores `key`, and `damp`: finer than the nearest of 255 levels it does not get."""
        flat = to_array(v)
        num_blocks = self._num_blocks(flat.size)
        body = np.empty(4 * num_blocks + flat.size, np.uint8)
        scales, k = body[: 4 * num_blocks].view("<f4"), body[4 * num_blocks :].view(np.int8)
        q, scratch = np.empty(flat.size, np.float32), np.empty(SCALE_TILE, np.float32)
        for part, rows in block_tiles(flat.size, self.block):
            t = scratch[: part.stop - part.start].reshape(rows.stop - rows.start, -1)
            values = flat[part].reshape(t.shape)
            peaks = row_peaks(values, t)
            if not np.isfinite(peaks).all():
                raise not_finite(flat)
            scales[rows], inverses = to_scales(peaks)
            scale_rows(values, inverses, out=t)
            np.rint(t, out=t)
            np.copyto(k[part].reshape(t.shape), t, casting="unsafe")
            scale_rows(t, scales[rows], out=t)
            np.add(t, np.float32(0.0), out=q[part].reshape(t.shape))  # -0 becomes 0, as in the decoder
        return Packed((), body.data), torch.from_numpy(q)

    def decode(self, packed: Packed, size: int) -> Tensor:
        """See `Codec.decode`."""
        check_size(size)
        bounds = self.bounds(size)
        check_packed(packed, bounds)
        if len(packed.body) != bounds.body_bytes:
            raise Reject("codec", f"expected {bounds.body_bytes} bytes, got {len(packed.body)}")
        raw = np.frombuffer(packed.body, np.uint8)
        cut = 4 * self._num_blocks(size)
        # A copy, because a body that starts at an odd address is slow or illegal to read as floats.
        scales, k = raw[:cut].copy().view("<f4"), raw[cut:].view(np.int8)
        if not ((scales >= 0.0) & (scales <= SCALE_MAX)).all() or np.signbit(scales).any():
            raise Reject("codec", "a scale that is negative, not finite or too large")
        return torch.from_numpy(self._decode_codes(k, scales))

    def project(self, v: Tensor, key: Key, damp: float = 1.0) -> Tensor:
        """See `Codec.project`."""
        n = v.shape[-1]
        rows = torch.nn.functional.pad(v, (0, -n % self.block)).reshape(-1, self.block)
        peak = rows.abs().amax(-1, keepdim=True)
        scale = torch.where(peak >= TINY, (peak / LEVELS).clamp(max=SCALE_MAX), 0.0)
        inverse = torch.where(scale > 0.0, 1.0 / scale, 0.0)
        t = (rows * inverse).round() + 0.0  # three roundings of 2^-24 cannot lift 127 to 127.5: no clamp
        return (t * scale).reshape(-1)[:n]

    def _num_blocks(self, size: int) -> int:
        return -(-size // self.block)

    def _decode_codes(self, k: NDArray[np.int8], scales: Floats) -> Floats:
        q = np.empty(k.size, np.float32)
        for part, rows in block_tiles(k.size, self.block):
            if int(k[part].min()) < -LEVELS:
                raise Reject("codec", "the code -128")
            out = q[part].reshape(rows.stop - rows.start, -1)
            np.copyto(out, k[part].reshape(out.shape))
            scale_rows(out, scales[rows], out=out)
        if not scales.all():
            self._check_silent(k, scales)
        return q

    def _check_silent(self, k: NDArray[np.int8], scales: Floats) -> None:
        """Under scale 0 only the code 0 has a meaning (and no other gives +0)."""
        for row in np.flatnonzero(scales == 0.0):
            if k[row * self.block : (row + 1) * self.block].any():
                raise Reject("codec", "a code that is not 0 under scale 0")


def block_tiles(size: int, block: int) -> Iterator[tuple[slice, slice]]:
    """Values and the blocks they make up, tile by tile; a last, shorter block comes alone. `block` divides the tile."""
    whole = size // block * block
    for part in tiles(whole, SCALE_TILE):
        yield part, slice(part.start // block, part.stop // block)
    if whole < size:
        yield slice(whole, size), slice(whole // block, whole // block + 1)


def row_peaks(rows: Floats, scratch: Floats) -> Floats:
    """The largest magnitude of each row of (B, m), not finite where a value is not. Overwrites `scratch` (B, m)."""
    # Magnitudes order like their bits: one pass instead of a maximum and a minimum.
    magnitudes = np.bitwise_and(rows.view(np.uint32), MAGNITUDE, out=scratch.view(np.uint32))
    peaks: Floats = magnitudes.max(axis=1).view(np.float32)
    return peaks


def scale_rows(rows: Floats, scales: Floats, out: Floats) -> None:
    """out (B, m) = rows (B, m) * scales (B,). By torch: numpy is three times slower where one operand repeats."""
    torch.mul(torch.from_numpy(rows), torch.from_numpy(scales)[:, None], out=torch.from_numpy(out))


def to_scales(peaks: Floats) -> tuple[Floats, Floats]:
    """The scale of each block and its inverse, 0 and 0 for a silent one. As in `project`, bit for bit."""
    scales = np.minimum(peaks / np.float32(LEVELS), np.float32(SCALE_MAX))
    scales *= peaks >= TINY
    inverses = np.divide(np.float32(1.0), scales, out=np.zeros_like(scales), where=scales > 0.0)
    return scales, inverses
