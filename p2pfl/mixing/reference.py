"""The vector that both ends of an edge hold bit-identically, in integers. Knows arithmetic, not messages.

A reference is int32 values r (P,) and one power-of-two unit per parameter group: value = r * 2^exponent. Floating
point would do only while two machines round every operation alike; integers are equal on every CPU, in any order.
What an end has said (q, decoded float32) is rounded to the unit, and the reference moves to the mean of both:

    r' = saturate32(r + ((q_mine + q_other) >> 1))

The shift floors, with the same result at both ends. Products are widened to 64 bits first: 127 << 25 leaves int32.
The unit leaves eightfold headroom over the largest value when an epoch of the edge begins; `outgrown` asks for a
new epoch when half the range is used up.
"""

from dataclasses import dataclass
from math import ceil, log2

import torch
from blake3 import blake3
from torch import Tensor

from p2pfl.core.vectors import ParamSchema

RANGE_BITS = 30
HEADROOM_BITS = 3
EXPONENT_MIN, EXPONENT_MAX = -120, 90
SQUARE_MIN = 2.0**-60
"""Squares of numbers above half of this are normal float32."""
_INT32_MAX = (1 << 31) - 1


@dataclass(frozen=True, eq=False)
class Reference:
    """r (P,) int32 and one exponent per group of the schema. Never changed in place.

    Several with the same exponents may be one, r (n, P): all but `digest` take a leading axis.
    """

    values: Tensor
    exponents: tuple[int, ...]

    def digest(self) -> bytes:
        """32 bytes; equal if and only if both ends hold the same reference."""
        hasher = blake3(repr(self.exponents).encode())
        hasher.update(self.values.numpy().data.cast("B"))
        return hasher.digest()


def exponents_for(x: Tensor, schema: ParamSchema) -> tuple[int, ...]:
    """One exponent per group: 2^(ceil(log2 max|x|) + 3 - 30), so that max|x| uses an eighth of the range."""
    return tuple(_exponent(float(x[g.start : g.stop].abs().max())) for g in schema.groups)


def _exponent(largest: float) -> int:
    magnitude = ceil(log2(largest)) if largest > 0 else 0
    return min(max(magnitude + HEADROOM_BITS - RANGE_BITS, EXPONENT_MIN), EXPONENT_MAX)


def to_units(v: Tensor, exponents: tuple[int, ...], schema: ParamSchema) -> Tensor:
    """v (..., P) -> int64, each value rounded to its group's unit and saturated to 32 bits. v must be finite."""
    out = torch.empty(v.shape, dtype=torch.int64)
    for group, exponent in zip(schema.groups, exponents, strict=True):
        # Exact in v's own precision: the unit is a power of two. 2^31 - 1 is no float32, hence the second bound.
        part = (v[..., group.start : group.stop] * 2.0**-exponent).round_().clamp_(-(2.0**31), 2.0**31)
        out[..., group.start : group.stop] = part
    return out.clamp_(-_INT32_MAX, _INT32_MAX)


def from_vector(x: Tensor, exponents: tuple[int, ...], schema: ParamSchema) -> Reference:
    """The reference nearest to x (P,)."""
    return Reference(to_units(x, exponents, schema).to(torch.int32), exponents)


def to_vector(reference: Reference, schema: ParamSchema) -> Tensor:
    """The reference as float32 (..., P); exact up to float32's own rounding."""
    out = reference.values.to(torch.float32)
    for group, exponent in zip(schema.groups, reference.exponents, strict=True):
        out[..., group.start : group.stop] *= 2.0**exponent
    return out


def difference(x: Tensor, reference: Reference, schema: ParamSchema) -> Tensor:
    """What remains to be said: x - r as float32 (..., P)."""
    x = x.to(torch.float32)
    if len(schema.groups) == 1:  # the product is exact, so both are rounded once
        return torch.sub(x, reference.values.to(torch.float32), alpha=2.0 ** reference.exponents[0])
    return x - to_vector(reference, schema)


def advance(reference: Reference, q_mine: Tensor, q_other: Tensor, schema: ParamSchema) -> Reference:
    """The reference after one exchange; symmetric in its two vectors (..., P)."""
    if _narrow(reference, q_mine, q_other):
        small = _to_int32(q_mine, reference.exponents, schema)
        small += _to_int32(q_other, reference.exponents, schema)
        small >>= 1
        small += reference.values
        return Reference(small, reference.exponents)
    total = to_units(q_mine, reference.exponents, schema)
    total += to_units(q_other, reference.exponents, schema)
    total >>= 1
    total += reference.values
    return Reference(total.clamp_(-_INT32_MAX, _INT32_MAX).to(torch.int32), reference.exponents)


def outgrown(x: Tensor, reference: Reference, schema: ParamSchema) -> bool:
    """Whether some |x|, x (..., P), is past half the range of its group: time for a new epoch."""
    return any(
        float(x[..., g.start : g.stop].abs().max()) > 2.0 ** (exponent + RANGE_BITS)
        for g, exponent in zip(schema.groups, reference.exponents, strict=True)
    )


def _narrow(reference: Reference, *vectors: Tensor) -> bool:
    """Whether `advance` cannot leave 32 bits on its way: half of each range is free. True nearly always."""
    values, half = reference.values, 1 << RANGE_BITS
    if not values.numel() or int(values.amax()) > half or int(values.amin()) < -half:
        return False
    limit = half * 2.0 ** min(reference.exponents)
    return all(_shorter(v, limit) for v in vectors)


def _shorter(v: Tensor, limit: float) -> bool:
    """Whether no vector of v (..., P) has a value near `limit`, as its whole length is less. Quick; may say no.

    A sum of squares is not less than any of them, however it is rounded; `SQUARE_MIN` keeps squares from vanishing.
    """
    return limit > SQUARE_MIN and bool((torch.linalg.vector_norm(v, dim=-1) < 0.99 * limit).all())


def _to_int32(v: Tensor, exponents: tuple[int, ...], schema: ParamSchema) -> Tensor:
    """`to_units` where nothing is saturated."""
    if len(schema.groups) == 1:
        return (v * 2.0 ** -exponents[0]).round_().to(torch.int32)
    out = torch.empty(v.shape, dtype=torch.int32)
    for group, exponent in zip(schema.groups, exponents, strict=True):
        out[..., group.start : group.stop] = (v[..., group.start : group.stop] * 2.0**-exponent).round_()
    return out
