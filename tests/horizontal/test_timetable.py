"""Spans of a week by the clock on the wall, also over midnight and where summer time begins."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from p2pfl.errors import ConfigError
from p2pfl.horizontal.model.local import Local
from p2pfl.horizontal.pace.desk import Desk
from p2pfl.horizontal.pace.rest import Rest
from p2pfl.horizontal.pace.timetable import Timetable, parse_spans
from p2pfl.learn.optim import OptState

MONDAY = datetime(2026, 3, 23, tzinfo=UTC)


def table(*spans: str, zone: str = "UTC", zero: datetime = MONDAY) -> Timetable:
    return Timetable(parse_spans(spans), ZoneInfo(zone), int(zero.timestamp() * 1000))


MORNING = table("mon 08:00-09:00")


def hours(day: int, hour: float) -> float:
    return 86400.0 * day + 3600.0 * hour


@pytest.mark.parametrize(
    ("day", "hour", "end"),
    [
        (0, 7.99, None),
        (0, 8.0, hours(0, 18)),
        (4, 17.99, hours(4, 18)),
        (4, 18.0, None),
        (5, 12.0, None),
    ],
)
def test_working_hours(day: int, hour: float, end: float | None) -> None:
    found = table("mon-fri 08:00-18:00").until(hours(day, hour))
    assert found == (None if end is None else pytest.approx(end))


def test_a_span_over_midnight_belongs_to_the_day_on_which_it_begins() -> None:
    spans = table("fri 22:00-06:00")
    assert spans.until(hours(5, 5.5)) == pytest.approx(hours(5, 6))
    assert spans.until(hours(4, 5.5)) is None
    assert table("sun 22:00-06:00").until(hours(7, 1)) == pytest.approx(hours(7, 6))


def test_spans_that_join_are_one_pause() -> None:
    assert table("mon 08:00-12:00", "12:00-13:00").until(hours(0, 9)) == pytest.approx(hours(0, 13))
    assert table("sat,sun 00:00-24:00").until(hours(5, 9)) == pytest.approx(hours(7, 0))


def test_pauses_without_an_end_are_looked_at_again() -> None:
    end = table("00:00-24:00").until(hours(2, 3))
    assert end is not None
    assert end > hours(3, 0)


def test_the_clock_on_the_wall_is_that_of_the_zone() -> None:
    berlin = table("08:00-09:00", zone="Europe/Berlin")
    assert berlin.until(hours(0, 7.5)) == pytest.approx(hours(0, 8))  # UTC + 1
    assert berlin.until(hours(6, 6.5)) == pytest.approx(hours(6, 7))  # summer time began that Sunday


@given(st.integers(0, 14 * 86400).map(lambda second: second + 0.5), st.integers(0, 1439), st.integers(1, 1439))
def test_a_pause_ends_after_it_began_and_where_the_span_says(now: float, begin: int, length: int) -> None:
    to = (begin + length) % 1440
    end = table(f"{begin // 60:02}:{begin % 60:02}-{to // 60:02}:{to % 60:02}").until(now)
    inside = (now / 60 - begin) % 1440 < length
    assert (end is not None) == inside
    if end is not None:
        assert now < end + 1e-3
        assert end / 60 % 1440 == pytest.approx(to, abs=1e-3) or to == 0


@pytest.mark.parametrize(
    "text",
    ["", "8:00-9:00", "mon 08:00", "monday 08:00-09:00", "08:00-08:00", "24:00-08:00", "08:61-09:00", "25:00-26:00"],
)
def test_what_is_no_span_is_one_line(text: str) -> None:
    with pytest.raises(ConfigError, match=r"train.pauses: expected spans like"):
        parse_spans([text])


def test_the_operators_word_and_the_timetable_both_count() -> None:
    rest = Rest(Desk(), Local(x=torch.zeros(1), opt=OptState(), phase_steps=5, rounds=9), MORNING, lambda: False)
    assert rest.until(hours(0, 7)) is None
    rest.order(float("inf"))
    assert rest.until(hours(0, 8)) == float("inf")
    rest.order(hours(0, 8.5))
    assert rest.until(hours(0, 8.2)) == pytest.approx(hours(0, 9))
    rest.order(float("-inf"))
    assert rest.until(hours(0, 8.2)) == pytest.approx(hours(0, 9))
    assert rest.until(hours(0, 9)) is None
