"""When this node is not to train: its operator's word, and a timetable. Knows moments; knows no round.

A node at rest stays in the network: it answers, and mixes what it hears. Its own data pull no more, but under the
pairwise rule their last pull stays in its drift correction, so the others go on towards what suits all.
"""

from math import inf

from p2pfl.horizontal.pace.timetable import Timetable


class Rest:
    """`told`: whether the present rest has been reported."""

    def __init__(self, timetable: Timetable | None = None) -> None:
        self.timetable = timetable
        self.told = False
        self._ordered = -inf

    def order(self, until: float) -> None:
        """Of the operator: inf until further notice, a moment past to go on. A timetable stays in force."""
        self._ordered = until

    def until(self, now: float) -> float | None:
        """When it may train again, or look again whether it may; None: now."""
        listed = None if self.timetable is None else self.timetable.until(now)
        if self._ordered > now:
            return self._ordered if listed is None else max(self._ordered, listed)
        return listed
