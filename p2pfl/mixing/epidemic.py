"""Epidemic learning: every round each node tells its model to a few others, drawn anew, and averages what it heard.

    x_i' = x_i + (1 / (1 + k)) sum_j (q_j - q_i)        over the k neighbours that drew i this round

The mean over the nodes is kept in expectation only: whoever is drawn often counts more in that round (`push_sum`
corrects for it and costs one more number). Random peers mix faster than fixed ones at the same bytes, and nothing is
kept between rounds, so nodes may come and go. A node draws among its neighbours in the graph: the complete graph is
the paper's case. Who speaks to whom follows from a seed that all know.

Source: de Vos et al. 2023, algorithm 1 (EL-Local). Differs from the paper in: local steps; written with differences.
"""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from p2pfl.mixing.rows import Crowd, Heard, Phase, RowMixer, State, Weighting, pull, pull_all


@dataclass(frozen=True)
class Epidemic(RowMixer):
    """fanout: neighbours that are told each round, 1 to 256."""

    looks_back: ClassVar[bool] = False
    elementwise: ClassVar[bool] = True
    weighting: ClassVar[Weighting] = "uniform"
    fanout: int = 2

    def __post_init__(self) -> None:
        if not 1 <= self.fanout <= 256:
            raise ValueError(f"mix.fanout: expected 1 to 256, got {self.fanout}")

    def mix(self, state: State, x: Tensor, heard: Heard, phase: Phase) -> tuple[State, Tensor]:
        """Law: x' is inside the convex hull of the own and the heard models."""
        return state, x + pull(heard)

    def mix_all(self, states: State, x: Tensor, crowd: Crowd, phases: Phase) -> tuple[State, Tensor]:
        return states, pull_all(crowd).add_(x)
