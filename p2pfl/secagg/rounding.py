"""Real numbers as integers mod 2^w and back, so that sums of c of them do not wrap. Knows vectors, no mask.

    v is clipped to [-R, R];  n = floor(v 2^f + u), u uniform in [0, 1);  word = n mod 2^w
    f is the largest integer with c (R 2^f + 1) < 2^(w - 1);  w = 32, or 16 for half the bytes (plain quantisation)

A grid that all share, and that follows from no member's values, is linear: sums of words are words of sums.

Laws: E[n] = v 2^f for |v| <= R (stochastic rounding, u from a secret key, so errors do not add up over rounds);
|n - v 2^f| < 1 always. So a sum of k <= c vectors is off by less than k 2^-f, a mean by less than 2^-f (`unit`).
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from p2pfl.core.noise import Key
from p2pfl.errors import ConfigError
from p2pfl.secagg.masks import Words, words_of

RANGE_MIN, RANGE_MAX = 2.0**-10, 2.0**20
TILE = 1 << 15
Width = Literal[16, 32]
"""Bits of a word as it travels."""


@dataclass(frozen=True, slots=True)
class Grid:
    """Values up to `reach` in absolute value, for sums of at most `count` vectors, in words of `width` bits."""

    reach: float
    count: int
    width: Width = 32

    def __post_init__(self) -> None:
        if not RANGE_MIN <= self.reach <= RANGE_MAX:
            raise ConfigError(f"secure sum: expected a range of {RANGE_MIN:g} to {RANGE_MAX:g}, got {self.reach:g}")

    @property
    def bits(self) -> int:
        """f: fraction bits; may be negative for a very wide range."""
        f = 31 + 10  # the narrowest range
        while self.count * (self.reach * 2.0**f + 1) >= 2 ** (self.width - 1):
            f -= 1
        return f

    @property
    def unit(self) -> float:
        """2^-f: what a mean of up to `count` vectors is off by, at most."""
        return 2.0**-self.bits

    def encode(self, values: ArrayLike, key: Key) -> Words:
        """(n,) -> (n,) words. Raises ValueError for a value that is not finite: it must not leave the node."""
        flat = np.asarray(values).reshape(-1)
        scale, drawn = 2.0**self.bits, words_of(key, flat.size)
        words = np.empty(flat.size, np.uint32)
        for low in range(0, flat.size, TILE):
            part: NDArray[np.float64] = np.array(flat[low : low + TILE], np.float64)
            if not np.isfinite(part.sum()):
                raise ValueError("expected finite values")
            np.clip(part, -self.reach, self.reach, out=part)
            part *= scale
            part += drawn[low : low + TILE].astype(np.float64) * 2.0**-32
            np.floor(part, part)
            words[low : low + TILE] = part.astype(np.int64).astype(np.uint32)
        return words

    def decode(self, words: Words) -> NDArray[np.float64]:
        """(n,) words of a sum -> (n,) the sum. Of narrow words the upper bits say nothing."""
        signed = words.view(np.int32) if self.width == 32 else words.astype(np.uint16).view(np.int16)
        return signed.astype(np.float64) * np.float64(self.unit)

    def clipped(self, values: ArrayLike) -> int:
        """How many values are beyond the range, and count as its end."""
        return int(np.count_nonzero(np.abs(np.asarray(values)) > self.reach))
