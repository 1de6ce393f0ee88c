"""Similarity: neighbours' models are mixed by how alike they are, so that nodes with the same task find each other.

    c     = mean of q_i and all q_j heard                  (K + 1 rows, whatever their weights)
    s_ij  = cos(q_i - c, q_j - c)                          similarity, -1 to 1
    w'_ij = w_ij / (1 + exp(-sharpness (s_ij - threshold)))
    x_i'  = x_i + sum_j w'_ij (q_j - q_i)

What a row has in common with all others is no evidence, hence the centre. In one round local steps pull nodes of
one task the same way and those of another the opposite way; who is alike is mixed more, who is not less, so that
offsets grow until the network has parted into groups, each with a model of its own. Two groups have s = 1 within and
-1 across, m groups -1 / (m - 1) across. Where there is one task alone s is about -1 / K everywhere, and this is
`average` with smaller weights. No state, and nothing but the model travels.

Built from: clustering by the cosine of updates (Sattler, Mueller, Samek 2020, section II) and by soft weights over
neighbours (Zec et al. 2022, DAC, equation 4, which takes losses on own data). Differs from both in: models are
compared around the neighbourhood's mean, in every round, and nobody decides on groups.
"""

from dataclasses import dataclass
from math import isfinite
from typing import ClassVar

import torch
from torch import Tensor

from p2pfl.mixing.rows import Heard, Phase, RowMixer, State

_TINY = 1e-30


@dataclass(frozen=True)
class Similarity(RowMixer):
    """sharpness: how suddenly weights fall with similarity; 0: half of every weight. threshold: where they are half."""

    looks_back: ClassVar[bool] = False

    sharpness: float = 10.0
    threshold: float = -0.1

    def __post_init__(self) -> None:
        if not (isfinite(self.sharpness) and 0 <= self.sharpness <= 1000):
            raise ValueError(f"mix.sharpness: expected 0 to 1000, got {self.sharpness}")
        if not -1 <= self.threshold <= 1:
            raise ValueError(f"mix.threshold: expected -1 to 1, got {self.threshold}")

    def mix(self, state: State, x: Tensor, heard: Heard, phase: Phase) -> tuple[State, Tensor]:
        """Law: nobody who agrees with all neighbours moves."""
        kept = torch.sigmoid(self.sharpness * (self.similarity(heard) - self.threshold))
        weights = (heard.weights * kept).to(heard.inbox.dtype).unsqueeze(-1)
        return state, x + ((heard.inbox - heard.own) * weights).sum(0)

    def similarity(self, heard: Heard) -> Tensor:
        """s_ij of the rows heard, (K,) float64; 0 for a row that is absent, or where all rows are one."""
        here = (heard.weights > 0).to(heard.inbox.dtype).unsqueeze(-1)
        apart = (heard.inbox - heard.own) * here
        centre = apart.sum(0) / (here.sum() + 1)
        own, others = -centre.double(), (apart - centre).double()
        lengths = torch.linalg.vector_norm(others, dim=-1) * torch.linalg.vector_norm(own, dim=-1)
        cosine = (others * own).sum(-1) / lengths.clamp(min=_TINY)
        return torch.where(here.squeeze(-1) > 0, cosine, 0.0)
