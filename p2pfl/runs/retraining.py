"""What coalitions of nodes would have learned: each trained anew, and who is worth what by that. Knows learners.

v(S): accuracy (or the negative loss) on the judge's examples of a model that the members of S trained together by
FedAvg (McMahan et al. 2017, algorithm 1, all clients each round) from the network's start; v(nobody) is the start's.
Shapley values of this game are what nodes' data are worth to a network that could see all: the ledger's scores are
estimates of something like it, made by nodes that see little. A node that puts nothing in is no player, and worth 0.

Differs from the network's own training in: no gossip, no codec, no drift correction, and far fewer steps.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from p2pfl.assemble.network import Shared
from p2pfl.core.noise import derive, root
from p2pfl.errors import ConfigError
from p2pfl.learn.data import SplitName
from p2pfl.learn.learner import Learner
from p2pfl.runs.holdings import Holding
from p2pfl.valuation import Estimate, exact, permutations
from p2pfl.valuation.shapley import PLAYERS_MAX

EXACT_PLAYERS = 8
"""Up to so many players all coalitions are trained: 256."""
TOLERANCE = 5e-3
STEPS = 10
"""Local steps of a round, at least."""


@dataclass(frozen=True, slots=True)
class Retrained:
    """values: by node, in the document's order. evaluations: coalitions trained."""

    values: tuple[float, ...]
    estimator: str
    evaluations: int
    examples: int


class Retraining:
    """The game. `value` of a list of players trains them together for `rounds` rounds."""

    def __init__(self, learners: Sequence[Learner], judge: Callable[[torch.Tensor], float], rounds: int, steps: int):
        self.learners, self.judge, self.rounds, self.steps = learners, judge, rounds, steps

    def value(self, players: Sequence[int]) -> float:
        x = self.learners[0].start()
        states = {i: self.learners[i].init(x) for i in players}
        for number in range(self.rounds if players else 0):
            trained = [
                self.learners[i].train(x, states[i], None, self.steps, number, derive(root(0), "again", i))
                for i in players
            ]
            states = {i: found.state for i, found in zip(players, trained, strict=True)}
            x = torch.stack([found.x for found in trained]).mean(0)
        return self.judge(x)


def retrain(
    shared: Shared,
    held: Sequence[Holding],
    judge: int,
    split: SplitName,
    rounds: int,
    orders: int,
    on_step: Callable[[int, int], None] = lambda done, of: None,
) -> Retrained:
    """Who is worth what by retraining; `judge`: whose examples of `split` say how good a model is.

    Raises ConfigError if there are too many players, or some node's data are not at hand.
    """
    players = [index for index, holding in enumerate(held) if holding.strategy.works]
    if len(players) > PLAYERS_MAX:
        raise ConfigError(f"retraining: expected at most {PLAYERS_MAX} nodes that work, got {len(players)}")
    learners = [shared.learner(held[i].splits(shared.config), held[i].train) for i in players]
    judging = shared.learner(held[judge].splits(shared.config), held[judge].train)
    steps = max([STEPS, *(held[i].train.steps or 0 for i in players)])
    game = Retraining(learners, lambda x: goodness(judging, x, split), rounds, steps)
    done = 0

    def value(mask: int) -> float:
        nonlocal done
        done += 1
        on_step(done, 1 << len(players))
        return game.value([place for place in range(len(players)) if mask >> place & 1])

    found = _estimate(len(players), value, orders)
    values = dict(zip(players, found.values, strict=True))
    everybody = tuple(values.get(index, 0.0) for index in range(len(held)))
    return Retrained(everybody, found.name, found.evaluations, judging.num_samples(split))


def _estimate(num_players: int, value: Callable[[int], float], orders: int) -> Estimate:
    if num_players <= EXACT_PLAYERS:
        return exact(num_players, value)
    return permutations(num_players, value, derive(root(0), "retraining"), orders, TOLERANCE)


def goodness(learner: Learner, x: torch.Tensor, split: SplitName) -> float:
    """Accuracy, or the negative loss where there is none."""
    judged = learner.evaluate(x, split)
    return -judged.loss if judged.accuracy is None else judged.accuracy
