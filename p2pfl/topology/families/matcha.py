"""MATCHA: which matchings of a graph to use how often, for a budget of communication. Knows numbered nodes only.

The edges are split into M matchings; matching j is active in a share p_j of the rounds. The budget bounds their mean:

    maximise lambda_2(sum_j p_j L_j)   over   sum_j p_j <= budget * M,   0 <= p_j <= 1

with L_j the Laplacian of matching j: edges without which the graph would fall apart are used most. Concave; solved by
projected supergradients, d lambda_2 / d p_j = v' L_j v with v the second eigenvector, and the mean of the iterates.

Every machine computes this for itself and must get the same bits. So no linear-algebra library is asked: sums over
nodes are exact (`fsum`), all others run in a fixed order, and the shares are rounded to whole rounds of the period.

Source: Wang, Sahu, Yang, Joshi, Kar 2019, "MATCHA: Speeding up decentralized SGD via matching decomposition sampling",
section 3. Differs from the paper in: instead of drawing every matching anew in every round, each is spread evenly over
the period from a seeded beginning, so that the budget holds exactly and not only in the mean; a round's weights are
Metropolis-Hastings of its active edges, which need to know only neighbours.
"""

from collections.abc import Sequence
from math import fsum, sqrt
from typing import Any

import numpy as np

from p2pfl.core.noise import Key, derive, seed64
from p2pfl.topology.graphs.colouring import Pair

STEPS = 200
POWER_STEPS = 24
"""Of the power iteration in each step; it goes on from the vector of the step before."""
COLLAPSED = 1e-9
"""A vector that a power step makes shorter than this, of the bound, is rounding."""
DIGITS = 9
"""Shares are rounded to so many digits after the point before they are compared."""


def compute_shares(n: int, matchings: Sequence[Sequence[Pair]], budget: float) -> list[float]:
    """p_j of every matching, summing to budget * M, 0 < budget <= 1. Deterministic to the bit."""
    num, spring = len(matchings), _Spring(n, matchings)
    shares = np.full(num, float(budget))
    if budget >= 1 or num < 2:
        return shares.tolist()
    mean, v = np.zeros(num), spring.start
    for step in range(1, STEPS + 1):
        v = spring.second(shares, v)
        slope = spring.slopes(v)
        length = sqrt(fsum((slope * slope).tolist()))
        if length > 0:
            shares = project(shares + (0.5 / sqrt(step)) * (slope / length), budget * num)
        mean += (shares - mean) / step
    mean = np.round(project(mean, budget * num), DIGITS)
    even = np.full(num, float(budget))
    return (mean if spring.gap(mean) > spring.gap(even) else even).tolist()


def project(shares: Any, total: float) -> Any:
    """The nearest point (M,) with 0 <= p <= 1 and sum p = total: all are moved by one number, then cut off."""
    low, high = float((shares - 1).min()), float(shares.max())
    for _ in range(60):
        middle = (low + high) / 2
        if fsum(np.clip(shares - middle, 0.0, 1.0).tolist()) > total:
            low = middle
        else:
            high = middle
    return np.clip(shares - high, 0.0, 1.0)


def compute_counts(shares: Sequence[float], period: int, total: int) -> list[int]:
    """In how many rounds of the period each matching is active: at least once, at most `total` together.

    The largest remainders get what rounding down leaves. total >= the number of matchings.
    """
    counts = [min(period, max(1, int(share * period))) for share in shares]
    order = sorted(range(len(shares)), key=lambda j: (-(shares[j] * period - int(shares[j] * period)), j))
    for j in order:
        if sum(counts) < total and counts[j] < period:
            counts[j] += 1
    while sum(counts) > total:
        counts[max(range(len(counts)), key=lambda j: (counts[j], -j))] -= 1
    return counts


def compute_activity(counts: Sequence[int], period: int, key: Key) -> list[list[int]]:
    """The matchings of each round: matching j in exactly counts[j] of `period` rounds, as evenly as can be."""
    begins = [seed64(derive(key, j)) % period for j in range(len(counts))]
    return [
        [j for j, count in enumerate(counts) if (round_ + begins[j]) * count % period < count]
        for round_ in range(period)
    ]


class _Spring:
    """The graph's Laplacian, weighed by matching. All sums in one order, whatever the machine."""

    def __init__(self, n: int, matchings: Sequence[Sequence[Pair]]) -> None:
        pairs = [pair for matching in matchings for pair in matching]
        self.n, self.num = n, len(matchings)
        self.u = np.asarray([u for u, _ in pairs], dtype=np.intp)
        self.v = np.asarray([v for _, v in pairs], dtype=np.intp)
        self.of = np.repeat(np.arange(self.num), [len(matching) for matching in matchings])
        numbers = np.arange(n, dtype=np.int64)
        self.start = self._unit(((numbers * 7919) % 10007).astype(np.float64) / 10007)

    def apply(self, shares: Any, x: Any) -> Any:
        """sum_j p_j L_j x."""
        flow = shares[self.of] * (x[self.u] - x[self.v])
        return np.bincount(self.u, flow, self.n) - np.bincount(self.v, flow, self.n)

    def second(self, shares: Any, x: Any, steps: int = POWER_STEPS) -> Any:
        """Nearer to the second eigenvector of the Laplacian than x, of length 1 and mean 0."""
        degrees = np.bincount(self.u, shares[self.of], self.n) + np.bincount(self.v, shares[self.of], self.n)
        bound = 2 * float(degrees.max())  # of all its eigenvalues
        for _ in range(steps):
            step = bound * x - self.apply(shares, x)
            # Nothing is left of the vector of the largest eigenvalue; in a warm start it may be just that one.
            x = self._unit(step if float(np.abs(step).max()) > COLLAPSED * bound else self.start)
        return x

    def slopes(self, x: Any) -> Any:
        """x' L_j x for every matching."""
        stretch = x[self.u] - x[self.v]
        return np.bincount(self.of, stretch * stretch, self.num)

    def gap(self, shares: Any) -> float:
        """lambda_2, from above."""
        x = self.second(shares, self.start, 20 * POWER_STEPS)
        return fsum((shares * self.slopes(x)).tolist())

    def _unit(self, x: Any) -> Any:
        x = x - fsum(x.tolist()) / self.n
        return x / sqrt(fsum((x * x).tolist()))
