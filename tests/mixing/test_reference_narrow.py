"""References advance in 32 bits where that cannot be told from 64."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from p2pfl.core.vectors import ParamSchema, ParamSpec
from p2pfl.mixing.reference import Reference, advance, difference, to_vector

TOP = (1 << 31) - 1
ONE = ParamSchema((ParamSpec("w", (3,), "weights"),))
TWO = ParamSchema((ParamSpec("w", (2,), "weights"), ParamSpec("b", (1,), "buffers")))
EDGES = [0, 1, -1, 3, 1 << 20, 1 << 29, -(1 << 29), (1 << 30) - 128, 1 << 30, -(1 << 30), (1 << 30) + 128, 1 << 31]
UNITS = st.one_of(st.sampled_from(EDGES), st.integers(-(1 << 31), 1 << 31))
VALUES = st.one_of(st.sampled_from([TOP, -TOP, 1 << 30, -(1 << 30), 0]), st.integers(-TOP, TOP))
TRIPLE = st.lists(VALUES, min_size=3, max_size=3)
HALVES = st.lists(st.integers(-(1 << 24), 1 << 24), min_size=3, max_size=3)


def saturated(value: int) -> int:
    return max(min(value, TOP), -TOP)


def rounded(v: torch.Tensor, exponents: list[int]) -> list[int]:
    """To units, half to even, in Python's own arithmetic."""
    return [saturated(round(x * 2.0**-e)) for x, e in zip(v.double().tolist(), exponents, strict=True)]


@settings(max_examples=200, deadline=None)
@given(
    values=TRIPLE,
    mine=st.lists(UNITS, min_size=3, max_size=3),
    other=HALVES,
    exponents=st.tuples(st.integers(-120, 60), st.integers(-120, 60)),
    schema=st.sampled_from([ONE, TWO]),
)
def test_it_is_the_sum_in_whole_numbers(
    values: list[int], mine: list[int], other: list[int], exponents: tuple[int, int], schema: ParamSchema
) -> None:
    units = exponents[: len(schema.groups)]
    of_each = [units[0], units[0], units[-1]]
    a = torch.tensor([float(u) * 2.0**e for u, e in zip(mine, of_each, strict=True)], dtype=torch.float64).float()
    b = torch.tensor([u / 2 * 2.0**e for u, e in zip(other, of_each, strict=True)], dtype=torch.float64).float()
    after = advance(Reference(torch.tensor(values, dtype=torch.int32), units), a, b, schema).values
    sums = zip(values, rounded(a, of_each), rounded(b, of_each), strict=True)
    assert after.dtype == torch.int32
    assert after.tolist() == [saturated(r + ((i + j) >> 1)) for r, i, j in sums]


@settings(max_examples=100, deadline=None)
@given(values=TRIPLE, exponent=st.integers(-120, 90), x=st.lists(st.floats(width=32), min_size=3, max_size=3))
def test_a_difference_is_rounded_once(values: list[int], exponent: int, x: list[float]) -> None:
    given_, reference = torch.tensor(x), Reference(torch.tensor(values, dtype=torch.int32), (exponent,))
    found, plain = difference(given_, reference, ONE), given_ - to_vector(reference, ONE)
    assert torch.equal(found.nan_to_num().view(torch.int32), plain.nan_to_num().view(torch.int32))
