"""A gossip node's own part: its model, optimiser and counters. Knows no neighbour.

`x` is replaced, never changed in place: a training task and an encoder may be looking at the old one.
"""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from p2pfl.learn.learner import Trained
from p2pfl.learn.optim import OptState
from p2pfl.mixing.pairwise import PairState, Pairwise

PULL_MAX = 0.05


@dataclass(eq=False)
class Local:
    """steps counts single local steps; a phase is `phase_steps` of them.

    progress is the number of phases done, averaged with the other end at every exchange exactly as the model is: its
    mean over the nodes is the mean number of phases per node. The run and its schedule go by it, so fast machines do
    more and slow ones less of the same run, and all end together. A single exchange moves it by PULL_MAX of the run
    at most, so that no neighbour ends a run by one message.
    """

    x: Tensor  # (P,)
    opt: OptState
    phase_steps: int
    rounds: int
    steps: int = 0
    progress: float = 0.0
    finished: bool = False
    pair: PairState | None = None  # the default rule's node state
    work: float = 0.0  # learning rate summed over all steps so far
    work_mark: float = 0.0  # `work` when the q of the last exchange was made
    since_any: float = 0.0  # steps since an exchange in any role
    since_own: float = 0.0  # steps since an exchange begun here
    phase_from: float = 0.0  # when the present phase began, and the last exchange landed, in the time of `now`
    exchanged_at: float = 0.0
    samples: int = 0

    @property
    def round(self) -> int:
        return self.rounds if self.finished else min(int(self.progress + 1e-9), self.rounds)

    def land(self, start: Tensor, trained: Trained, rule: Pairwise | None, now: float) -> None:
        """A local phase that began at `start` has ended; what exchanges moved meanwhile is kept."""
        moved = None if self.x is start else self.x - start
        self.x = trained.x if moved is None else trained.x + moved
        steps = len(trained.directions)
        self.opt = trained.state
        self.steps += steps
        self.advance(steps / self.phase_steps)
        self.since_any += steps * self._share_after(self.exchanged_at, now)
        self.since_own += steps
        self.work += trained.work
        self.samples += trained.samples
        if rule is not None and self.pair is not None:
            self.pair = rule.trained(self.pair, torch.tensor(trained.directions, dtype=torch.float64))

    def advance(self, by: float) -> None:
        self.progress = max(self.progress + by, 0.0)
        self.finished = self.finished or self.progress >= self.rounds - 1e-9

    def _share_after(self, moment: float, now: float) -> float:
        """The part of the phase that ends now which lies after `moment`."""
        if moment <= self.phase_from or now <= self.phase_from:
            return 1.0
        return (now - moment) / (now - self.phase_from)

    def move(self, by: Tensor, state: PairState, work_said: float, pull: float, now: float) -> None:
        """An exchange has landed: x moves by D, progress by `pull`; u_bar may have grown meanwhile and is kept."""
        assert self.pair is not None
        self.x = self.x + by.to(self.x.dtype)
        self.pair = replace(state, u_bar=self.pair.u_bar)
        self.work_mark = max(self.work_mark, work_said)
        self.since_any = 0.0
        self.exchanged_at = now
        bound = PULL_MAX * self.rounds
        self.advance(min(max(pull, -bound), bound))
