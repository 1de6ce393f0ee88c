"""A gossip node's own part: its model, optimiser and counters. Knows no neighbour.

`x` is replaced, never changed in place: a training task and an encoder may be looking at the old one.
"""

from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from p2pfl.horizontal.terms.progress import Progress
from p2pfl.learn.optim import OptState
from p2pfl.learn.training import Trained
from p2pfl.mixing.pairwise import PairState, Pairwise
from p2pfl.mixing.rows import Phase, State


@dataclass(eq=False, kw_only=True)
class Local(Progress):
    """What a node keeps between events. Times are those of `now`."""

    x: Tensor  # (P,)
    opt: OptState
    extra: int = 0  # rounds since the last local phase, for exchanges only
    pair: PairState | None = None  # the default rule's node state
    rows: State = field(default_factory=dict)  # a neighbourhood rule's node state
    phase: Phase | None = None  # what the last local phase gave, until it has been mixed
    since_any: float = 0.0  # steps since an exchange in any role
    since_own: float = 0.0  # steps since an exchange begun here
    phase_from: float = 0.0  # when the present phase began, and the last exchange landed
    exchanged_at: float = 0.0

    def land(self, start: Tensor, trained: Trained, rule: Pairwise | None, now: float) -> None:
        """A local phase that began at `start` has ended; what exchanges moved meanwhile is kept."""
        self.phase = Phase(start, torch.tensor(trained.work, dtype=torch.float64))
        moved = None if self.x is start else self.x - start
        self.x = trained.x if moved is None else trained.x + moved
        steps = len(trained.directions)
        self.opt = trained.state
        self.did(steps, trained.work, trained.samples)
        self.since_any += steps * self._share_after(self.exchanged_at, now)
        self.since_own += steps
        if rule is not None and self.pair is not None:
            self.pair = rule.trained(self.pair, torch.tensor(trained.directions, dtype=torch.float64))

    def _share_after(self, moment: float, now: float) -> float:
        """The part of the phase that ends now which lies after `moment`."""
        if moment <= self.phase_from or now <= self.phase_from:
            return 1.0
        return (now - moment) / (now - self.phase_from)

    def undo_drift(self, by: Tensor) -> None:
        """What came over an edge that is no more: the other end's opposite has left with it."""
        assert self.pair is not None
        self.pair = replace(self.pair, z=self.pair.z - by.to(self.pair.z.dtype))

    def move(self, by: Tensor, state: PairState, work_said: float, now: float) -> None:
        """An exchange has landed: x moves by D; u_bar may have grown while it was computed and is kept."""
        assert self.pair is not None
        self.x = self.x + by.to(self.x.dtype)
        self.pair = replace(state, u_bar=self.pair.u_bar)
        self.work_mark = max(self.work_mark, work_said)
        self.since_any = 0.0
        self.exchanged_at = now
