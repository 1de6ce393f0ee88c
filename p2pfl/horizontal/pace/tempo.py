"""Whether a machine at its own pace does as many phases as the others do on average. Knows counts; knows no clock.

The network's mean number of phases per node is among the averages that every exchange keeps (`terms.averages`). A
machine that did fewer since its last look takes smaller batches from then on (`sizes`), and one that did more takes
larger ones if it may.
"""

from p2pfl.horizontal.pace.sizes import Sizes

LOOK = 5.0
"""Own phases between two looks: the mean is told by neighbours, who have it from theirs."""
INERTIA = 1.0
"""Doublings: the mean is known roughly, and if all followed it closely they would drive each other to the fastest's."""


class Tempo:
    def __init__(self, sizes: Sizes) -> None:
        self.sizes = sizes
        self._own, self._mark = 0.0, 0.0

    def mark(self, progress: float) -> None:
        """Count from here: the node has joined or has rested, and what passed meanwhile tells nothing of its speed."""
        self._own, self._mark = 0.0, progress

    def took(self, seconds: float, steps: int, phases: float, progress: float) -> None:
        """A phase, or a part of one, is over; the mean number of phases is `progress` now."""
        if seconds > 0 and steps:
            self.sizes.took(seconds / steps)
        self._own += phases
        passed = progress - self._mark
        if self._own >= LOOK and passed > 0:
            self.sizes.fit(self._own / passed, INERTIA)
            self.mark(progress)
