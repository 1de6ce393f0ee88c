"""Vectors as the codecs want them: checked, contiguous, in tiles; their mean square. Knows no code.

Whole-vector numpy or torch passes run at the speed of main memory, several times over; tiles of 64k values stay in the
cache between passes.

Legend: n values in a vector, L lanes.
"""

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from p2pfl.core.limits import PARAMS_MAX

Floats = NDArray[np.float32]

TILE = 1 << 16
LANES = 1 << 15

FLOAT16_MAX = 65504.0


def tiles(size: int, tile: int = TILE) -> Iterator[slice]:
    """Consecutive slices of at most `tile` positions that cover 0 to `size`."""
    for start in range(0, size, tile):
        yield slice(start, min(start + tile, size))


def check_size(size: int) -> None:
    if not 0 < size <= PARAMS_MAX:
        raise ValueError(f"expected 1 to {PARAMS_MAX} values in a vector, got {size}")


def check_damp(damp: float) -> None:
    if not 0.0 < damp <= 1.0:
        raise ValueError(f"expected damp above 0 and at most 1, got {damp}")


def to_array(v: Tensor) -> Floats:
    """v (n,) as a contiguous float32 array, without a copy if it is one already (never write to it)."""
    if v.dim() != 1:
        raise ValueError(f"expected a vector, got a tensor of shape {tuple(v.shape)}")
    check_size(v.numel())
    flat: Floats = v.detach().to("cpu", torch.float32).contiguous().numpy()
    return flat


def not_finite(v: Floats) -> ValueError:
    """The error for a vector that must not leave the node; names the first bad position."""
    for part in tiles(v.size):
        bad = np.flatnonzero(~np.isfinite(v[part]))
        if bad.size:
            where = part.start + int(bad[0])
            return ValueError(f"expected finite values only, got {v[where]} at position {where} of {v.size}")
    raise AssertionError("all values are finite")


def check_finite(v: Floats) -> None:
    """Raises ValueError if a value is NaN or infinite."""
    if not all(np.isfinite(v[part]).all() for part in tiles(v.size)):
        raise not_finite(v)


def rms_and_peak(v: Tensor) -> tuple[Tensor, Tensor]:
    """The root mean square and the largest magnitude of v (..., n), as float64 (...); not finite if v is not.

    Elementwise operations only, in a fixed order: L lanes add up squares in float64, then fold in halves. So the result
    does not depend on threads, vector units or a leading axis, as the order inside `torch.sum` may. (What is behind the
    last value counts as 0 and is not touched.)
    """
    n = v.shape[-1]
    lanes = min(LANES, 1 << (n - 1).bit_length())
    squares = _squares(v[..., :lanes])
    for part in list(tiles(n, lanes))[1:]:
        squares[..., : part.stop - part.start] += _squares(v[..., part])
    while lanes > 1:
        lanes //= 2
        if squares.shape[-1] > lanes:
            above = squares[..., lanes:]
            squares = squares[..., :lanes]
            squares[..., : above.shape[-1]] += above
    return torch.sqrt(squares[..., 0] / n), v.abs().amax(-1).double()


def _squares(v: Tensor) -> Tensor:
    wide = v.double()
    wide *= wide
    return wide


def floor_log2(x: Tensor) -> Tensor:
    """floor(log2(x)) of float64 x > 0, exact, as int64 (from the exponent bits); -1023 for 0."""
    return (x.view(torch.int64) >> 52) - 1023


def ceil_log2(x: Tensor) -> Tensor:
    """ceil(log2(x)) of float64 x > 0, exact, as int64; -1023 for 0."""
    bits = x.view(torch.int64)
    return (bits >> 52) - 1023 + ((bits & ((1 << 52) - 1)) != 0).long()


def exp2_int(e: Tensor) -> Tensor:
    """2^e as float32, exact, for integers -126 <= e <= 127. (`torch.exp2` may be off by a last bit.)"""
    return ((e + 127) << 23).to(torch.int32).view(torch.float32)
