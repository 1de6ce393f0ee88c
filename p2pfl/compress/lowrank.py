"""A vector as a matrix of low rank: two thin factors instead of all values. Knows vectors, and no layer's shape.

Theory of operation. The n values, zeros behind, are the rows of a matrix M (m, c), c = ceil(sqrt n), m = ceil(n / c).
With a start Y (c, r) of signs drawn from the key:

    P = orthonormal(M Y);   Q = M^T P;   q = P Q^T;   further iterations begin with Y = Q

Both factors travel as integers, P in units of 2^-14 and Q in one power of two for all of it. So P Q^T is a sum of
integers below 2^53, the same on every machine in any order of adding: a matrix product in floating point is not. For
the same reason M is rounded to 23 bits below its peak first, so that M Y and M^T P are exact, whatever the library does
and however many nodes are stacked. Between them stands Gram-Schmidt, elementwise in float64 with sums in a fixed order.

Law: ||v - q||^2 <= ||v||^2 - 0.95 ||q||^2 + n (2^-22 max|v|)^2, since q is, but for roundings, the part of v that lies
in the r columns of P. A vector that is no larger than its factors gains nothing.

Source: Vogels, Karimireddy, Jaggi 2019 (PowerSGD), algorithm 1. Differs from the paper in: one matrix over all values,
not one a layer, because a codec sees no shapes; a fresh start each time instead of the last Q, because a codec has no
state, so one iteration finds less than theirs does after some rounds (`iterations` = 2 or 3 makes up for it); factors
in 15 bits.

Legend: n values, m rows, c columns, r rank. Integers are held in float64 tensors.
"""

from dataclasses import dataclass
from functools import reduce
from math import isqrt

import numpy as np
import torch
from blake3 import blake3
from torch import Tensor

from p2pfl.compress.codec import Bounds, Packed, check_length, int_field
from p2pfl.compress.vectors import check_size, floor_log2, not_finite, tiles, to_array
from p2pfl.core.noise import Key, derive
from p2pfl.errors import ConfigError, Reject

RANK_MAX = 64
ITERATIONS_MAX = 8

VALUE_BITS, FACTOR_BITS = 23, 14
"""|M| <= 2^23 and |P|, |Q| <= 2^14, m and c <= 2^14 (n <= 2^28): no sum of products is beyond 2^51."""

FACTOR_MAX = 1 << FACTOR_BITS
PEAK_EXPONENT_MIN = -150
EXPONENT_MIN = PEAK_EXPONENT_MIN - VALUE_BITS - 2 * FACTOR_BITS
EXPONENT_MAX = 128
LOST = 1e-6
"""A column of which less remains once the others are taken off is noise, and left out."""

FLOAT_MAX = float(np.finfo(np.float32).max)
TILE_VALUES = 1 << 20


