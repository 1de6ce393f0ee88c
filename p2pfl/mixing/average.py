"""D-PSGD: every round, the weighted average of one's own and all neighbours' models. Knows rows and weights only.

    x_i' = x_i + sum_j w_ij (q_j - q_i)

w are Metropolis-Hastings weights, so the mean over nodes is kept when nothing is lost; an absent neighbour has
w = 0 and its weight stays with oneself, which is harmless if both ends miss each other and biases the mean if only
one does.

Source: Lian et al. 2017, algorithm 1. Differs from the paper in: local steps; written with differences, so that a
coarse codec moves nobody who agrees.
"""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from p2pfl.mixing.rows import Crowd, Heard, Phase, RowMixer, State, pull, pull_all


@dataclass(frozen=True)
class Average(RowMixer):
    """The rule has no parameters."""

    looks_back: ClassVar[bool] = False
    elementwise: ClassVar[bool] = True

    def mix(self, state: State, x: Tensor, heard: Heard, phase: Phase) -> tuple[State, Tensor]:
        """Law: keeps the mean over nodes if the weights are symmetric."""
        return state, x + pull(heard)

    def mix_all(self, states: State, x: Tensor, crowd: Crowd, phases: Phase) -> tuple[State, Tensor]:
        return states, pull_all(crowd).add_(x)
