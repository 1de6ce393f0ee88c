"""Discrete Gaussian noise, and its parts that members of a cell share out."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from p2pfl.core.noise import derive, root
from p2pfl.errors import ConfigError
from p2pfl.privacy.discrete import DEVIATION_MIN, discrete_gaussian, tau
from p2pfl.privacy.sharing import SharedNoise
from p2pfl.secagg.cell import threshold_of


@pytest.mark.parametrize("deviation", [0.4, 1.0, 3.7, 40.0])
def test_the_shares_of_each_integer_are_those_of_the_definition(deviation: float) -> None:
    """Pearson's statistic over all integers that are expected ten times; its 99.99 % bound."""
    count = 200_000
    drawn = discrete_gaussian(root(1), count, deviation)
    reach = int(12 * deviation) + 5
    ks = np.arange(-reach, reach + 1)
    chance = np.exp(-(ks**2) / (2 * deviation**2))
    expected = count * chance / chance.sum()
    seen = np.bincount(np.clip(drawn, -reach, reach) + reach, minlength=len(ks))
    often = expected >= 10
    statistic = float((((seen - expected) ** 2) / expected)[often].sum())
    freedom = int(often.sum()) - 1
    assert statistic < freedom + 4 * np.sqrt(2 * freedom) + 10


def test_the_moments_at_the_size_that_cells_use() -> None:
    drawn = discrete_gaussian(root(2), 400_000, 250_000.0).astype(np.float64)
    assert abs(drawn.mean()) < 4 * 250_000 / np.sqrt(len(drawn))
    assert drawn.std() == pytest.approx(250_000, rel=5e-3)
    tail = float((np.abs(drawn) > 2 * 250_000).mean())
    assert tail == pytest.approx(0.0455, rel=0.05)


def test_draws_follow_from_the_key_alone_and_blocks_are_not_alike() -> None:
    one, two = discrete_gaussian(root(3), 600_000, 50.0), discrete_gaussian(root(3), 600_000, 50.0)
    assert np.array_equal(one, two)
    assert not np.array_equal(one[: 1 << 18], one[1 << 18 : 1 << 19])
    assert not np.array_equal(one[:100], discrete_gaussian(derive(root(3), "x"), 100, 50.0))
    with pytest.raises(ValueError, match="above 0"):
        discrete_gaussian(root(3), 1, 0.0)


def test_sums_of_discrete_noise_are_as_good_as_normal_ones_on_our_grids() -> None:
    assert tau(DEVIATION_MIN, 16) == 0.0
    assert tau(0.5, 4) > 1e-2


@settings(max_examples=60)
@given(st.integers(3, 16), st.integers(0, 5), st.floats(0.1, 20.0), st.floats(0.01, 10.0), st.booleans())
def test_whoever_drops_out_the_honest_ones_noise_is_enough(
    members: int, coalition: int, noise: float, clip: float, whole: bool
) -> None:
    """Law: t members or more are in the sum; those of them that do not work together add the whole variance."""
    shared, threshold = SharedNoise(clip, noise, coalition), members if whole else threshold_of(members)
    unit, size = 2.0**-20, 1000
    each = shared.deviation(members, threshold, unit, size) * unit
    wanted = noise * shared.sensitivity(unit, size)
    for survivors in range(threshold, members + 1):
        honest = max(survivors - coalition, 1)
        assert each * np.sqrt(honest) >= wanted * (1 - 1e-9)
    assert shared.alone(members, threshold) * shared.sensitivity(unit, size) <= each * (1 + 1e-9)


def test_a_coarse_grid_is_refused() -> None:
    with pytest.raises(ConfigError, match="steps of the sum's grid") as caught:
        SharedNoise(1e-6, 1.0, 1).deviation(8, 6, 2.0**-19, 10)
    assert "\n" not in str(caught.value)
