"""How many local steps fill a time budget at this machine's present speed. Knows durations; knows no model.

Where the learner takes batches of any size, these follow the speed first (`sizes`), so that the number of steps stays
near the usual one; what is left goes to the number of steps. Speed is the median of the last phases, so that one which
the system held up does not shorten the next, and the number of steps moves by no more than a factor of `CHANGE_MAX` a
phase.
"""

from p2pfl.core.limits import PHASE_STEPS_MAX
from p2pfl.horizontal.pace.sizes import Sizes

CHANGE_MAX = 4.0


class Stride:
    """steps: of the next phase; 1 at first, so that a slow machine does not begin with a phase that is many times too
    long. seconds: that a phase is to take. usual: steps that a usual machine does in it. sizes: the batch, of a learner
    that takes any."""

    def __init__(self, seconds: float, usual: int, sizes: Sizes | None = None) -> None:
        self.seconds, self.usual, self.steps = seconds, usual, 1
        self.sizes = sizes
        self._clock = Sizes(1, 1, 1) if sizes is None else sizes

    def took(self, seconds: float, steps: int) -> None:
        """A phase of so many steps is over. One that took no time says nothing."""
        step_s = seconds / steps if steps else 0.0
        if step_s <= 0:
            return
        self._clock.took(step_s)
        if self.sizes is not None:
            self.sizes.fit(self.seconds / self.usual / self.sizes.step_s)
        wanted = self.seconds / self._clock.step_s
        bounded = min(max(wanted, self.steps / CHANGE_MAX), self.steps * CHANGE_MAX)
        self.steps = min(max(round(bounded), 1), PHASE_STEPS_MAX)
