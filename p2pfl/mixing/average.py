"""D-PSGD: every round, the weighted average of one's own and all neighbours' models. Knows rows and weights only.

    x_i' = x_i + sum_j w_ij (q_j - q_i)

w are Metropolis-Hastings weights, so the mean over nodes is kept when nothing is lost; an absent neighbour has
w = 0 and its weight stays with oneself, which is harmless if both ends miss each other and biases the mean if only
one does. Source: Lian et al. 2017, algorithm 1, with local steps; written with differences, so that a coarse codec
moves nobody who agrees.
"""

from dataclasses import dataclass
from typing import ClassVar, Literal

from torch import Tensor


@dataclass(frozen=True)
class Average:
    """The rule has no parameters."""

    needs: ClassVar[Literal["rows"]] = "rows"

    def mix(self, x: Tensor, own: Tensor, inbox: Tensor, weights: Tensor) -> Tensor:
        """x (P,), own (P,) as the others decode it, inbox (K, P) decoded, weights (K,) with sum <= 1 -> x' (P,)."""
        pull = (weights.to(inbox.dtype).unsqueeze(-1) * (inbox - own)).sum(dim=0)
        return x + pull.to(x.dtype)
