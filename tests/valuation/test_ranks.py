"""Rank correlation and shares."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2pfl.valuation import shares, spearman

numbers = st.lists(st.integers(-50, 50), min_size=2, max_size=8)


@given(numbers)
def test_it_sees_order_and_nothing_else(values: list[int]) -> None:
    stretched = [value**3 + 7 for value in values]
    if len(set(values)) == 1:
        assert spearman(values, stretched) is None
    else:
        assert spearman(values, stretched) == pytest.approx(1.0)
        assert spearman(values, [-value for value in values]) == pytest.approx(-1.0)


def test_by_hand() -> None:
    """Ranks 0, 1.5, 1.5, 3 and 0, 1, 2, 3: 4.5 / sqrt(4.5 * 5)."""
    assert spearman([1, 2, 2, 5], [1, 2, 3, 4]) == pytest.approx(4.5 / (4.5 * 5) ** 0.5)
    with pytest.raises(ValueError, match="one length"):
        spearman([1], [1, 2])


@given(st.lists(st.floats(-1e6, 1e6), max_size=8))
def test_shares_are_of_what_is_above_zero(values: list[float]) -> None:
    found = shares(values)
    assert sum(found) == pytest.approx(1.0 if any(value > 0 for value in values) else 0.0)
    assert all(share == 0 for share, value in zip(found, values, strict=True) if value <= 0)
