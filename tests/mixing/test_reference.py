"""The integers that both ends of an edge hold: the same in any order, never wrapped, and where they converge."""

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from p2pfl.compress import DeadZone, Dense, Half, Int8, TopK
from p2pfl.core.vectors import ParamSchema, ParamSpec
from p2pfl.mixing.reference import (
    EXPONENT_MAX,
    EXPONENT_MIN,
    Reference,
    advance,
    difference,
    exponents_for,
    from_vector,
    outgrown,
    to_units,
    to_vector,
)

SIZE = 64
SCHEMA = ParamSchema((ParamSpec("w", (48,), "weights"), ParamSpec("b", (16,), "buffers")))
ONE = ParamSchema((ParamSpec("w", (1,), "weights"),))
TOP = (1 << 31) - 1


@st.composite
def vectors(draw: st.DrawFn, low: int = -20, high: int = 20) -> Tensor:
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**32)))
    return torch.randn(SIZE, generator=generator) * 2.0 ** draw(st.integers(low, high))


exponents = st.tuples(st.integers(-40, 0), st.integers(-40, 0))


@given(vectors(), vectors(), vectors(), exponents)
def test_both_ends_advance_to_the_same_bits(x: Tensor, mine: Tensor, other: Tensor, units: tuple[int, int]) -> None:
    start = from_vector(x, units, SCHEMA)
    here, there = advance(start, mine, other, SCHEMA), advance(start, other, mine, SCHEMA)
    assert torch.equal(here.values, there.values)
    assert here.digest() == there.digest()
    assert here.values.dtype == torch.int32
    assert torch.equal(start.values, from_vector(x, units, SCHEMA).values), "an argument was changed"


@given(vectors(), vectors(), vectors(), exponents)
def test_advance_is_the_exact_sum_held_within_32_bits(x: Tensor, a: Tensor, b: Tensor, units: tuple[int, int]) -> None:
    """Against Python's integers, which have no width."""
    start = from_vector(x, units, SCHEMA)
    after = advance(start, a, b, SCHEMA).values.tolist()
    p, q = (to_units(v, units, SCHEMA).tolist() for v in (a, b))
    exact = [min(max(r + ((i + j) >> 1), -TOP), TOP) for r, i, j in zip(start.values.tolist(), p, q, strict=True)]
    assert after == exact


@pytest.mark.parametrize("sign", [1, -1])
def test_the_range_is_held_and_nothing_wraps(sign: int) -> None:
    """127 << 25 leaves 32 bits: a sum of two such, before it is halved, must not."""
    start = from_vector(torch.tensor([sign * 127.0]), (-24,), ONE)
    assert start.values.item() == sign * (127 << 24)
    far = torch.tensor([sign * 127.0 * 2])
    assert to_units(far, (-24,), ONE).item() == sign * min(127 << 25, TOP)
    after = advance(start, far, far, ONE)
    assert after.values.item() == sign * TOP
    assert advance(after, far, far, ONE).values.item() == sign * TOP
    back = advance(after, -far, -far, ONE)
    assert abs(back.values.item()) <= 1


def test_units_are_rounded_and_saturated() -> None:
    v = torch.tensor([0.0, 1.0, -1.0, 0.49, 0.51, 1e30, -1e30, 2.0**31])
    schema = ParamSchema((ParamSpec("w", (8,), "weights"),))
    assert to_units(v, (0,), schema).tolist() == [0, 1, -1, 0, 1, TOP, -TOP, TOP]


@given(vectors(-60, 60))
def test_a_reference_is_near_its_vector(x: Tensor) -> None:
    """Half a unit, and a unit is 2^-27 of the largest value at least."""
    units = exponents_for(x, SCHEMA)
    reference = from_vector(x, units, SCHEMA)
    gap = (to_vector(reference, SCHEMA) - x).abs()
    for group, unit in zip(SCHEMA.groups, units, strict=True):
        largest = float(x[group.start : group.stop].abs().max())
        assert 2.0**unit <= largest * 2.0**-26
        assert float(gap[group.start : group.stop].max()) <= 2.0**unit / 2 + largest * 2.0**-24
    assert not outgrown(x, reference, SCHEMA)


def test_exponents_leave_eightfold_headroom() -> None:
    assert exponents_for(torch.tensor([1.0]), ONE) == (-27,)
    assert exponents_for(torch.tensor([1.1]), ONE) == (-26,)
    assert exponents_for(torch.tensor([0.0]), ONE) == (-27,)
    assert exponents_for(torch.tensor([1e-38]), ONE) == (EXPONENT_MIN,)
    assert exponents_for(torch.tensor([3e38]), ONE)[0] <= EXPONENT_MAX


@pytest.mark.parametrize(("value", "is_over"), [(1.0, False), (8.0, False), (8.01, True), (-9.0, True)])
def test_past_half_the_range_an_edge_asks_for_a_new_epoch(value: float, is_over: bool) -> None:
    reference = from_vector(torch.tensor([1.0]), (-27,), ONE)
    assert outgrown(torch.tensor([value]), reference, ONE) is is_over


@given(vectors(), st.integers(0, SIZE - 1), st.integers(1, 1000))
def test_any_changed_value_changes_the_digest(x: Tensor, at: int, by: int) -> None:
    reference = from_vector(x, (-24, -24), SCHEMA)
    values = reference.values.clone()
    values[at] += by if values[at] < 0 else -by
    assert Reference(values, reference.exponents).digest() != reference.digest()
    assert Reference(reference.values, (-24, -23)).digest() != reference.digest()
    assert Reference(reference.values.clone(), (-24, -24)).digest() == reference.digest()


@pytest.mark.parametrize(
    ("codec", "rounds"),
    [(DeadZone(), 60), (DeadZone(c=3.0), 120), (Int8(16), 8), (TopK(share=0.1), 160), (Dense(), 2), (Half(), 8)],
    ids=lambda value: type(value).__name__ if not isinstance(value, int) else "",
)
@pytest.mark.parametrize("scale", [1.0, 1000.0])
def test_what_remains_to_be_said_vanishes(codec: Any, rounds: int, scale: float) -> None:
    """Both ends hold the same fixed x: the reference goes there, whatever the codec leaves out at each turn."""
    x = torch.randn(SIZE, generator=torch.Generator().manual_seed(1)) * scale
    reference = from_vector(torch.zeros(SIZE), exponents_for(x, SCHEMA), SCHEMA)
    for _ in range(rounds):
        _, q = codec.encode(difference(x, reference, SCHEMA), bytes(32))
        reference = advance(reference, q, q, SCHEMA)
    assert float(difference(x, reference, SCHEMA).abs().max()) <= 2e-6 * scale
