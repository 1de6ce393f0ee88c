"""The accountant against published figures, its own definition, and the laws of composition."""

from math import inf

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from p2pfl.privacy.accountant import compose, delta_at, epsilon_at, gaussian_epsilon


@pytest.mark.parametrize(("noise", "epsilon"), [(0.5, 89), (1.0, 32), (2.0, 12.9), (4.0, 5.5), (8.0, 2.5)])
def test_six_releases_of_sensitivity_two_cost_what_dp_accounting_says(noise: float, epsilon: float) -> None:
    assert gaussian_epsilon(2.0, noise, 6, 1e-5) == pytest.approx(epsilon, rel=0.01)


@settings(max_examples=60)
@given(st.floats(0.05, 20), st.floats(1e-9, 0.1))
def test_epsilon_is_the_smallest_for_its_delta(mu: float, delta: float) -> None:
    epsilon = epsilon_at(delta, mu)
    assert delta_at(epsilon, mu) <= delta
    if epsilon > 1e-4:
        assert delta_at(epsilon - 1e-4, mu) > delta


@settings(max_examples=60)
@given(st.floats(0.1, 4), st.floats(0.5, 50), st.integers(1, 400))
def test_releases_add_up_in_squares(sensitivity: float, noise: float, releases: int) -> None:
    assert compose(sensitivity, noise, 4 * releases) == pytest.approx(2 * compose(sensitivity, noise, releases))


def test_without_noise_nothing_is_promised_and_without_a_release_nothing_is_spent() -> None:
    assert gaussian_epsilon(2.0, 0.0, 1, 1e-5) == inf
    assert gaussian_epsilon(2.0, 0.0, 0, 1e-5) == 0.0
    assert epsilon_at(1e-5, 2000.0) == inf or epsilon_at(1e-5, 2000.0) > 1e5


@pytest.mark.parametrize("delta", [0.0, 1.0, -0.1])
def test_a_delta_that_is_none_is_refused(delta: float) -> None:
    with pytest.raises(ValueError, match="delta"):
        epsilon_at(delta, 1.0)
