"""When a machine is not to train, by the clock on its wall. Knows days and times; knows no round.

    "22:00-06:00"            every day
    "mon-fri 08:00-18:00"    from Monday to Friday
    "sat,sun 00:00-24:00"    whole days

A span over midnight belongs to the day on which it begins.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, tzinfo

from p2pfl.errors import ConfigError

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
SPAN = re.compile(r"(?:(?P<days>[a-z,-]+) )?(?P<from>\d\d:\d\d)-(?P<to>\d\d:\d\d)")


@dataclass(frozen=True, slots=True)
class Span:
    """The week days on which it begins, from Monday (0) on, and the minutes of the day: `to` may be tomorrow's."""

    days: frozenset[int]
    begin: int
    to: int


@dataclass(frozen=True, slots=True)
class Timetable:
    """wall_ms_at_zero: milliseconds since 1970 at the moment that `now` counts from."""

    spans: tuple[Span, ...]
    zone: tzinfo = field(default=UTC)
    wall_ms_at_zero: int = 0

    def until(self, now: float) -> float | None:
        """When the pause ends that `now` lies in, however many spans it is made of; None if it lies in none."""
        end: float | None = None
        for _ in range(2 * len(self.spans) * len(DAYS)):  # spans may join, week by week without an end
            later = self._end_of(now if end is None else end)
            if later is None:
                break
            end = later
        return end

    def _end_of(self, now: float) -> float | None:
        here = datetime.fromtimestamp(self.wall_ms_at_zero / 1e3 + now, self.zone)
        midnight = here.replace(hour=0, minute=0, second=0, microsecond=0, fold=0)
        minute = (here.replace(tzinfo=None) - midnight.replace(tzinfo=None)) / timedelta(minutes=1)
        for span in self.spans:
            for day in (0, 1):  # begun today, or yesterday
                if (here.weekday() - day) % 7 in span.days and span.begin <= minute + 1440 * day < span.to:
                    return now + 60.0 * (span.to - 1440 * day - minute)
        return None


def parse_spans(texts: Sequence[str]) -> tuple[Span, ...]:
    """Raises ConfigError."""
    return tuple(_parse(text) for text in texts)


def _parse(text: str) -> Span:
    found = SPAN.fullmatch(text)
    try:
        if found is None:
            raise ValueError
        begin, to = _minutes(found["from"]), _minutes(found["to"])
        days = _days(found["days"]) if found["days"] else frozenset(range(7))
        if begin >= 1440 or begin == to:
            raise ValueError
    except ValueError:
        raise ConfigError(f'train.pauses: expected spans like "mon-fri 08:00-18:00", got {text[:60]!r}') from None
    return Span(days, begin, to if to > begin else to + 1440)


def _minutes(text: str) -> int:
    hours, minutes = map(int, text.split(":"))
    if minutes >= 60 or hours * 60 + minutes > 1440:
        raise ValueError
    return hours * 60 + minutes


def _days(text: str) -> frozenset[int]:
    found: set[int] = set()
    for part in text.split(","):
        first, _, last = part.partition("-")
        a, b = DAYS.index(first), DAYS.index(last or first)
        found.update((a + n) % 7 for n in range((b - a) % 7 + 1))
    return frozenset(found)
