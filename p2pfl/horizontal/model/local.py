"""A gossip node's own part: its model, optimiser and counters. Knows no neighbour.

`x` is replaced, never changed in place: a training task and an encoder may be looking at the old one.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from p2pfl.core.ids import NodeId
from p2pfl.horizontal.terms.progress import Progress
from p2pfl.learn.optim import OptState
from p2pfl.learn.training import Trained
from p2pfl.mixing.pairwise import PairState, Pairwise
from p2pfl.mixing.rows import Phase, State

MET_MAX = 32
"""Exchanges after which a node is no newcomer."""
LOAN_KEPT = 0.95
"""Of a loan, at each exchange: slower than z learns."""
LOAN_SPENT = 0.01
"""Of a mean update: less is nothing."""


@dataclass(eq=False, kw_only=True)
class Local(Progress):
    """What a node keeps between events. Times are those of `now`."""

    x: Tensor  # (P,)
    opt: OptState
    extra: int = 0  # rounds since the last local phase, for exchanges only
    pair: PairState | None = None  # the default rule's node state
    rows: State = field(default_factory=dict)  # a neighbourhood rule's node state
    phase: Phase | None = None  # what the last local phase gave, until it has been mixed
    similarity: Mapping[NodeId, float] = field(default_factory=dict)  # of the neighbours in the last mix, by some rules
    since_any: float = 0.0  # steps since an exchange in any role
    since_own: float = 0.0  # steps since an exchange begun here
    met: int = MET_MAX  # exchanges since it came late
    loan: Tensor | None = None  # (P,) added to the drift correction for a while; see `lend`
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
        self._repay()
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
        """What came over an edge that is no more: the other end's opposite has left with it. It fades as a loan."""
        assert self.pair is not None
        self.pair = replace(self.pair, z=self.pair.z - by.to(self.pair.z.dtype))
        self.lend(by)

    def lend(self, by: Tensor) -> None:
        """Correct by so much more, less with every exchange.

        The corrections z of all nodes must sum to zero, so what one end alone gains or loses cannot stay in them; but
        this node's data pull as they did. The loan holds against them until exchanges have taught z the same.
        """
        assert self.pair is not None
        by = by.to(self.pair.z.dtype)
        self.loan = by if self.loan is None else self.loan + by

    def shift(self, rule: Pairwise) -> Tensor:
        """The drift correction of the next local phase, (P,)."""
        assert self.pair is not None
        return rule.shift(self.pair, None if self.loan is None else self.loan * self.ease)

    @property
    def ease(self) -> float:
        """How much its own data count: of one that came late, little until z has learned to hold against them."""
        return min((1 + self.met) / MET_MAX, 1.0)

    def _repay(self) -> None:
        if self.loan is not None and self.pair is not None:
            loan = self.loan * LOAN_KEPT
            spent = float(torch.linalg.vector_norm(loan)) <= LOAN_SPENT * float(self.pair.u_bar)
            self.loan = None if spent else loan

    def move(self, by: Tensor, state: PairState, work_said: float, now: float) -> None:
        """An exchange has landed: x moves by D; u_bar may have grown while it was computed and is kept."""
        assert self.pair is not None
        self.x = self.x + by.to(self.x.dtype)
        self.pair = replace(state, u_bar=self.pair.u_bar)
        self.met = min(self.met + 1, MET_MAX)
        self.work_mark = max(self.work_mark, work_said)
        self.since_any = 0.0
        self.exchanged_at = now
