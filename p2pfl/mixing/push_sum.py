"""Stochastic gradient push: one-way rows, and a weight that undoes the bias they would cause. Knows rows only.

Every node keeps a mass m (1 at the start) beside its model x; what is conserved is the sum of n = m x and of m.

    after local steps     n_i = m_i x_before + min(1, boost m_i) (x_i - x_before)
    said                  q_i = C(n_i), m_i           to `fanout` neighbours; it counts p_i = 1 / (1 + fanout)
    n_i <- n_i - (1 - p_i) q_i + sum_j p_j q_j        over the j that spoke to i
    m_i <- m_i - (1 - p_i) m_i + sum_j p_j m_j
    x_i' = n_i / m_i

Columns of the weights sum to one and rows need not: a node must only know to how many it speaks. So links may be
one-way and change every round, and a lost row takes its share of n and m along: the models stay unbiased by it.
What the codec leaves out stays with the sender. The row is a whole model (times m): use fp16 or int8.

With a fanout the out-peers are drawn anew each round (epidemic pushes). Late mass is added when it comes.

Sources: Kempe, Dobra, Gehrke 2003 (push-sum); Assran et al. 2019, algorithm 1 (SGP). Differs from the papers in: local
steps; a step enters n whole, as in the latter, only from m = 1 / boost on. Below, a node that nobody has spoken to for
a while would move its model by 1 / m times its step: with drawn peers m halves in every silent round, and it diverged.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from p2pfl.mixing.rows import Heard, Note, Phase, RowMixer, State, Weighting

MASS_MIN, MASS_MAX = 1e-9, 1e9


@dataclass(frozen=True)
class PushSum(RowMixer):
    """fanout: neighbours that are told each round, drawn anew; 0: all of them. boost: how many times its local step a
    node's model moves at most, 1 or more."""

    weighting: ClassVar[Weighting] = "push"
    notes: ClassVar[tuple[Note, ...]] = (Note("mass", MASS_MIN, MASS_MAX),)
    fanout: int = 0
    boost: float = 2.0

    def __post_init__(self) -> None:
        if not 1 <= self.boost <= 1e6:
            raise ValueError(f"mix.boost: expected 1 to 1e6, got {self.boost}")
        if not 0 <= self.fanout <= 256:
            raise ValueError(f"mix.fanout: expected 0 (all neighbours) to 256, got {self.fanout}")

    def init(self, x: Tensor) -> State:
        return {"mass": torch.ones((), dtype=torch.float64)}

    def outgoing(self, state: State, x: Tensor, phase: Phase) -> Tensor:
        mass = state["mass"].to(x.dtype)
        return phase.before * mass + (x - phase.before) * (self.boost * mass).clamp(max=1.0)

    def mix(self, state: State, x: Tensor, heard: Heard, phase: Phase) -> tuple[State, Tensor]:
        """Law: the sums over nodes of m x (after local steps) and of m are kept, or leave with a lost row."""
        kept = self.outgoing(state, x, phase) - heard.given.to(x.dtype) * heard.own
        came = (heard.weights.to(x.dtype).unsqueeze(-1) * heard.inbox).sum(dim=0)
        mass = state["mass"] * (1 - heard.given) + (heard.weights * heard.notes[:, 0]).sum(dim=0)
        mass = mass.clamp(MASS_MIN, MASS_MAX)
        return {"mass": mass}, (kept + came) / mass.to(x.dtype)
