"""How large this machine's batches are, so that it takes about as many steps as others do. Knows durations.

A machine that does fewer steps, or more, than others learns at another rate from its data; one whose batches follow
its speed takes the same steps on fewer examples each, and what that adds in noise is averaged away by the exchanges
(dynamic batching; Tyagi, Sharma 2020). Differs from the paper in: nobody collects the speeds, since each machine goes
by a time that is given (`stride`) or by how far all are on average (`tempo`); and batches are the usual one times
powers of two, so that the noise of a clock moves nothing.

A step takes fixed + each * batch seconds. Where the fixed part is large, smaller batches are no faster: none is taken
of which the fixed part would be more than half of the step.
"""

from collections import deque
from dataclasses import dataclass, field
from math import ceil, inf, log2
from statistics import median

KEPT = 5
"""Phases whose median is the time of a step."""
REMEMBERED = 64
"""Phases after which what was measured with another batch counts no more: the machine may have other work now."""
SMALLEST = 4
"""No smaller batch is chosen, unless the usual one is."""
HALVINGS = 3
"""Of the usual batch, at most, unless the configuration says which is the smallest."""
INERTIA = 0.6
"""Doublings that a batch must be off before it is changed; above 1/2, so that no noise makes it go to and fro."""
CHANGE = 2
"""Doublings of one change, at most."""


@dataclass(eq=False)
class Seen:
    """Seconds of a step with one batch, and the phase in which that was last measured."""

    step_s: deque[float] = field(default_factory=lambda: deque(maxlen=KEPT))
    phase: int = 0


class Sizes:
    """usual: batch; low and high: the smallest and the largest that may be chosen."""

    def __init__(self, usual: int, low: int, high: int) -> None:
        self.usual = usual
        self._low = -int(log2(usual / min(low, usual)))
        self._high = int(log2(max(high, usual) / usual))
        self._at = 0
        self._seen: dict[int, Seen] = {}
        self._phase = 0

    @property
    def batch(self) -> int:
        """Of the next phase."""
        return self._of(self._at)

    def took(self, step_s: float) -> None:
        """A phase with `batch` is over, of which a step took so long."""
        self._phase += 1
        seen = self._seen.setdefault(self._at, Seen())
        seen.step_s.append(step_s)
        seen.phase = self._phase
        for at in [at for at, seen in self._seen.items() if self._phase - seen.phase > REMEMBERED]:
            del self._seen[at]

    @property
    def step_s(self) -> float:
        """A step with `batch`; with one that was not tried, as if it took as long as its examples. A phase is over."""
        if self._at in self._seen:
            return median(self._seen[self._at].step_s)
        near = min(self._seen, key=lambda at: abs(at - self._at))
        return median(self._seen[near].step_s) * 2.0 ** (self._at - near)

    def fit(self, times: float, inertia: float = INERTIA) -> None:
        """Choose the batch of the next phase, of which a step should take so many times what it takes now."""
        off = log2(times)
        change = 0 if abs(off) < inertia else max(-CHANGE, min(round(off), CHANGE))
        self._at = max(self._least(), min(self._at + change, self._high))

    def _of(self, at: int) -> int:
        return max(round(self.usual * 2.0**at), 1)

    def _least(self) -> int:
        """The smallest batch that is worth its step's fixed part."""
        small, large = min(self._seen, default=0), max(self._seen, default=0)
        if small == large:
            return self._low
        short, long = (median(self._seen[at].step_s) for at in (small, large))
        each = (long - short) / (self._of(large) - self._of(small))
        fixed = short - each * self._of(small)
        least = log2(fixed / each / self.usual) if each > 0 and fixed > 0 else (-inf if fixed <= 0 else inf)
        return 0 if least >= 0 else self._low if least <= self._low else ceil(least)


def sizes_of(usual: int, low: int | None, high: int, examples: int) -> Sizes:
    """By the configuration: from `low`, if that is given, to `high`, and of no more examples than there are."""
    usual = min(usual, examples)
    least = max(usual // 2**HALVINGS, min(SMALLEST, usual)) if low is None else min(low, usual)
    return Sizes(usual, least, min(high, examples))
