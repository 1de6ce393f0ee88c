"""How many local steps fill a time budget at this machine's present speed. Knows durations; knows no model.

Speed is the median of the last `KEPT` phases, so that one which the system held up does not shorten the next, and the
number of steps moves by no more than a factor of `CHANGE_MAX` a phase.
"""

from collections import deque
from statistics import median

from p2pfl.core.limits import PHASE_STEPS_MAX

KEPT = 5
CHANGE_MAX = 4.0


class Stride:
    """steps: of the next phase; 1 at first, so that a slow machine does not begin with a phase that is many times too
    long. seconds: that a phase is to take."""

    def __init__(self, seconds: float) -> None:
        self.seconds, self.steps = seconds, 1
        self._step_s: deque[float] = deque(maxlen=KEPT)

    def took(self, seconds: float, steps: int) -> None:
        """A phase of so many steps is over. One that took no time says nothing."""
        step_s = seconds / steps if steps else 0.0
        if step_s <= 0:
            return
        self._step_s.append(step_s)
        wanted = self.seconds / median(self._step_s)
        bounded = min(max(wanted, self.steps / CHANGE_MAX), self.steps * CHANGE_MAX)
        self.steps = min(max(round(bounded), 1), PHASE_STEPS_MAX)
