"""One bit a value: its sign, times the mean magnitude of its block. Knows no entropy: signs are noise.

    scale = mean|v| over a block, in float64, then float32;  q = -scale where v < 0, else scale

Law, in each block of d values: ||v - q||^2 = ||v||^2 - (sum|v|)^2 / d, to rounding; so a block that is not silent
always comes nearer, by a share of 1/d at least and of 2/pi for gaussian values. A value of 0 gets the scale too: the
error stays with the sender, who says it next time (in a reference or an error-feedback buffer, without which signs do
not converge).

Source: Karimireddy et al. 2019 (EF-signSGD), with the scale per block instead of per layer.
Body: the scales (float32, little-endian), then the signs, 1 for a negative value, the first in a byte's lowest bit.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from p2pfl.compress.blocks import block_tiles, check_block, check_scales, count_blocks, to_rows
from p2pfl.compress.codec import Bounds, Packed, check_length
from p2pfl.compress.rows import mapped
from p2pfl.compress.symbols import expect
from p2pfl.compress.vectors import Floats, check_size, not_finite, to_array
from p2pfl.core.noise import Key

SCALE_MAX = float(np.finfo(np.float32).max)


@dataclass(frozen=True, slots=True)
class Sign:
    """`block` values share a scale: 32 / block bits a value more than one."""

    block: int = 1024

    def __post_init__(self) -> None:
        check_block("sign", self.block)

    def bounds(self, size: int) -> Bounds:
        """No fields."""
        return Bounds(0, 4 * count_blocks(size, self.block) + count_blocks(size, 8))

    def encode(self, v: Tensor, key: Key, damp: float = 1.0) -> tuple[Packed, Tensor]:
        """See `Codec.encode`. Ignores `key` and `damp`."""
        flat = to_array(v)
        scales, negative = np.empty(count_blocks(flat.size, self.block), "<f4"), np.empty(flat.size, np.bool_)
        for part, rows in block_tiles(flat.size, self.block):
            values = torch.from_numpy(flat[part]).reshape(rows.stop - rows.start, -1)
            means = row_means(torch.nn.functional.pad(values, (0, self.block - values.shape[1])), values.shape[1])
            scales[rows] = means.numpy()
            np.logical_and(values.numpy() < 0.0, scales[rows, None] > 0.0, out=negative[part].reshape(values.shape))
        if not np.isfinite(scales).all():
            raise not_finite(flat)
        bits = np.packbits(negative, bitorder="little")
        return Packed((), scales.tobytes() + bits.tobytes()), torch.from_numpy(self._signed(negative, scales))

    def decode(self, packed: Packed, size: int) -> Tensor:
        """See `Codec.decode`."""
        check_size(size)
        check_length(packed, self.bounds(size))
        raw = np.frombuffer(packed.body, np.uint8)
        cut = 4 * count_blocks(size, self.block)
        scales = raw[:cut].copy().view("<f4")
        check_scales(scales, SCALE_MAX)
        bits = np.unpackbits(raw[cut:], bitorder="little").view(np.bool_)
        expect(not bits[size:].any(), "padding that is not 0")
        for row in np.flatnonzero(scales == 0.0):
            expect(not bits[row * self.block : (row + 1) * self.block].any(), "a sign under scale 0")
        return torch.from_numpy(self._signed(bits[:size], scales))

    def project(self, v: Tensor, key: Key, damp: float = 1.0) -> Tensor:
        """See `Codec.project`."""
        n = v.shape[-1]
        rows = to_rows(v, self.block)
        means = row_means(rows, self.block)[:, None]
        if n % self.block:
            last = row_means(rows[-1:], n % self.block)[:, None]
            means = torch.cat([means[:-1], last])
        return (torch.where(rows < 0.0, -means, means) + 0.0).reshape(-1)[:n]

    def project_rows(self, v: Tensor, keys: Sequence[Key], damp: Tensor) -> Tensor:
        """See `rows.project_rows`."""
        return mapped(self, v)

    def _signed(self, negative: "np.ndarray[tuple[int, ...], np.dtype[np.bool_]]", scales: Floats) -> Floats:
        """q (n,): the scale of each value's block, its sign bit from `negative`."""
        q = np.empty(negative.size, np.float32)
        for part, rows in block_tiles(negative.size, self.block):
            out = q[part].reshape(rows.stop - rows.start, -1)
            out[:] = scales[rows, None]
            out.view(np.uint32)[:] |= negative[part].reshape(out.shape).astype(np.uint32) << np.uint32(31)
        return q


def row_means(rows: Tensor, count: int) -> Tensor:
    """sum|v| / count of each row of (B, m), m a power of two, as float32 (B,); not finite where a value is not.

    Rows fold in halves, elementwise, so that the sum does not depend on threads, vector units or a vmap axis.
    """
    sums = rows.abs().double()
    while (half := sums.shape[-1] // 2) > 0:
        sums = sums[..., :half] + sums[..., half:]
    return (sums[..., 0] / count).float()
