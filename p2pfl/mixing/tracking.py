"""Gradient tracking: every node follows an estimate of the mean gradient. Exact at a constant learning rate.

    local step   x <- x - lr (g + c)                        (c is the shift)
    said         the model x, and the phase's mean direction d = (x_before - x) / work
    mixing       x' = x + sum_j w_ij (qx_j - qx_i)
    correction   c' = c + sum_j w_ij (qd_j - qd_i)

The sum of c over all nodes stays zero. At a fixed point all models agree, all d agree, and so the mean gradient is
zero: no error remains that a learning rate would have to shrink. Two vectors travel in every message, the second of
which (a gradient) does not get small where gradients are noisy: twice the bytes of D-PSGD, and little to compress.

Sources: Di Lorenzo, Scutari 2016 (NEXT); Nedic, Olshevsky, Shi 2017 (DIGing); local steps as in Liu, Lin, Koloskova,
Stich 2023 (K-GT). With one local step y = g + c is their tracker: y' = sum_j w_ij y_j + g' - g, sent after adapting.
Differs from the papers in: nodes with other learning rates or step counts are averaged by direction.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from p2pfl.mixing.rows import Crowd, Heard, Phase, RowMixer, State, over_work, pull, pull_all


@dataclass(frozen=True)
class GradientTracking(RowMixer):
    """The rule has no parameters."""

    vectors: ClassVar[int] = 2
    every_row: ClassVar[bool] = True

    def init(self, x: Tensor) -> State:
        return {"c": torch.zeros_like(x)}

    def shift(self, state: State) -> Tensor | None:
        return state["c"]

    def outgoing(self, state: State, x: Tensor, phase: Phase) -> Tensor:
        return torch.cat([x, over_work(phase.before - x, phase)], dim=-1)

    def mix(self, state: State, x: Tensor, heard: Heard, phase: Phase) -> tuple[State, Tensor]:
        """Law: keeps the mean of x over nodes and the zero sum of c if the weights are symmetric."""
        return self._step(state, x, pull(heard))

    def mix_all(self, states: State, x: Tensor, crowd: Crowd, phases: Phase) -> tuple[State, Tensor]:
        return self._step(states, x, pull_all(crowd))

    def _step(self, state: State, x: Tensor, pulled: Tensor) -> tuple[State, Tensor]:
        model, direction = pulled.tensor_split(2, dim=-1)
        return {"c": state["c"] + direction}, x + model
