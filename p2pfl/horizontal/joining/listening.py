"""Before a newcomer trains: where its own data would pull it. Knows local phases that move nothing; no neighbour.

Theory of operation
-------------------
A node that has been here for long corrects its steps by z, which its exchanges have taught it: minus what its data pull
at, beside what everybody's do. A newcomer's z is zero, and must stay so, since the sum over all nodes is; so its first
phases would carry it away from the model that it has just fetched (docs/log.md has how far). Two things hold it:

- While it meets its first neighbours, it does `PHASES` phases from the model it fetched, with steps so small (`LIGHT`)
  that it stays there, and takes none of them. Their mean direction becomes a loan (`Local.lend`) beside z, which fades
  with each exchange.
- Its data count little at first (`Local.ease`), and the loan likewise.

Where updates are noised for privacy, light steps would drown in it: there only the latter is done.
"""

from math import isfinite

import torch

from p2pfl.core.noise import Key, derive
from p2pfl.core.party import Compute
from p2pfl.core.vectors import ParamSchema
from p2pfl.horizontal.model.local import Local
from p2pfl.horizontal.model.work import Train
from p2pfl.horizontal.pace.desk import Desk
from p2pfl.learn.training import Trained
from p2pfl.mixing import Mixer
from p2pfl.mixing.pairwise import Pairwise, own_pull

PHASES = 4
LIGHT = 1 / 16


class Listening:
    """`over` until `begin`, and again when enough has been learned."""

    def __init__(self, desk: Desk, local: Local, rule: Mixer, schema: ParamSchema) -> None:
        self.desk, self.local, self.rule, self.schema = desk, local, rule, schema
        self.left = 0  # phases
        self.task: Train | None = None

    @property
    def over(self) -> bool:
        return self.left == 0

    def begin(self, key: Key) -> None:
        if isinstance(self.rule, Pairwise) and self.rule.dual_gain:
            self.key, self.left = key, PHASES
            self._listen()

    def _listen(self) -> None:
        local, key = self.local, derive(self.key, "listen", self.left)
        self.task = Train(local.round, local.phase_steps, local.x, local.opt, None, key, LIGHT)
        self.desk.do(Compute(self.task))

    def trained(self, task: Train, trained: Trained) -> None:
        """One of its phases has ended."""
        assert isinstance(self.rule, Pairwise)
        assert self.local.pair is not None
        self.task = None
        if not isfinite(trained.loss):
            self.left = 0
            return
        lengths = torch.tensor(trained.directions, dtype=torch.float64) / LIGHT
        self.local.pair = self.rule.trained(self.local.pair, lengths)
        self.local.lend(own_pull(task.x, trained.x, trained.work * LIGHT * PHASES, self.schema))
        self.left -= 1
        if self.left:
            self._listen()