@dataclass(frozen=True, slots=True)
class LowRank:
    """`rank` columns a factor: about 4 rank sqrt(n) bytes."""

    rank: int = 4
    iterations: int = 1

    def __post_init__(self) -> None:
        for name, value, most in (("rank", self.rank, RANK_MAX), ("iterations", self.iterations, ITERATIONS_MAX)):
            if not (isinstance(value, int) and 1 <= value <= most):
                raise ConfigError(f"lowrank: expected {name} from 1 to {most}, got {value}")

    def shape(self, size: int) -> tuple[int, int, int]:
        """m, c, r for `size` values."""
        columns = isqrt(size - 1) + 1
        rows = -(-size // columns)
        return rows, columns, min(self.rank, rows, columns)

    def bounds(self, size: int) -> Bounds:
        """One field: the exponent of the product's unit."""
        rows, columns, rank = self.shape(size)
        return Bounds(1, 2 * rank * (rows + columns))

    def encode(self, v: Tensor, key: Key, damp: float = 1.0) -> tuple[Packed, Tensor]:
        """See `Codec.encode`. Ignores `damp`."""
        flat = to_array(v)
        values = torch.from_numpy(flat)
        if not values.abs().amax().isfinite():
            raise not_finite(flat)
        p, q, exponent = self._factor(values, key)
        body = b"".join(factor.numpy().astype("<i2").tobytes() for factor in (p, q))
        return Packed((int(exponent),), body), compose(p, q, exponent, flat.size)

    def decode(self, packed: Packed, size: int) -> Tensor:
        """See `Codec.decode`."""
        check_size(size)
        check_length(packed, self.bounds(size))
        exponent = int_field(packed, 0, EXPONENT_MIN, EXPONENT_MAX)
        codes = np.frombuffer(packed.body, "<i2").astype(np.float64)
        if not (np.abs(codes) <= FACTOR_MAX).all():
            raise Reject("codec", f"a factor beyond +-{FACTOR_MAX}")
        rows, _, rank = self.shape(size)
        p, q = torch.from_numpy(codes[: rows * rank]), torch.from_numpy(codes[rows * rank :])
        return compose(p.reshape(-1, rank), q.reshape(-1, rank), torch.tensor(exponent), size)

    def project(self, v: Tensor, key: Key, damp: float = 1.0) -> Tensor:
        """See `Codec.project`. Mapped over nodes with one key, all of them have the same start."""
        return compose(*self._factor(v, key), v.shape[-1])

    def _factor(self, v: Tensor, key: Key) -> tuple[Tensor, Tensor, Tensor]:
        """P (m, r), Q (c, r) and the exponent () of v (n,)."""
        rows, columns, rank = self.shape(v.shape[-1])
        top = (floor_log2(v.abs().amax(-1).double()) + 1).clamp(min=PEAK_EXPONENT_MIN)  # peak < 2^top
        unit = exp2_double(VALUE_BITS - top)
        parts = list(tiles(rows, max(1, TILE_VALUES // columns)))
        y = signs(derive(key, "lowrank"), columns, rank).to(v.device)
        for _ in range(self.iterations):
            p = torch.cat([_rows(v, part, columns, unit) @ y for part in parts])
            p = (orthonormal(p) * FACTOR_MAX).round()
            product = reduce(torch.add, (_rows(v, part, columns, unit).T @ p[part] for part in parts))
            shift = (floor_log2(product.abs().amax((-2, -1))) + 1 - FACTOR_BITS).clamp(min=0)
            y = (product * exp2_double(-shift)).round()
        return p, y, shift + top - VALUE_BITS - 2 * FACTOR_BITS


def compose(p: Tensor, q: Tensor, exponent: Tensor, size: int) -> Tensor:
    """The first `size` values of P Q^T in units of 2^exponent, as float32; beyond its range, the largest."""
    unit = exp2_double(exponent)
    tiled = tiles(p.shape[-2], max(1, TILE_VALUES // q.shape[-2]))
    pieces = [((p[part] @ q.T) * unit).clamp(-FLOAT_MAX, FLOAT_MAX).float() + 0.0 for part in tiled]
    return torch.cat(pieces).reshape(-1)[:size]


def signs(key: Key, columns: int, rank: int) -> Tensor:
    """+-1 (c, r), drawn from `key`."""
    count = columns * rank
    bits = np.unpackbits(np.frombuffer(blake3(key).digest(length=-(-count // 8)), np.uint8), count=count)
    return torch.from_numpy(1.0 - 2.0 * bits.reshape(columns, rank))


def orthonormal(a: Tensor) -> Tensor:
    """Orthonormal columns with the span of a (m, r), zeros where a column adds nothing to those before it.

    Gram-Schmidt, twice (which is enough: Giraud et al. 2005); elementwise, with sums in a fixed order.
    """
    found: list[Tensor] = []
    for j in range(a.shape[-1]):
        column = a[:, j]
        before = _norm(column)
        for _ in range(2 if found else 0):
            others = torch.stack(found)  # (j, m)
            column = column - folded(others * folded((others * column).T)[:, None])
        length = _norm(column)
        found.append(torch.where(length > LOST * before, column / length, 0.0))
    return torch.stack(found, dim=-1)


def folded(a: Tensor) -> Tensor:
    """The sum of a (k, ...) over its first axis: in halves, so that the order depends on k alone."""
    while (count := a.shape[0]) > 1:
        half = count // 2
        odd = a[2 * half :]
        a = torch.cat([a[:half] + a[half : 2 * half], odd]) if count % 2 else a[:half] + a[half:]
    return a[0]


def exp2_double(e: Tensor) -> Tensor:
    """2^e as float64, exact, for integers -1022 <= e <= 1023."""
    return ((e + 1023) << 52).view(torch.float64)


def _norm(column: Tensor) -> Tensor:
    return torch.sqrt(folded(column * column))


def _rows(v: Tensor, part: slice, columns: int, unit: Tensor) -> Tensor:
    """Rows `part` of M, as integers."""
    piece = v[part.start * columns : part.stop * columns]
    missing = (part.stop - part.start) * columns - piece.shape[-1]
    return (torch.nn.functional.pad(piece.double(), (0, missing)) * unit).round().reshape(-1, columns)
