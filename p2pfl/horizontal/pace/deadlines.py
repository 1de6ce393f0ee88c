"""How long something usually takes with one neighbour, and when it is late. Pure; knows durations, not what of.

    limit = median + k max(MAD, SPREAD_MIN median)          over the last `WINDOW` durations

The median and the median absolute deviation do not move for a few that got stuck, unlike a mean and a variance. A quiet
line has no deviation worth the name, so at least three quarters of the median stand for it: no limit is below four
usual durations.

Source: the form is that of robust outlier tests (Leys et al. 2013); k = 4 flags about one in a hundred honest ones.
"""

from collections import deque
from collections.abc import Sequence

WINDOW = 32
K = 4.0
SPREAD_MIN = 0.75


class Durations:
    """The newest `WINDOW` of one neighbour."""

    def __init__(self) -> None:
        self._last: deque[float] = deque(maxlen=WINDOW)

    def add(self, seconds: float) -> None:
        self._last.append(max(seconds, 0.0))

    def __bool__(self) -> bool:
        return bool(self._last)

    @property
    def median(self) -> float:
        """At least one must have been added."""
        return middle(self._last)

    @property
    def limit(self) -> float:
        median = self.median
        spread = middle([abs(seconds - median) for seconds in self._last])
        return late_after(median, spread)


def late_after(median: float, spread: float) -> float:
    return median + K * max(spread, SPREAD_MIN * median)


def middle(values: Sequence[float] | deque[float]) -> float:
    """The median; the mean of the two in the middle if there are two."""
    ordered = sorted(values)
    half = len(ordered) // 2
    return ordered[half] if len(ordered) % 2 else (ordered[half - 1] + ordered[half]) / 2
