"""Schedules: bounded factors, ends where they should be, bad parameters refused."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2pfl.errors import ConfigError
from p2pfl.learn.schedule import Constant, Cosine, Schedule, Steps, WarmUp

ALL: list[Schedule] = [Constant(), Steps(), Cosine(), WarmUp(Steps()), WarmUp(Cosine(0.5), 0.3, 0.2)]


@given(st.sampled_from(ALL), st.floats(-1, 2))
def test_factors_are_above_0_and_at_most_1(schedule: Schedule, fraction: float) -> None:
    assert 0 < schedule(fraction) <= 1
    assert schedule(fraction) == schedule(min(1.0, max(0.0, fraction)))


def test_default_steps_drop_at_60_and_85_percent() -> None:
    factors = [Steps()(f) for f in (0, 0.59, 0.6, 0.84, 0.85, 1.0)]
    assert factors == [1, 1, 0.3, 0.3, 0.1, 0.1]


def test_cosine_goes_from_1_to_its_floor() -> None:
    assert Cosine(0.1)(0) == 1
    assert Cosine(0.1)(0.5) == pytest.approx(0.55)
    assert Cosine(0.1)(1) == pytest.approx(0.1)


def test_warm_up_rises_then_hands_over() -> None:
    warm = WarmUp(Cosine(0.1), until=0.2, start=0.5)
    assert [warm(0), warm(0.1), warm(0.2), warm(1)] == pytest.approx([0.5, 0.75, 1, 0.1])


@pytest.mark.parametrize(
    "make",
    [
        lambda: Steps((0.5,), (0.1, 0.2)),
        lambda: Steps((0.8, 0.5), (0.1, 0.2)),
        lambda: Steps((0.5,), (0.0,)),
        lambda: Cosine(0),
        lambda: WarmUp(Constant(), 0),
        lambda: WarmUp(Constant(), 0.5, 2),
    ],
)
def test_impossible_parameters_are_refused(make: Callable[[], Schedule]) -> None:
    with pytest.raises(ConfigError):
        make()
