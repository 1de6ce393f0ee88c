"""Powers of many bases equal the product of single powers, whichever way was cheaper."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from p2pfl.crypto import powers
from p2pfl.crypto.powers import FixedBase, products_of_powers

MODULUS = (2**127 - 1) * (2**89 - 1)


def plain(bases: list[int], column: list[int]) -> int:
    result = 1
    for base, exponent in zip(bases, column, strict=True):
        result = result * pow(base, exponent, MODULUS) % MODULUS
    return result


@settings(max_examples=60, deadline=None)
@given(
    d=st.integers(0, 40),
    outputs=st.integers(0, 5),
    bits=st.integers(0, 62),
    negative=st.booleans(),
    seed=st.integers(0, 2**32),
)
def test_products_are_those_of_single_powers(d: int, outputs: int, bits: int, negative: bool, seed: int) -> None:
    rng = np.random.default_rng(seed)
    bases = [int(b) for b in rng.integers(2, 2**60, d)]
    exponents = rng.integers(-(2**bits - 1) if negative else 0, 2**bits - 1, (d, outputs), endpoint=True)
    assert products_of_powers(bases, exponents, MODULUS) == [plain(bases, c) for c in exponents.T.tolist()]


@pytest.mark.parametrize("width", [1, 3, 8])
def test_both_ways_agree(width: int) -> None:
    rng = np.random.default_rng(7)
    bases, column = [int(b) for b in rng.integers(2, 2**60, 50)], rng.integers(0, 2**17, 50)
    units = [powers.big(b) for b in bases]
    tables = [powers._small_powers(u, width, powers.big(MODULUS)) for u in units]
    expected = plain(bases, column.tolist())
    assert powers._straus(tables, column, 17, width, powers.big(MODULUS)) == expected
    assert powers._pippenger(units, column, 17, width, powers.big(MODULUS)) == expected


@given(st.integers(0, 2**64 - 1), st.integers(2, 2**80))
def test_a_fixed_base_gives_its_powers(exponent: int, base: int) -> None:
    assert FixedBase(base, MODULUS, 8).power(exponent.to_bytes(8, "little")) == pow(base, exponent, MODULUS)


def test_exponents_of_another_size_are_refused() -> None:
    with pytest.raises(ValueError, match="below 2\\^62"):
        products_of_powers([3], np.array([[2**62]]), MODULUS)
    with pytest.raises(ValueError, match="each of 2 bases, got 1"):
        products_of_powers([3, 5], np.array([[2]]), MODULUS)
    with pytest.raises(ValueError, match="zip"):
        FixedBase(3, MODULUS, 2).power(b"\1\1\1")
