"""Discrete Gaussian noise, for sums of integers. Knows keys and numbers; no vector that it is added to, no accountant.

    P(k) = exp(-k^2 / 2 sigma^2) / Z,  k an integer                (Canonne, Kamath, Steinke 2020, definition 1)

Draws by their algorithm 3: a discrete Laplace number of scale t = floor(sigma) + 1, kept with chance
exp(-(|k| - sigma^2 / t)^2 / 2 sigma^2). Differs from it in: chances are compared as numbers of 53 bits, not as exact
fractions, so that vectors of millions are drawn at once; each probability is right to about 1e-15. Unlike rounded
normal numbers, what is drawn has no low bits to read (Mironov 2012).

Laws: a sum of n of them hides what moves by s about as a normal number of deviation sqrt(n) sigma does: it satisfies
rho-zCDP with sqrt(2 rho) = s / (sqrt(n) sigma) + tau sqrt(d), tau = 10 sum_{k<n} exp(-2 pi^2 sigma^2 k / (k + 1))
(Kairouz, Liu, Steinke 2021, section 4), for vectors of d values. From sigma = `DEVIATION_MIN` on, tau is 0 in double
precision.
"""

from math import exp, floor, pi

import numpy as np
from blake3 import blake3
from numpy.typing import NDArray

from p2pfl.core.noise import Key, derive

DEVIATION_MIN = 16.0
BLOCK = 1 << 18
"""Numbers drawn at once; what is made for them stays below 30 MiB."""


def discrete_gaussian(key: Key, count: int, deviation: float) -> NDArray[np.int64]:
    """(count,) integers of this deviation (> 0) from a cryptographic stream: as secret as the key."""
    if not deviation > 0:
        raise ValueError(f"expected a deviation above 0, got {deviation}")
    out = np.empty(count, np.int64)
    for number, low in enumerate(range(0, count, BLOCK)):
        part = out[low : low + BLOCK]
        _fill(derive(key, "block", number), part, deviation)
    return out


def tau(deviation: float, num_sums: int) -> float:
    """How far the sum of so many is from a discrete Gaussian, per value: see above."""
    return 10 * sum(exp(-2 * pi**2 * deviation**2 * k / (k + 1)) for k in range(1, num_sums))


def _fill(key: Key, out: NDArray[np.int64], deviation: float) -> None:
    missing, turn = np.arange(len(out)), 0
    while len(missing):
        drawn, kept = _try(derive(key, turn), len(missing), deviation)
        out[missing[kept]] = drawn[kept]
        missing, turn = missing[~kept], turn + 1


def _try(key: Key, count: int, deviation: float) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """`count` tries: numbers, and which of them count."""
    scale = floor(deviation) + 1
    words = np.frombuffer(blake3(b"p2pfl/discrete\0", key=key).digest(length=40 * count), "<u8").reshape(5, count)
    uniform = [((row >> np.uint64(11)).astype(np.float64) + 0.5) * 2.0**-53 for row in words[:4]]
    low = np.floor(uniform[0] * scale)  # uniform in 0 .. scale - 1
    kept = uniform[1] < np.exp(-low / scale)
    high = np.floor(-np.log(uniform[2]))  # geometric: P(high >= m) = e^-m
    size = low + scale * high
    negative = (words[4] & np.uint64(1)).astype(bool)
    kept &= ~(negative & (size == 0))
    kept &= uniform[3] < np.exp(-((size - deviation**2 / scale) ** 2) / (2 * deviation**2))
    return np.where(negative, -size, size).astype(np.int64), kept
