"""Learning-rate schedules: a factor on the learning rate, from the fraction of the run that is done. Knows no round.

A schedule is a function of the fraction alone, so that nodes of any speed and a node that was restarted agree on it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from math import cos, pi
from typing import Protocol

from p2pfl.errors import ConfigError


class Schedule(Protocol):
    def __call__(self, fraction: float) -> float:
        """fraction in [0, 1] -> factor > 0. Fractions outside are taken as the nearer end."""
        ...


@dataclass(frozen=True, slots=True)
class Constant:
    def __call__(self, fraction: float) -> float:
        return 1.0


@dataclass(frozen=True, slots=True)
class Steps:
    """The factor is `factors[i]` (of the base rate, not of the last one) from fraction `at[i]` on, 1 before."""

    at: tuple[float, ...] = (0.6, 0.85)
    factors: tuple[float, ...] = (0.3, 0.1)

    def __post_init__(self) -> None:
        object.__setattr__(self, "at", tuple(self.at))  # lists in a configuration file
        object.__setattr__(self, "factors", tuple(self.factors))
        if len(self.at) != len(self.factors):
            raise ConfigError(f"steps: expected as many factors as fractions, got {self.factors} at {self.at}")
        if list(self.at) != sorted(self.at) or not all(0 < a < 1 for a in self.at):
            raise ConfigError(f"steps: expected ascending fractions between 0 and 1, got {self.at}")
        if not all(f > 0 for f in self.factors):
            raise ConfigError(f"steps: expected factors above 0, got {self.factors}")

    def __call__(self, fraction: float) -> float:
        passed = sum(fraction >= a for a in self.at)
        return self.factors[passed - 1] if passed else 1.0


@dataclass(frozen=True, slots=True)
class Cosine:
    """Half a cosine from 1 down to `floor`. Source: Loshchilov, Hutter 2017, equation 5, without restarts."""

    floor: float = 0.01

    def __post_init__(self) -> None:
        if not 0 < self.floor <= 1:
            raise ConfigError(f"cosine: expected a floor above 0 and at most 1, got {self.floor}")

    def __call__(self, fraction: float) -> float:
        return self.floor + (1 - self.floor) * (1 + cos(pi * min(1.0, max(0.0, fraction)))) / 2


@dataclass(frozen=True, slots=True)
class WarmUp:
    """Linear from `start` to 1 over the first `until` of the run; `after` then sees the rest as a run of its own."""

    after: Schedule
    until: float = 0.05
    start: float = 0.1

    def __post_init__(self) -> None:
        if not 0 < self.until < 1:
            raise ConfigError(f"warm-up: expected a fraction of the run between 0 and 1, got {self.until}")
        if not 0 < self.start <= 1:
            raise ConfigError(f"warm-up: expected a start above 0 and at most 1, got {self.start}")

    def __call__(self, fraction: float) -> float:
        if fraction < self.until:
            return self.start + (1 - self.start) * max(0.0, fraction) / self.until
        return self.after((fraction - self.until) / (1 - self.until))


SCHEDULES: dict[str, Callable[..., Schedule]] = {"constant": Constant, "steps": Steps, "cosine": Cosine}
