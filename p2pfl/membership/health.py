"""How well this node itself is, as far as its probes tell (Lifeguard's local health multiplier). Pure.

A node that is slow, or cut off, sees everybody else fail. So what it counts against itself makes its deadlines longer
before it accuses others: a probe without an answer, a helper that said nothing at all, having to speak up for itself.
"""

from dataclasses import dataclass

from p2pfl.membership.bounds import HEALTH_MAX


@dataclass(slots=True)
class Health:
    """0 is well, HEALTH_MAX is as bad as it gets."""

    score: int = 0

    def better(self) -> None:
        self.score = max(0, self.score - 1)

    def worse(self, by: int = 1) -> None:
        self.score = min(HEALTH_MAX, self.score + by)
