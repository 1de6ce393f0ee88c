"""What repeated Gaussian noise costs in epsilon. Knows numbers; knows no data, model or party.

n releases, each of sensitivity s with noise of deviation sigma, together are exactly one Gaussian mechanism with
mu = s sqrt(n) / sigma (Dong, Roth, Su 2022, corollary 3.3), and its curve is known in closed form (Balle and Wang 2018,
theorem 8):  delta(eps) = Phi(mu/2 - eps/mu) - e^eps Phi(-mu/2 - eps/mu).  No bound is loose here and nothing is
sampled: this is for releases of which the reader knows whose they are. Amplification by sampling is not counted.
"""

from math import erfc, exp, inf, log, sqrt

EPSILON_MAX = 1e6


def compose(sensitivity: float, noise: float, releases: int) -> float:
    """mu of so many releases; inf without noise, 0 without a release."""
    if sensitivity < 0 or noise < 0 or releases < 0:
        raise ValueError(f"expected nothing below 0, got {sensitivity}, {noise}, {releases}")
    if not releases or not sensitivity:
        return 0.0
    return sensitivity * sqrt(releases) / noise if noise else inf


def delta_at(epsilon: float, mu: float) -> float:
    """The smallest delta for which (epsilon, delta) holds. Valid for any epsilon >= 0."""
    if mu == 0:
        return 0.0
    if mu == inf:
        return 1.0
    below = _log_phi(-mu / 2 - epsilon / mu) + epsilon
    return max(0.0, _phi(mu / 2 - epsilon / mu) - exp(min(below, 0.0)))


def epsilon_at(delta: float, mu: float) -> float:
    """The smallest epsilon for this delta, to 1e-6 from above; inf without noise."""
    if not 0 < delta < 1:
        raise ValueError(f"expected a delta between 0 and 1, got {delta}")
    if delta_at(0.0, mu) <= delta:
        return 0.0
    low, high = 0.0, 1.0
    while delta_at(high, mu) > delta:
        low, high = high, 2 * high
        if high > EPSILON_MAX:
            return inf
    while high - low > 1e-6:
        middle = (low + high) / 2
        low, high = (middle, high) if delta_at(middle, mu) > delta else (low, middle)
    return high


def gaussian_epsilon(sensitivity: float, noise: float, releases: int, delta: float) -> float:
    """Epsilon of so many releases; `noise` is the deviation, in the unit of `sensitivity`."""
    return epsilon_at(delta, compose(sensitivity, noise, releases))


def _phi(x: float) -> float:
    return 0.5 * erfc(-x / sqrt(2.0))


def _log_phi(x: float) -> float:
    """log Phi(x), also where Phi underflows: the first terms of Mills' ratio."""
    if x > -20:
        return log(_phi(x))
    z = 1.0 / (x * x)
    return -0.5 * x * x - log(-x * sqrt(6.283185307179586)) + log(1 - z + 3 * z * z - 15 * z**3)
