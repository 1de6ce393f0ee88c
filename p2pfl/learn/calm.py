"""A bound on gradients that follows their own usual length: around any optimiser. Knows gradients and nothing else.

    g <- g min(1, limit usual / |g|);   usual <- 0.98 usual + 0.02 |g|          (the first gradient sets `usual`)

Under label skew the model that comes back from a neighbour is, for a node with one or two classes, now and then far
off: one gradient of twenty times the usual length throws it out, and its neighbours after it (docs/log.md). Bounding
at a multiple of what is usual for this node needs no tuning to the task and leaves ordinary steps alone. Unlike a fixed
bound it follows the gradients down as the run converges. Related: adaptive clipping by a quantile (Seetharaman et al.
2020, AutoClip); differs in: a running mean of bounded lengths, so that a burst does not raise its own bound.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from p2pfl.errors import ConfigError
from p2pfl.learn.optim import Optimizer, OptState

USUAL = "usual"
_EMA = 0.98


@dataclass(frozen=True, slots=True)
class Calm:
    """`inner` with gradients of at most `limit` times their usual length. Its slot `usual` (1,) is 0 before a step."""

    inner: Optimizer
    limit: float = 2.0

    def __post_init__(self) -> None:
        if not self.limit >= 1:
            raise ConfigError(f"gradient_limit: expected at least 1 (times the usual length), got {self.limit}")

    def init(self, x: Tensor) -> OptState:
        state = self.inner.init(x)
        return replace(state, slots={**state.slots, USUAL: x.new_zeros(1)})

    def update_(
        self, x: Tensor, g: Tensor, slots: Mapping[str, Tensor], steps: int | Tensor, lr: float | Tensor
    ) -> Tensor:
        usual = slots[USUAL]
        length = torch.linalg.vector_norm(g, dim=-1, keepdim=True)
        bound = torch.where(usual > 0, self.limit * usual, length)
        g.mul_(torch.where(length > bound, bound / length, 1.0))
        kept = torch.minimum(length, bound)
        usual.copy_(torch.where(usual > 0, _EMA * usual + (1 - _EMA) * kept, kept))
        return self.inner.update_(x, g, slots, steps, lr)

    def step(self, x: Tensor, g: Tensor, state: OptState, lr: float | Tensor) -> tuple[Tensor, OptState, Tensor]:
        x, slots = x.clone(), {name: slot.clone() for name, slot in state.slots.items()}
        norm = self.update_(x, g.clone(), slots, state.steps, lr)
        return x, OptState(state.steps + 1, slots), norm
