"""Numbers that a network keeps as averages over its nodes, by the same exchanges that average the model. Pure.

    progress    local phases done. Its mean over the nodes is the mean number of phases per node: the run and its
                learning-rate schedule go by it, so fast machines do more and slow ones less, and all end together
    samples     training samples per node: what a node's own count is weighed against
    score       the mean of the nodes' newest evaluations (dynamic average consensus: a new value enters as its
                difference to the last; Zhu, Martinez 2010)
    stop_at     not an average but a minimum: the round at which all end, once the score has reached its target

In a pairwise exchange both ends state theirs with their half, and each moves by half the stated difference, whatever
has happened to it since: exactly what is done with the model, so the sums over the nodes are kept. A single exchange
moves each number by a bounded amount only, so that no neighbour ends a run or mutes the samples by one message.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from p2pfl.core.limits import ROUNDS_MAX

PROGRESS_PULL_MAX = 0.05
"""Of the run's rounds, by one exchange."""

SAMPLES_RATIO_MAX = 4.0
"""A neighbour's average counts as at most this many times, and at least this part of, one's own."""

SCORE_PULL_MAX = 0.25
"""Of the larger of the score and 1, by one exchange."""

NEVER = ROUNDS_MAX


class Stated(NamedTuple):
    """What one end says of them in a message."""

    progress: float
    samples: float
    score: float
    stop_at: int


@dataclass(frozen=True, slots=True)
class Averages:
    progress: float = 0.0
    samples: float = 1.0
    score: float = 0.0
    own_score: float = 0.0
    stop_at: int = NEVER

    def stated(self) -> Stated:
        return Stated(min(self.progress, float(ROUNDS_MAX)), self.samples, self.score, self.stop_at)

    def trained(self, phases: float) -> "Averages":
        return replace(self, progress=max(self.progress + phases, 0.0))

    def judged(self, score: float) -> "Averages":
        """A new evaluation of one's own."""
        return replace(self, score=self.score + score - self.own_score, own_score=score)

    def stopping(self, at: int) -> "Averages":
        return replace(self, stop_at=min(self.stop_at, at))

    def met(self, mine: Stated, other: Stated, rounds: int, weight: float = 0.5) -> "Averages":
        """After an exchange in which `mine` and `other` were said; `weight` is 1/2 for a pair."""
        other = _bounded(mine, other, rounds)
        return replace(
            self,
            progress=max(self.progress + weight * (other.progress - mine.progress), 0.0),
            samples=max(self.samples + weight * (other.samples - mine.samples), 1e-9),
            score=self.score + weight * (other.score - mine.score),
            stop_at=min(self.stop_at, max(other.stop_at, int(mine.progress) + 1)),
        )

    def gathered(self, mine: Stated, others: Sequence[Stated], weights: Sequence[float], rounds: int) -> "Averages":
        """After a round with rows of several neighbours, all against the same `mine`.

        Weights of one-way rows may add up to more than 1; then everybody heard counts alike, and so does oneself.
        """
        state = self
        if sum(weights) > 1:
            weights = [1 / (1 + len(others))] * len(others)
        for other, weight in zip(others, weights, strict=True):
            state = state.met(mine, other, rounds, weight)
        return state


def _bounded(mine: Stated, other: Stated, rounds: int) -> Stated:
    reach = 2 * PROGRESS_PULL_MAX * rounds
    span = 2 * SCORE_PULL_MAX * max(abs(mine.score), 1.0)
    return Stated(
        _clip(other.progress, mine.progress - reach, mine.progress + reach),
        _clip(other.samples, mine.samples / SAMPLES_RATIO_MAX, mine.samples * SAMPLES_RATIO_MAX),
        _clip(other.score, mine.score - span, mine.score + span),
        other.stop_at,
    )


def _clip(value: float, low: float, high: float) -> float:
    return min(max(value, low), high)
