"""The game whose players are updates: what a coalition's updates together make of a model. Knows vectors and a utility.

v(S) = utility(x + step * sum of the updates in S, divided by the number of players). So a node that does nothing adds
nothing, in every coalition, and never takes from others by thinning their mean. One step of gossip has the same form:
each node's update reaches the mean over the nodes with the weight one over their number. The evaluator's own update is
in no coalition: all evaluators play nearly the same game, and their median says more (docs/log.md).
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

Utility = Callable[[Tensor], float]


STEPS = (4.0, 2.0, 1.0, 0.5, 0.25, 0.125, 0.0625, 0.03125)
"""What the sum of all updates may be multiplied with, before anybody's part of it is looked at."""


def best_step(x: Tensor, updates: Sequence[Tensor], smooth: Utility) -> float:
    """The step of STEPS with which all updates together help most by a smooth utility (the negative loss).

    Updates of one window were made along different ways, on unlike data: added whole to one model they can lead far
    past where the network went, and then every coalition is bad and the values say only who is largest.
    """
    if not updates:
        return 1.0
    whole = Game(x, updates, smooth)
    everybody = (1 << len(updates)) - 1
    direction = whole.model(everybody) - x
    return max(STEPS, key=lambda step: smooth(x + step * direction))


class Game:
    """x (P,), updates K of (P,). `evaluations`: coalitions that were tried, once each."""

    def __init__(self, x: Tensor, updates: Sequence[Tensor], utility: Utility, step: float = 1.0) -> None:
        self.utility = utility
        self.share = step / max(len(updates), 1)
        self.x = x
        self.updates = [update.to(x.dtype) for update in updates]
        self._known: dict[int, float] = {}

    @property
    def evaluations(self) -> int:
        return len(self._known)

    def __call__(self, mask: int) -> float:
        if mask not in self._known:
            self._known[mask] = self.utility(self.model(mask))
        return self._known[mask]

    def model(self, mask: int) -> Tensor:
        """The model that the coalition makes."""
        chosen = [update for index, update in enumerate(self.updates) if mask >> index & 1]
        if not chosen:
            return self.x
        return self.x + self.share * torch.stack(chosen).sum(0)
