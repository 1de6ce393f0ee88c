"""How far a node is: steps, rounds and the averages it keeps with the others. Scalars only; knows no tensor."""

from dataclasses import dataclass, field, replace

from p2pfl.horizontal.terms.averages import NEVER, Averages
from p2pfl.horizontal.terms.workflow import StopRule


@dataclass(eq=False)
class Progress:
    """steps counts single local steps; a phase is `phase_steps` of them. The run ends by progress (averages.py)."""

    phase_steps: int
    rounds: int
    steps: int = 0
    averages: Averages = field(default_factory=Averages)
    finished: bool = False
    may_stop: bool = False  # the recipe has a stop rule
    work: float = 0.0  # learning rate summed over all steps so far
    work_mark: float = 0.0  # `work` when the q of the last exchange was made
    samples: int = 0

    @property
    def progress(self) -> float:
        return self.averages.progress

    @property
    def last_round(self) -> int:
        """The round at which the run ends: as planned, or earlier if the score has reached its target."""
        return min(self.rounds, self.averages.stop_at)

    @property
    def round(self) -> int:
        return self.last_round if self.finished else min(int(self.progress + 1e-9), self.last_round)

    def did(self, steps: int, work: float, samples: int) -> None:
        """So many local steps have been done."""
        self.steps += steps
        self.advance(steps / self.phase_steps)
        self.work += work
        self.samples += samples

    def advance(self, phases: float) -> None:
        self.settle(self.averages.trained(phases))

    def settle(self, averages: Averages) -> None:
        """The averages have moved; once finished, a node stays so. Where nobody may stop early, nobody's word does."""
        self.averages = averages if self.may_stop or averages.stop_at == NEVER else replace(averages, stop_at=NEVER)
        self.finished = self.finished or self.progress >= self.last_round - 1e-9

    def judged(self, rule: StopRule | None, loss: float, accuracy: float | None) -> int | None:
        """A model has been evaluated: its score enters the average. The round at which all end, if that is news."""
        score = None if rule is None else loss if rule.metric == "loss" else accuracy
        if rule is None or score is None or self.finished:
            return None
        self.averages = self.averages.judged(score)
        at = self.round + rule.margin
        if not rule.reached(self.averages.score) or self.averages.stop_at <= self.rounds or at >= self.rounds:
            return None
        self.averages = self.averages.stopping(at)
        return at
