"""Codes to the nearest of 2 L + 1 levels, one scale a block. Knows numbers, not how many bits a code gets on the wire.

    scale = max|v| / L over a block;  k = round(v / scale) to the nearest even;  q = k * scale, all in float32

Law: |v - q| <= 0.51 scale, or |v| itself in a block whose values are all below 2^-100 (it is sent as zeros).

Legend: n values in B blocks of `block` values, the last may be shorter; L `levels` on either side of 0.
"""

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from p2pfl.compress.symbols import Codes
from p2pfl.compress.vectors import TILE, Floats, not_finite, tiles
from p2pfl.errors import ConfigError, Reject

SCALE_TILE = 2 * TILE
MAGNITUDE = np.uint32(0x7FFFFFFF)
TINY = 2.0**-100
"""A block below this is sent as zeros, so that 1 / scale is never infinite."""
ORDINARY = 1e37
"""Up to here neither a scale nor its inverse needs a bound."""


def check_block(codec: str, block: int) -> None:
    if not (isinstance(block, int) and 16 <= block <= TILE and block & (block - 1) == 0):
        raise ConfigError(f"{codec}: expected block to be a power of two from 16 to {TILE}, got {block}")


def count_blocks(size: int, block: int) -> int:
    return -(-size // block)


def scale_max(levels: int) -> float:
    """The largest scale: `levels` times it must be finite."""
    return float(np.nextafter(np.float32(np.finfo(np.float32).max / levels), np.float32(0.0)))


def quantise_blocks(flat: Floats, block: int, levels: int, scales: Floats, k: Codes) -> Floats:
    """Writes the scales (B,) and codes k (n,) of flat (n,), and returns q (n,). Raises ValueError if not finite."""
    q, scratch = np.empty(flat.size, np.float32), np.empty(SCALE_TILE, np.float32)
    for part, rows in block_tiles(flat.size, block):
        t = scratch[: part.stop - part.start].reshape(rows.stop - rows.start, -1)
        values = flat[part].reshape(t.shape)
        peaks = row_peaks(values, t)
        if not np.isfinite(peaks).all():
            raise not_finite(flat)
        scales[rows], inverses = to_scales(peaks, levels)
        scale_rows(values, inverses, out=t)
        np.rint(t, out=t)
        np.copyto(k[part].reshape(t.shape), t, casting="unsafe")
        scale_rows(t, scales[rows], out=t)
        np.add(t, np.float32(0.0), out=q[part].reshape(t.shape))  # -0 becomes 0, as in the decoder
    return q


def dequantise_blocks(k: Codes, scales: Floats, block: int, levels: int) -> Floats:
    """q (n,) of codes (n,) and scales (B,) from a peer. Raises Reject for what `quantise_blocks` cannot have made."""
    check_scales(scales, scale_max(levels))
    q = np.empty(k.size, np.float32)
    for part, rows in block_tiles(k.size, block):
        if int(k[part].min()) < -levels or int(k[part].max()) > levels:
            raise Reject("codec", f"a code beyond +-{levels}")
        out = q[part].reshape(rows.stop - rows.start, -1)
        np.copyto(out, k[part].reshape(out.shape))
        scale_rows(out, scales[rows], out=out)
    for row in np.flatnonzero(scales == 0.0):  # where only the code 0 has a meaning (and no other gives +0)
        if k[row * block : (row + 1) * block].any():
            raise Reject("codec", "a code that is not 0 under scale 0")
    return q


def project_blocks(v: Tensor, block: int, levels: int) -> Tensor:
    """`quantise_blocks`' q of v (n,), bit for bit, as operations that map over a node axis."""
    n = v.shape[-1]
    rows = to_rows(v, block)
    peak = rows.abs().amax(-1, keepdim=True)
    scale = torch.where(peak >= TINY, (peak / levels).clamp(max=scale_max(levels)), 0.0)
    inverse = torch.where(scale > 0.0, 1.0 / scale, 0.0)
    t = (rows * inverse).round() + 0.0  # three roundings of 2^-24 cannot lift L to L + 0.5: no clamp
    return (t * scale).reshape(-1)[:n]


def check_scales(scales: Floats, largest: float) -> None:
    """Raises Reject unless all scales are from +0 to `largest`."""
    if not ((scales >= 0.0) & (scales <= largest)).all() or np.signbit(scales).any():
        raise Reject("codec", "a scale that is negative, not finite or too large")


def block_tiles(size: int, block: int) -> Iterator[tuple[slice, slice]]:
    """Values and the blocks they make up, tile by tile; a last, shorter block comes alone. `block` divides the tile."""
    whole = size // block * block
    for part in tiles(whole, SCALE_TILE):
        yield part, slice(part.start // block, part.stop // block)
    if whole < size:
        yield slice(whole, size), slice(whole // block, whole // block + 1)


def to_rows(v: Tensor, block: int) -> Tensor:
    """v (n,) as (B, block), zeros behind."""
    return torch.nn.functional.pad(v, (0, -v.shape[-1] % block)).reshape(-1, block)


def row_peaks(rows: Floats, scratch: Floats) -> Floats:
    """The largest magnitude of each row of (B, m), not finite where a value is not. Overwrites `scratch` (B, m)."""
    # Magnitudes order like their bits: one pass instead of a maximum and a minimum.
    magnitudes = np.bitwise_and(rows.view(np.uint32), MAGNITUDE, out=scratch.view(np.uint32))
    peaks: Floats = magnitudes.max(axis=1).view(np.float32)
    return peaks


def scale_rows(rows: Floats, scales: Floats, out: Floats) -> None:
    """out (B, m) = rows (B, m) * scales (B,). By torch: numpy is three times slower where one operand repeats."""
    torch.mul(torch.from_numpy(rows), torch.from_numpy(scales)[:, None], out=torch.from_numpy(out))


def to_scales(peaks: Floats, levels: int) -> tuple[Floats, Floats]:
    """The scale of each block and its inverse, 0 and 0 for a silent one. As in `project_blocks`, bit for bit."""
    if peaks.min() >= TINY and peaks.max() <= ORDINARY:  # as nearly always; half the calls
        ordinary: Floats = peaks / np.float32(levels)
        return ordinary, np.float32(1.0) / ordinary
    scales = np.minimum(peaks / np.float32(levels), np.float32(scale_max(levels)))
    scales *= peaks >= TINY
    inverses = np.divide(np.float32(1.0), scales, out=np.zeros_like(scales), where=scales > 0.0)
    return scales, inverses
