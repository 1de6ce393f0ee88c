"""A gossip rule of one's own: averaging in which nobody is pulled further than a radius by one neighbour.

    x' = x + sum_j w_j d_j min(1, radius / |d_j|),   d_j = q_j - q_own

A model that is far off (broken data, or worse) moves its neighbours by the radius and no more; as both ends shorten the
same difference alike, the mean over the nodes is kept. After He, Karimireddy, Jaggi 2022 (self-centred clipping).

    [mix]
    rule = "own_mixer.py:Clipped"
    radius = 1.0

    [pace]
    mode = "lockstep"
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from p2pfl.mixing import Heard, Phase, RowMixer, State


@dataclass(frozen=True)
class Clipped(RowMixer):
    """radius: the longest difference to a neighbour that counts whole."""

    radius: float = 1.0

    def __post_init__(self) -> None:
        if not self.radius > 0:
            raise ValueError(f"mix.radius: expected a number above 0, got {self.radius}")

    def mix(self, state: State, x: Tensor, heard: Heard, phase: Phase) -> tuple[State, Tensor]:
        """Only this has to be written: RowMixer says the model itself, and keeps nothing between rounds.

        No branches on values and no loops over neighbours, so that it maps over nodes; a weight of 0 is a neighbour
        that was not heard.
        """
        apart = heard.inbox - heard.own
        length = torch.linalg.vector_norm(apart, dim=-1).clamp(min=1e-30)
        share = heard.weights.to(x.dtype) * (self.radius / length).clamp(max=1.0).to(x.dtype)
        return state, x + (share.unsqueeze(-1) * apart).sum(dim=0).to(x.dtype)
