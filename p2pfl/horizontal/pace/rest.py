"""When this node is not to train, and what it does then: its operator's word, and a timetable. Knows no exchange.

A node at rest stays in the network. At the async pace it waits, answers, and mixes what that brings. In rounds of one's
own it goes through a round without training where a neighbour has been before it (`is_led`): it keeps up with those who
work, and where all rest no round passes. Its own data pull no more, but under the pairwise rule their last pull stays
in its drift correction, so the others go on towards what suits all.
"""

from collections.abc import Callable
from math import inf
from typing import Literal

from p2pfl.horizontal.model.local import Local
from p2pfl.horizontal.pace.desk import Desk
from p2pfl.horizontal.pace.timetable import Timetable

Next = Literal["train", "wait", "pass"]
"""pass: a round without training."""


class Rest:
    """is_led: whether a neighbour has spoken of the round that would open next; never at the async pace."""

    def __init__(self, desk: Desk, local: Local, timetable: Timetable | None, is_led: Callable[[], bool]) -> None:
        self.desk, self.local, self.timetable, self.is_led = desk, local, timetable, is_led
        self._ordered = -inf
        self._told = False

    def order(self, until: float) -> None:
        """Of the operator: inf until further notice, a moment past to go on. A timetable stays in force."""
        self._ordered = until

    def until(self, now: float) -> float | None:
        """When it may train again, or look again whether it may; None: now."""
        listed = None if self.timetable is None else self.timetable.until(now)
        if self._ordered > now:
            return self._ordered if listed is None else max(self._ordered, listed)
        return listed

    def next(self) -> Next:
        """What a node does that would begin a phase now. If it is to wait, the timer ("rest",) ends that."""
        until = self.until(self.desk.now)
        self._tell(until)
        if until is None:
            return "train"
        self.local.phase_from = self.desk.now
        if self.is_led():
            return "pass"
        if until < inf:
            self.desk.timer(("rest",), until - self.desk.now)
        return "wait"

    @property
    def over(self) -> bool:
        """Whether there is something to do for one that waits."""
        return self.local.finished or self.until(self.desk.now) is None or self.is_led()

    def _tell(self, until: float | None) -> None:
        if (until is not None) == self._told:
            return
        self._told = until is not None
        if until is None:
            self.desk.emit("awake", round=self.local.round)
        else:
            for_s = None if until == inf else round(until - self.desk.now, 3)
            self.desk.emit("resting", round=self.local.round, for_s=for_s)
