"""Quasi-global momentum: a momentum buffer that follows the mixed model, not the node's own gradients.

    local step   x <- x - lr (g + beta m)            (beta m is the shift)
    mixing       x' = x + sum_j w_ij (q_j - q_i)
    buffer       m <- mu m + (1 - mu) (x_before - x') / work

x_before is the model when the local phase began, work the learning rate summed over its steps. Where data differ
between nodes a local heavy ball runs away with each node's own gradients; this buffer sees what the neighbourhood made
of them. It needs no agreement and nothing but the model travels. Use it with the plain sgd optimizer, which would
otherwise add a momentum of its own.

Source: Lin, Karimireddy, Stich, Jaggi 2021, algorithm 1 (the heavy-ball form). Differs from the paper in: local steps
share one buffer and are averaged in it.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from p2pfl.mixing.rows import Crowd, Heard, Phase, RowMixer, State, over_work, pull, pull_all


@dataclass(frozen=True)
class QuasiGlobal(RowMixer):
    """beta: how much of the buffer a local step takes. mu: how slowly the buffer follows. Both from 0 to below 1."""

    beta: float = 0.9
    mu: float = 0.9

    def __post_init__(self) -> None:
        for name, value in (("beta", self.beta), ("mu", self.mu)):
            if not 0 <= value < 1:
                raise ValueError(f"mix.{name}: expected 0 or more and below 1, got {value}")

    def init(self, x: Tensor) -> State:
        return {"z": torch.zeros_like(x)}  # beta m, ready to be taken off

    def shift(self, state: State) -> Tensor | None:
        return state["z"]

    def mix(self, state: State, x: Tensor, heard: Heard, phase: Phase) -> tuple[State, Tensor]:
        """Law: keeps the mean over nodes if the weights are symmetric."""
        return self._step(state, x, pull(heard), phase)

    def mix_all(self, states: State, x: Tensor, crowd: Crowd, phases: Phase) -> tuple[State, Tensor]:
        return self._step(states, x, pull_all(crowd), phases)

    def _step(self, state: State, x: Tensor, pulled: Tensor, phase: Phase) -> tuple[State, Tensor]:
        after = x + pulled
        fresh = self.beta * (1 - self.mu) * over_work(phase.before - after, phase)
        worked = (phase.work > 0).unsqueeze(-1)  # a round without steps says nothing of the direction
        return {"z": torch.where(worked, self.mu * state["z"] + fresh, state["z"])}, after
