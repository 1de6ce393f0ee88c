"""The accountant: published figures, the library's own, and the laws of composition and of solving."""

import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from p2pfl.errors import ConfigError
from p2pfl.privacy.accountant import gaussian_epsilon
from p2pfl.privacy.accounting import (
    Event,
    check_target,
    epsilon_quick,
    epsilon_tight,
    releases_within,
    require,
    solve_noise,
)

dp_accounting = pytest.importorskip("dp_accounting", reason="needs dp-accounting: pip install 'p2pfl-node[privacy]'")
MNIST = (256 / 60000, 20 * 60000 // 256)
"""Rate and steps of the published table: MNIST, batches of 256, 20 epochs."""


@pytest.mark.parametrize(("noise", "published"), [(1.3, 1.11), (1.0, 1.77), (0.7, 4.55), (0.5, 14.4)])
def test_the_figures_that_efls_publishes(noise: float, published: float) -> None:
    rate, steps = MNIST
    assert epsilon_quick([Event(noise, rate, steps)], 1e-5) == pytest.approx(published, rel=0.02)
    assert epsilon_tight([Event(noise, rate, steps)], 1e-5) < published


@pytest.mark.parametrize(("noise", "rate", "count"), [(1.5, 0.1608, 120), (0.8, 0.01, 500), (4.0, 1.0, 50)])
def test_it_is_dp_accountings_own_figure(noise: float, rate: float, count: int) -> None:
    from dp_accounting import pld, rdp

    one = dp_accounting.GaussianDpEvent(noise)
    event = dp_accounting.SelfComposedDpEvent(dp_accounting.PoissonSampledDpEvent(rate, one), count)
    relation = dp_accounting.NeighboringRelation.ADD_OR_REMOVE_ONE
    ours = [Event(noise, rate, count)]
    quick = rdp.RdpAccountant(neighboring_relation=relation).compose(event).get_epsilon(1e-5)
    tight = pld.PLDAccountant(neighboring_relation=relation).compose(event).get_epsilon(1e-5)
    assert epsilon_quick(ours, 1e-5) == pytest.approx(quick, rel=1e-6)
    assert epsilon_tight(ours, 1e-5) == pytest.approx(tight, rel=1e-6)


@pytest.mark.slow
@settings(max_examples=6)
@given(st.floats(1.2, 6), st.floats(0.005, 0.5), st.integers(1, 400))
def test_the_tight_bound_is_never_above_the_quick_one(noise: float, rate: float, count: int) -> None:
    events = [Event(noise, rate, count)]
    assert epsilon_tight(events, 1e-5) <= epsilon_quick(events, 1e-5)


def test_without_sampling_it_is_the_closed_form() -> None:
    assert epsilon_tight([Event(3.0, 1.0, 20)], 1e-5) == pytest.approx(gaussian_epsilon(1.0, 3.0, 20, 1e-5), rel=2e-3)


@pytest.mark.slow
def test_several_kinds_of_release_cost_more_than_either_and_less_than_their_sum() -> None:
    one, other = Event(1.5, 0.05, 200), Event(2.0, 0.2, 50)
    both = epsilon_tight([one, other], 1e-5)
    apart = [epsilon_tight([event], 1e-5) for event in (one, other)]
    assert max(apart) < both < sum(apart)
    assert epsilon_tight([], 1e-5) == epsilon_quick([Event(1.0, 0.1, 0)], 1e-5) == 0.0


@pytest.mark.parametrize(
    ("rate", "count", "epsilon"),
    [
        (0.1, 300, 4.0),
        pytest.param(0.02, 500, 1.0, marks=pytest.mark.slow),
        pytest.param(1.0, 40, 8.0, marks=pytest.mark.slow),
    ],
)
def test_the_solved_noise_meets_its_target_and_no_more(rate: float, count: int, epsilon: float) -> None:
    noise = solve_noise(rate, count, epsilon, 1e-5)
    assert epsilon_tight([Event(noise, rate, count)], 1e-5) <= epsilon
    assert epsilon_tight([Event(noise * 0.998, rate, count)], 1e-5) > epsilon


@pytest.mark.slow
def test_a_budget_holds_as_many_releases_as_fit() -> None:
    event, spent = Event(2.0, 0.1, 1000), [Event(1.5, 0.1, 40)]
    left = releases_within(spent, event, 4.0, 1e-5)
    assert epsilon_tight([*spent, Event(2.0, 0.1, left)], 1e-5) <= 4.0
    assert epsilon_tight([*spent, Event(2.0, 0.1, int(left * 1.05) + 2)], 1e-5) > 4.0
    assert releases_within([Event(0.5, 0.5, 1000)], event, 4.0, 1e-5) == 0


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Event(0.0, 0.1, 1), "noise above 0, got 0"),
        (lambda: Event(float("inf"), 0.1, 1), "noise"),
        (lambda: Event(1.0, 1.5, 1), "rate"),
        (lambda: Event(1.0, 0.1, -1), "releases"),
        (lambda: check_target(1.0, 0.0), "delta"),
        (lambda: check_target(-1.0, 1e-5), "epsilon"),
        (lambda: check_target(1.0, 1e-2, 100), "less than 1 over the number of examples, 1/100, got 0.01"),
        (lambda: solve_noise(1.0, 10**6, 1e-3, 1e-9), "no noise up to"),
    ],
)
def test_what_promises_nothing_is_refused_in_one_line(make, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        make()
    assert "\n" not in str(caught.value)


def test_without_the_library_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "dp_accounting", None)
    with pytest.raises(ConfigError, match="pip install"):
        require()
