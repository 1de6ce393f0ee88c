"""When a node judges its model, what it tells of that, and when that ends the run. Knows no exchange.

A model is judged when the round has been exchanged: right after its local steps a model says more of the node's own
data than of what the network has learned. In lockstep the next phase waits for that (it would on the same lane); at the
async pace the judgement takes the model that the next exchange leaves, or, if none comes, that of the next round.
"""

from typing import Any

from p2pfl.core.party import Compute
from p2pfl.horizontal.model.local import Local
from p2pfl.horizontal.model.work import Evaluate
from p2pfl.horizontal.pace.desk import Desk
from p2pfl.horizontal.plan import Plan
from p2pfl.learn.training import Evaluation


class Judging:
    """`last`: the newest evaluation of each split. `due`: one is to be made once the round has been exchanged."""

    def __init__(self, plan: Plan, desk: Desk, local: Local) -> None:
        self.plan, self.desk, self.local = plan, desk, local
        self.last: dict[str, Evaluation] = {}
        self.running = False
        self.due = False
        self._next = plan.eval_every

    def round_over(self, round_: int) -> None:
        """Is it time for one?"""
        every = self.plan.eval_every
        if self.due:  # no exchange landed in all of this round
            self.begin_due()
        elif every and round_ >= self._next and not self.running and round_ < self.local.rounds:
            self._next = round_ + every
            self.due = True

    def begin_due(self) -> None:
        self.due = False
        self.begin()

    def begin(self) -> None:
        if not self.running:
            self.running = True
            self.desk.do(Compute(Evaluate(self.local.round, self.local.x, self.plan.splits, self.local.opt)))

    def done(self, task: Evaluate, results: dict[str, Evaluation]) -> None:
        self.running = False
        self.last = results
        for split, result in results.items():
            fields: dict[str, Any] = {"round": task.round, "split": split, "loss": result.loss}
            if result.accuracy is not None:
                fields["accuracy"] = result.accuracy
            self.desk.emit("evaluation", **fields)
        first = next(iter(results.values()))  # validation if the node has one
        at = self.local.judged(self.plan.stop, first.loss, first.accuracy)
        if at is not None:
            self.desk.emit("stopping", score=self.local.averages.score, round=at)

    def told(self) -> dict[str, Any]:
        """The newest figures, for `status`."""
        return {split: {"loss": e.loss, "accuracy": e.accuracy} for split, e in self.last.items()}
