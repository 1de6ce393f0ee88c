"""Shapley values of a game, exactly and estimated. Pure; knows coalitions and values, nothing of models.

A coalition of n players is a bit mask of 0 to 2^n - 1; a game is a function of it. Player i's Shapley value is its mean
marginal value over all orders in which the players could come (Shapley 1953, axioms 1 to 3). Laws:

- efficiency: the values sum to v(all) - v(none);
- symmetry: players that no coalition can tell apart get the same; null player: one that never changes v gets 0;
- additivity: the values of v + w are those of v and those of w together.

`permutations` and `gtg` keep efficiency up to what they truncate (`tolerance` for each order), and the others in the
mean over their draws.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import comb

from p2pfl.core.noise import Key, derive, generator

Value = Callable[[int], float]

EXACT_MAX = 6
"""Up to so many players all 2^n coalitions are tried; above, permutations with a fixed budget."""
PLAYERS_MAX = 16
ORDERS = 24
"""The fixed budget: complete or truncated orders."""
TOLERANCE = 1e-3
"""An order is cut when its coalition's value is within this of everybody's: the rest would get next to nothing."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """`values` by player. `evaluations`: different coalitions that were tried. `name`: by what estimator."""

    values: tuple[float, ...]
    evaluations: int
    name: str


def estimator_of(num_players: int, guided: bool = False) -> str:
    """The estimator's name: exact up to EXACT_MAX players; above GTG-Shapley if `guided`, else permutations."""
    if num_players <= EXACT_MAX:
        return "exact"
    return "gtg" if guided else "permutations"


def estimate(num_players: int, value: Value, key: Key, guided: bool = False) -> Estimate:
    """By `estimator_of`; what is drawn is drawn from `key`."""
    name = estimator_of(num_players, guided)
    if name == "exact":
        return exact(num_players, value)
    return gtg(num_players, value, key) if name == "gtg" else permutations(num_players, value, key)


def exact(num_players: int, value: Value) -> Estimate:
    """phi_i = sum over S without i of |S|! (n - |S| - 1)! / n! * (v(S + i) - v(S)): all 2^n coalitions."""
    n = _check(num_players)
    values = [value(mask) for mask in range(1 << n)]
    weights = [1.0 / (n * comb(n - 1, size)) for size in range(n)]
    found = [0.0] * n
    for mask, before in enumerate(values):
        size = mask.bit_count()
        for player in range(n):
            if not mask >> player & 1:
                found[player] += weights[size] * (values[mask | 1 << player] - before)
    return Estimate(tuple(found), 1 << n, "exact")


def permutations(
    num_players: int, value: Value, key: Key, orders: int = ORDERS, tolerance: float = TOLERANCE
) -> Estimate:
    """Truncated Monte Carlo (Ghorbani and Zou 2019, algorithm 1) with `orders` orders, not until it has settled.

    Differs from the paper in: orders come in pairs, one and its reverse (antithetic: Mitchell et al. 2022, section
    4.2), which costs nothing and takes off the part of the error that is odd in the position.
    """
    n, memo = _check(num_players), _Memo(value)
    sums = [0.0] * n
    for number in range(orders):
        order = list(generator(derive(key, "order", number // 2)).permutation(n))
        _walk(order if number % 2 == 0 else order[::-1], memo, tolerance, sums)
    return Estimate(tuple(total / max(orders, 1) for total in sums), memo.count, "permutations")


def gtg(
    num_players: int,
    value: Value,
    key: Key,
    tolerance: float = TOLERANCE,
    settled: float = 0.05,
    orders_min: int = 30,
    orders_max: int = 500,
) -> Estimate:
    """GTG-Shapley (Liu et al. 2022, algorithm 1), of one round: guided, truncated orders until the values have settled.

    Guided: each player leads equally often, since a marginal value is largest at the front. Settled: over the last
    orders the values changed by less than `settled` of themselves on average. If the round changed nothing
    (|v(all) - v(none)| <= tolerance), nobody gets anything: truncation between rounds.
    """
    n, memo = _check(num_players), _Memo(value)
    if n == 0 or abs(memo((1 << n) - 1) - memo(0)) <= tolerance:
        return Estimate((0.0,) * n, memo.count, "gtg")
    sums, history = [0.0] * n, list[list[float]]()
    for number in range(orders_max):
        rest = [player for player in range(n) if player != number % n]
        tail = generator(derive(key, "gtg", number)).permutation(n - 1)
        _walk([number % n, *(rest[i] for i in tail)], memo, tolerance, sums)
        history.append([total / (number + 1) for total in sums])
        if number + 1 >= max(orders_min, 11) and _change(history[-11], history[-1]) < settled:
            break
    return Estimate(tuple(history[-1]), memo.count, "gtg")


def leave_one_out(num_players: int, value: Value) -> Estimate:
    """v(all) - v(all but i): n + 1 coalitions. No Shapley value: two players with the same data get nothing both."""
    n = _check(num_players)
    everybody = (1 << n) - 1
    top = value(everybody)
    return Estimate(tuple(top - value(everybody & ~(1 << i)) for i in range(n)), n + 1, "leave one out")


class _Memo:
    """A game whose coalitions are tried once each; `count` says how many were."""

    def __init__(self, value: Value) -> None:
        self._value = lru_cache(maxsize=None)(value)

    def __call__(self, mask: int) -> float:
        return self._value(mask)

    @property
    def count(self) -> int:
        return self._value.cache_info().misses


def _walk(order: Sequence[int], value: _Memo, tolerance: float, sums: list[float]) -> None:
    """Add each player's marginal value in this order; the rest of it is cut when little is left."""
    top, mask = value((1 << len(order)) - 1), 0
    now = value(0)
    for player in order:
        if abs(top - now) <= tolerance and mask:
            return
        mask |= 1 << int(player)
        after = value(mask)
        sums[int(player)] += after - now
        now = after


def _change(before: Sequence[float], after: Sequence[float]) -> float:
    pairs = list(zip(before, after, strict=True))
    return sum(abs(b - a) / max(abs(a), 1e-12) for b, a in pairs) / len(pairs)


def _check(num_players: int) -> int:
    if not 0 <= num_players <= PLAYERS_MAX:
        raise ValueError(f"expected 0 to {PLAYERS_MAX} players, got {num_players}")
    return num_players
