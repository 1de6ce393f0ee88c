"""Noise that the members of a cell share out: each adds a part, and the sum has all of it. Knows numbers; no member.

Every member adds discrete Gaussian noise of variance sigma^2 / h before its words are masked, h being how many members
of the sum are honest at least: of c members t must be in it (t = c if it is everybody or nobody), and up to `coalition`
of them work together, so h = t - coalition. Whoever sees the sum and the coalition's own words then still faces noise
of variance sigma^2 or more: for sigma = noise * S that is one release of the Gaussian mechanism with that multiplier.
Who works together with all other members of a cell faces one part: noise / sqrt(h).

Where so many could have two survivor lists answered (coalition >= 2 t - c, secagg/cell.py), everybody adds all of it.

S = clip + unit sqrt(d): models of d values are rounded to the grid, each value up or down, before noise is added.

Source: Truex et al. 2019, section 4 (sigma^2 / (n - t) each, under threshold encryption); discrete noise under secure
aggregation as in Kairouz, Liu, Steinke 2021. Differs from both in: h counts those that must stay, not those that began,
so that drop-outs take nothing away; rounding is counted in the sensitivity instead of being drawn again.
"""

from dataclasses import dataclass
from math import sqrt

from p2pfl.errors import ConfigError
from p2pfl.privacy.discrete import DEVIATION_MIN


@dataclass(frozen=True, slots=True)
class SharedNoise:
    """clip: the longest update. noise: of the sum, as a multiple of what one node can change. coalition: the most
    members of a cell that work together."""

    clip: float
    noise: float
    coalition: int

    def honest(self, members: int, threshold: int) -> int:
        """h of a cell."""
        if self.coalition >= 2 * threshold - members:
            return 1
        return max(threshold - self.coalition, 1)

    def sensitivity(self, unit: float, size: int) -> float:
        """S for vectors of `size` values on a grid of this unit."""
        return self.clip + unit * sqrt(size)

    def deviation(self, members: int, threshold: int, unit: float, size: int) -> float:
        """Of the noise that one member adds, in the unit of the grid. Raises ConfigError if the grid is too coarse."""
        found = self.noise * self.sensitivity(unit, size) / sqrt(self.honest(members, threshold)) / unit
        if found < DEVIATION_MIN:
            raise ConfigError(
                f"privacy.clip: the noise of one member is {found:.3g} steps of the sum's grid, expected at least "
                f"{DEVIATION_MIN:g}: take a smaller mix.reach or a larger clip"
            )
        return found

    def alone(self, members: int, threshold: int) -> float:
        """The multiplier that is left against all other members of such a cell together."""
        return self.noise / sqrt(self.honest(members, threshold))
