"""CHOCO-SGD with drift correction: one compressed difference for all neighbours. Knows rows and weights only.

Every node has a public copy xhat_i that all its neighbours follow by adding up what it says:

    q_i    = C(x_i - xhat_i)
    xhat_i <- xhat_i + q_i
    lag_i  <- lag_i + sum_j w_ij (q_j - q_i)              = sum_j w_ij (xhat_j - xhat_i)
    x_i'   = x_i + gamma lag_i
    z_i    <- z_i - dual_gain gamma lag_i / work          (drift correction, in gradient units)

Two vectors are kept instead of one per neighbour (the memory-efficient form); the common start is everybody's first
xhat and costs no byte. The learner takes lr z off after each step, so that local steps on unlike data pull less apart.
The sum of z over all nodes stays zero while all phases have the same work (learning rate times steps).

gamma must fit the codec: about 0.9 for int8, 0.6 for the dead zone, the kept share for top-k; too large diverges, too
small stalls. The rule is for graphs that do not change and links that lose nothing: a row that is never heard leaves
a constant error between the two ends, because everybody must hear every q of a neighbour to know its xhat. One
message serves all neighbours, which pays on radio and multicast; over unicast the pairwise rule needs fewer bytes.
With codec fp32 and gamma = 1 this is D-PSGD with drift correction (LED).

Sources: Koloskova, Stich, Jaggi 2019, algorithm 2, and its memory-efficient form (appendix E); the correction is
local exact diffusion (Alghunaim 2024, LED; Yuan et al. 2019). Differs from the papers in: local steps, a damped dual
step, and z in gradient units, so that it follows the learning rate.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from p2pfl.mixing.rows import Crowd, Heard, Phase, RowMixer, State, over_work, pull, pull_all


@dataclass(frozen=True)
class Choco(RowMixer):
    """gamma: consensus step size, 0 < gamma <= 1. dual_gain: step of the drift correction, 0 switches it off."""

    looks_back: ClassVar[bool] = False
    every_row: ClassVar[bool] = True

    gamma: float = 0.6
    dual_gain: float = 0.25

    def __post_init__(self) -> None:
        if not 0 < self.gamma <= 1:
            raise ValueError(f"mix.gamma: expected a number above 0 and at most 1, got {self.gamma}")
        if not 0 <= self.dual_gain <= 1:
            raise ValueError(f"mix.dual_gain: expected 0 to 1, got {self.dual_gain}")

    def init(self, x: Tensor) -> State:
        return {"hat": x, "lag": torch.zeros_like(x), "z": torch.zeros_like(x)}

    def shift(self, state: State) -> Tensor | None:
        return state["z"] if self.dual_gain else None

    def outgoing(self, state: State, x: Tensor, phase: Phase) -> Tensor:
        return x - state["hat"]

    def mix(self, state: State, x: Tensor, heard: Heard, phase: Phase) -> tuple[State, Tensor]:
        """Law: keeps the mean over nodes if the weights are symmetric and every row said is heard."""
        return self._step(state, x, heard.own, pull(heard), phase)

    def mix_all(self, states: State, x: Tensor, crowd: Crowd, phases: Phase) -> tuple[State, Tensor]:
        return self._step(states, x, crowd.own, pull_all(crowd), phases)

    def _step(self, state: State, x: Tensor, own: Tensor, pulled: Tensor, phase: Phase) -> tuple[State, Tensor]:
        lag = state["lag"] + pulled
        move = self.gamma * lag
        z = state["z"] - self.dual_gain * over_work(move, phase)
        return {"hat": state["hat"] + own, "lag": lag, "z": z}, x + move
