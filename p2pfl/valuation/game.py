"""The game whose players are updates: what a coalition's updates together make of a model. Knows vectors and a utility.

v(S) = utility(x + sum of the updates in S, divided by the number of players). So a node that does nothing adds nothing,
in every coalition, and never takes from others by thinning their mean. One step of gossip has the same form: each
node's update reaches the mean over the nodes with the weight one over their number.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

Utility = Callable[[Tensor], float]


class Game:
    """x (P,), updates K of (P,). `evaluations`: models that were tried; a coalition is tried once."""

    def __init__(self, x: Tensor, updates: Sequence[Tensor], utility: Utility, players: int | None = None) -> None:
        self.x, self.utility = x, utility
        self.share = 1.0 / max(players if players is not None else len(updates), 1)
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
