"""Epsilon, delta and noise of training that samples. Knows events; knows no model, data or party. Needs dp-accounting.

An event is one release: the sum of some vectors of bounded length with Gaussian noise of `noise` times what one unit
can change, over a set that each unit is in with probability `rate`. Adjacency is zero-out (Ponomareva et al. 2023,
section 2.1; dp-accounting's REPLACE_SPECIAL): one unit's contribution is replaced by none, and how many there are is
public and stays. Unlike add-or-remove, this lets a sum be divided by the expected number of examples.

Two accountants of the same library: Renyi differential privacy (Mironov, Talwar, Zhang 2019), a quick upper bound, for
a run that goes on; privacy loss distributions (Koskela, Jalko, Honkela 2020; Doroshenko et al. 2022), tight, for what
is reported and for solving the noise. `accountant.py` beside it is for releases without sampling, in closed form.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import inf, isfinite, log
from typing import Any

from p2pfl.errors import ConfigError

ADJACENCY = "zero-out"
NOISE_MAX = 1e4
STEPS_MAX = 10**9
TIGHT_TRIES = 5


@dataclass(frozen=True, slots=True)
class Event:
    """`count` releases alike. noise: deviation over what one unit can change. rate 1: everybody is in each."""

    noise: float
    rate: float
    count: int

    def __post_init__(self) -> None:
        if not (isfinite(self.noise) and self.noise > 0):
            raise ConfigError(f"privacy: expected noise above 0, got {self.noise}")
        if not 0 < self.rate <= 1:
            raise ConfigError(f"privacy: expected a rate above 0 and at most 1, got {self.rate}")
        if not 0 <= self.count <= STEPS_MAX:
            raise ConfigError(f"privacy: expected 0 to {STEPS_MAX} releases, got {self.count}")


def epsilon_quick(events: Sequence[Event], delta: float) -> float:
    """Epsilon by Renyi divergences: an upper bound, milliseconds."""
    return _epsilon("rdp", tuple(events), delta)


def epsilon_tight(events: Sequence[Event], delta: float) -> float:
    """Epsilon by privacy loss distributions: what is reported, about a second. Never above `epsilon_quick`."""
    return min(_epsilon("pld", tuple(events), delta), _epsilon("rdp", tuple(events), delta))


Bound = Callable[[Sequence[Event], float], float]
"""`epsilon_quick` or `epsilon_tight`."""


def solve_noise(rate: float, count: int, epsilon: float, delta: float, bound: Bound = epsilon_tight) -> float:
    """The smallest noise, to 3 digits from above, with which so many releases cost at most epsilon. ConfigError."""
    check_target(epsilon, delta)
    if bound([Event(NOISE_MAX, rate, count)], delta) > epsilon:
        raise ConfigError(f"privacy.epsilon: no noise up to {NOISE_MAX:g} gives {epsilon:g} for {count} releases")
    noise = _smallest(lambda noise: epsilon_quick([Event(noise, rate, count)], delta), epsilon, 2.0)
    return _smallest(lambda noise: bound([Event(noise, rate, count)], delta), epsilon, noise)


def _smallest(cost: Callable[[float], float], target: float, start: float) -> float:
    """The noise at which a falling `cost` meets the target, to 3 digits from above: secants in logarithms.

    Each call of the tight cost takes a second, and its curve is all but a power of the noise, so few are needed.
    """
    low, high, noise, power = 0.0, inf, start, 1.5
    last: tuple[float, float] | None = None
    for _ in range(60):
        value = cost(noise)
        low, high = (low, min(high, noise)) if value <= target else (max(low, noise), high)
        if high <= low * 1.0005:
            break
        if not 0 < value < inf:
            noise = noise * 2 if value > target else (low + high) / 2
            continue
        if last is not None and value != last[1]:
            power = min(max(-log(value / last[1]) / log(noise / last[0]), 0.2), 5.0)
        last = noise, value
        aim = 1.0002 if value > target else 0.9998  # a little past the target: the other end of the bracket
        noise *= aim * (value / target) ** (1 / power)
        if not low < noise < high:
            noise = (low + high) / 2 if high < inf else 2 * low
    return high


def releases_within(
    spent: Sequence[Event], event: Event, epsilon: float, delta: float, bound: Bound = epsilon_tight
) -> int:
    """How many releases like `event` (its count is the most that are asked for) a budget still holds after `spent`.

    Never more than fit; perhaps a percent fewer, since the tight bound is asked a few times only.
    """

    def events(count: int) -> list[Event]:
        return [*spent, Event(event.noise, event.rate, count)]

    def fits(count: int) -> bool:
        return epsilon_quick(events(count), delta) <= epsilon or bound(events(count), delta) <= epsilon

    if fits(event.count):
        return event.count
    low, high = 0, event.count
    while high - low > 1:  # what the quick bound allows
        middle = (low + high) // 2
        low, high = (middle, high) if epsilon_quick(events(middle), delta) <= epsilon else (low, middle)
    high = event.count
    for _ in range(TIGHT_TRIES):
        now = bound(events(low), delta) if low else 0.0
        guess = int(low * (epsilon / now) ** 1.6) if now else high // 2  # epsilon grows somewhat faster than the root
        guess = min(max(guess, low + 1), (low + high + 1) // 2 if guess >= high else guess)
        if high - low <= 1 or guess - low < low // 100:
            break
        low, high = (guess, high) if fits(guess) else (low, guess)
    return low


def check_target(epsilon: float | None, delta: float, num_units: int | None = None) -> None:
    """Raises ConfigError for a promise that is none. num_units: examples (or nodes) that it is made to."""
    if epsilon is not None and not (isfinite(epsilon) and epsilon > 0):
        raise ConfigError(f"privacy.epsilon: expected a number above 0, got {epsilon}")
    if not 0 < delta < 1:
        raise ConfigError(f"privacy.delta: expected a number between 0 and 1, got {delta}")
    if num_units is not None and delta * num_units >= 1:
        raise ConfigError(
            f"privacy.delta: expected less than 1 over the number of examples, 1/{num_units}, got {delta:g}: "
            "with that chance an example may be shown whole"
        )


def require() -> None:
    """Raises ConfigError, in one line, where dp-accounting is not installed."""
    try:
        import dp_accounting  # noqa: F401
    except ImportError:
        raise ConfigError("privacy: needs dp-accounting; install it with: pip install 'p2pfl-node[privacy]'") from None


@lru_cache(maxsize=4096)
def _epsilon(kind: str, events: tuple[Event, ...], delta: float) -> float:
    live = [event for event in events if event.count]
    if not live:
        return 0.0
    require()
    import dp_accounting

    logging.getLogger("absl").setLevel(logging.ERROR)  # of orders that RDP leaves out, which only loosens its bound
    accountant: Any
    relation = dp_accounting.NeighboringRelation.REPLACE_SPECIAL
    if kind == "rdp":
        from dp_accounting import rdp

        accountant = rdp.RdpAccountant(neighboring_relation=relation)
    else:
        from dp_accounting import pld

        accountant = pld.PLDAccountant(neighboring_relation=relation)
    for event in live:
        one = dp_accounting.GaussianDpEvent(event.noise)
        if event.rate < 1:
            one = dp_accounting.PoissonSampledDpEvent(event.rate, one)
        accountant.compose(dp_accounting.SelfComposedDpEvent(one, event.count))
    return float(accountant.get_epsilon(delta))
