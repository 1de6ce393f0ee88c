"""The promise against somebody who tests it: canaries in a private learner's training.

The strongest canary there is: an example whose gradient, clipped, is as long as a gradient can be and points where no
other does, and an observer who sees every step's model. The audit must stay below the claimed epsilon, and must rise
above it where the training is broken in any of the ways that happen: so the audit bites.
"""

from dataclasses import replace

import pytest
import torch
from torch import nn

from p2pfl.core.noise import Key, derive, root
from p2pfl.learn.data import Data, Splits
from p2pfl.learn.flat import FlatModel
from p2pfl.learn.private import PrivateLearner, Privately
from p2pfl.learn.private_update import PrivateUpdates
from p2pfl.learn.training import Trained, Training
from p2pfl.privacy.accounting import Event, epsilon_tight
from p2pfl.privacy.audit import epsilon_of_means, epsilon_seen, lower

pytest.importorskip("dp_accounting", reason="needs dp-accounting: pip install 'p2pfl-node[privacy]'")

DELTA, STEPS, TRIALS, WIDTH = 1e-3, 4, 150, 6
PRIVATELY = Privately(clip=1.0, noise=1.5, rate=1.0)


def fraction(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """A loss whose gradient is the input: what a canary's is, is known."""
    return (outputs.squeeze(-1) * targets).mean()


def data(canary: bool, size: float = 50.0) -> Data:
    """Ordinary examples move the first weights, the canary the last one, by a gradient of length `size`."""
    x = torch.zeros(12, WIDTH)
    x[:, 0] = 0.3
    x[-1] = 0
    x[-1, -1] = size if canary else 0.0  # zero-out: the example is there and adds nothing
    return Data(x, torch.ones(12), "canaries")


def make(canary: bool, privately: Privately = PRIVATELY) -> PrivateLearner:
    own = data(canary)
    model = FlatModel(lambda: nn.Linear(WIDTH, 1, bias=False), device="cpu", dtype=torch.float64)
    splits = Splits(own, own.subset(torch.arange(0)), own.subset(torch.arange(0)))
    learner = PrivateLearner(model, splits, Training(10, lr=0.1, loss=fraction), privately)
    object.__setattr__(learner.clipper, "way", "ghost")  # a mean over examples, which a loss of one's own need not be
    return learner


def scores(learner: PrivateLearner | PrivateUpdates, label: str, trials: int = TRIALS) -> list[float]:
    """How far each run moved the canary's weight."""
    x, found = learner.start(), []
    for trial in range(trials):
        trained = learner.train(x, learner.init(x), None, STEPS, 0, derive(root(7), label, trial))
        found.append(float(x[-1] - trained.x[-1]))
    return found


def audited(privately: Privately = PRIVATELY, break_it=lambda learner: None) -> float:
    sides = []
    for canary in (True, False):
        learner = make(canary, privately)
        break_it(learner)
        sides.append(scores(learner, str(canary)))
    return epsilon_of_means(*sides, DELTA)


def claimed(privately: Privately = PRIVATELY) -> float:
    return epsilon_tight([Event(privately.noise, privately.rate, STEPS)], DELTA)


def test_the_audit_stays_below_the_claim_and_comes_near_it() -> None:
    assert 0.5 * claimed() < audited() <= claimed()


@pytest.mark.slow
def test_it_rises_above_the_claim_when_the_noise_is_halved() -> None:
    assert audited(replace(PRIVATELY, noise=PRIVATELY.noise / 2)) > claimed()


@pytest.mark.slow
def test_it_rises_above_the_claim_when_the_noise_is_taken_away() -> None:
    assert audited(replace(PRIVATELY, noise=1e-6)) > 100 * claimed()


@pytest.mark.slow
def test_it_rises_above_the_claim_when_the_clip_is_broken() -> None:
    def unclipped(learner: PrivateLearner) -> None:
        object.__setattr__(learner.clipper, "clip", 1e9)

    assert audited(break_it=unclipped) > 10 * claimed()


class Whole(PrivateLearner):
    """Takes everybody in every step, whatever the rate says."""

    def drawn(self, key: Key) -> torch.Tensor:
        return torch.arange(len(self._train))


@pytest.mark.slow
def test_it_rises_above_the_claim_when_the_sampler_is_broken() -> None:
    sampled = Privately(clip=1.0, noise=1.5, rate=0.2)

    def greedy(learner: PrivateLearner) -> None:
        learner.__class__ = Whole

    assert audited(sampled) <= claimed(sampled)
    assert audited(sampled, greedy) > claimed(sampled)


@pytest.mark.slow
def test_groups_need_twice_the_noise_and_have_it() -> None:
    """An example that turns its group's gradient round: 2C, hidden by twice the noise; with once the noise it shows."""
    turned = Privately(clip=1.0, noise=1.0, rate=1.0, group=12)
    sides = {}
    for halved in (False, True):
        found = []
        for canary in (True, False):
            own = data(False)
            own.x[:, -1], own.y[:] = 1.0, -1.0
            own.x[-1, -1] = 5000.0 if canary else 0.0
            own.y[-1] = 1.0
            model = FlatModel(lambda: nn.Linear(WIDTH, 1, bias=False), device="cpu", dtype=torch.float64)
            empty = own.subset(torch.arange(0))
            learner = PrivateLearner(model, Splits(own, empty, empty), Training(10, lr=0.1, loss=fraction), turned)
            if halved:
                learner.privately = replace(turned, noise=turned.noise / 2)
            found.append(scores(learner, f"groups {canary}"))
        sides[halved] = epsilon_of_means(*found, DELTA)
    assert 0.5 * claimed(turned) < sides[False] <= claimed(turned)
    assert sides[True] > claimed(turned)


def test_a_nodes_whole_update_is_hidden_too() -> None:
    class Loud:
        """A learner whose update is all in one direction, if it has its data."""

        def __init__(self, here: bool) -> None:
            self.here, self.plain = here, make(False)

        def __getattr__(self, name: str):
            return getattr(self.plain, name)

        def train(self, x, state, shift, steps, round, key, weight=1.0):
            moved = x.clone()
            moved[-1] -= 100.0 * self.here
            return Trained(moved, state, 0.4, (1.0,) * steps, 0.0, steps, None)

    promise = epsilon_tight([Event(2.0, 1.0, 1)], DELTA)
    sides = {
        s: [scores(PrivateUpdates(Loud(here), 1.0, s), f"loud {here}", 1500) for here in (True, False)]
        for s in (2.0, 1.0)
    }
    assert 0.5 * promise < epsilon_of_means(*sides[2.0], DELTA) <= promise
    assert epsilon_of_means(*sides[1.0], DELTA) > promise


@pytest.mark.slow
def test_guesses_alone_bound_epsilon_from_below() -> None:
    quiet = replace(PRIVATELY, noise=4.0)
    private = [scores(make(canary, quiet), f"guess {canary}") for canary in (True, False)]
    bare = [scores(make(canary, replace(quiet, noise=0.2)), f"bare {canary}") for canary in (True, False)]
    assert epsilon_seen(*private, DELTA) <= claimed(quiet) < epsilon_seen(*bare, DELTA)
    assert epsilon_seen([0.0] * 50, [0.0] * 50, DELTA) == 0.0
    assert lower(10, 10, 0.95) == pytest.approx(0.05 ** (1 / 10))
    assert lower(0, 10, 0.95) == 0.0
