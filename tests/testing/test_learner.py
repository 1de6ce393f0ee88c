"""`check_learner` passes the built-in learner, and says what is wrong with one that breaks a law."""

from dataclasses import replace
from itertools import count
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from p2pfl.core.noise import root
from p2pfl.learn.data import Data, Splits, hold_out, split
from p2pfl.learn.datasets import digits
from p2pfl.learn.flat import FlatModel
from p2pfl.learn.learner import TorchLearner
from p2pfl.learn.models import cnn, mlp
from p2pfl.learn.optim import OPTIMIZERS, OptState
from p2pfl.learn.training import Evaluation, Trained, Training
from p2pfl.testing import check_learner

TURN = count()


@pytest.fixture(scope="module")
def splits() -> Splits:
    held = hold_out(digits(), root(0), 0.2)
    few: Data = held.train
    return split(few, torch.arange(200), held.test, root(1), 0.1)


def small() -> nn.Module:
    return mlp((1, 8, 8), 10, hidden=(12,), dropout=0.1)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_the_built_in_passes(splits: Splits, optimizer: str) -> None:
    check_learner(TorchLearner(FlatModel(small), splits, Training(5, 16, 0.05, OPTIMIZERS[optimizer]())))


def test_the_built_in_passes_with_running_statistics_in_float64(splits: Splits) -> None:
    model = FlatModel(lambda: cnn((1, 8, 8), 10, channels=(4,), hidden=8, norm="batch"), dtype=torch.float64)
    check_learner(TorchLearner(model, splits, Training(5, 16, 0.05)))


def in_place(self: TorchLearner, x: Tensor, *args: Any, **kwargs: Any) -> Trained:
    trained = TorchLearner.train(self, x, *args, **kwargs)
    x.add_(1.0)
    return trained


def dicing(self: TorchLearner, *args: Any, **kwargs: Any) -> Trained:
    trained = TorchLearner.train(self, *args, **kwargs)
    return replace(trained, x=trained.x + 1e-3 * torch.randn_like(trained.x))


def seeding(self: TorchLearner, *args: Any, **kwargs: Any) -> Trained:
    torch.manual_seed(0)
    return TorchLearner.train(self, *args, **kwargs)


def forgetful(self: TorchLearner, x: Tensor, state: OptState, *args: Any, **kwargs: Any) -> Trained:
    trained = TorchLearner.train(self, x, OptState(0, state.slots), *args, **kwargs)
    return replace(trained, state=replace(trained.state, steps=state.steps + len(trained.directions)))


def uncorrected(self: TorchLearner, x: Tensor, state: OptState, shift: Any, *args: Any, **kwargs: Any) -> Trained:
    return TorchLearner.train(self, x, state, None, *args, **kwargs)


def unweighted(self: TorchLearner, *args: Any, weight: float = 1.0) -> Trained:
    return TorchLearner.train(self, *args)


def without_weight(self: TorchLearner, x: Any, state: Any, shift: Any, steps: Any, round: Any, key: Any) -> Trained:
    return TorchLearner.train(self, x, state, shift, steps, round, key)


def idle(self: TorchLearner, *args: Any, **kwargs: Any) -> Trained:
    return replace(TorchLearner.train(self, *args, **kwargs), work=0.0)


def silent(self: TorchLearner, *args: Any, **kwargs: Any) -> Trained:
    return replace(TorchLearner.train(self, *args, **kwargs), directions=())


def wandering(self: TorchLearner) -> Tensor:
    return TorchLearner.start(self) + torch.rand(())


def some(self: TorchLearner, x: Tensor, split: Any) -> Evaluation:
    return Evaluation(float(next(TURN)), None, 3)


@pytest.mark.parametrize(
    ("name", "wrong", "sentence"),
    [
        ("train", in_place, "changed the model"),
        ("train", dicing, "two models for the same arguments|own generator"),
        ("train", seeding, "torch's own generator"),
        ("train", forgetful, "a restart would change the run"),
        ("train", uncorrected, "drift correction"),
        ("train", unweighted, "by `weight`"),
        ("train", without_weight, "unexpected keyword argument 'weight'"),
        ("train", idle, "work"),
        ("train", silent, "a direction's norm for each"),
        ("start", wandering, "two models: all nodes"),
        ("start_digest", lambda self: b"short", "32 bytes"),
        ("lr_at", lambda self, round: float("nan"), "lr_at"),
        ("init", lambda self, x: {}, "OptState"),
        ("evaluate", some, "two results"),
        ("num_samples", lambda self, split: 0, "num_samples"),
    ],
    ids=lambda value: getattr(value, "__name__", value),
)
def test_a_broken_law_is_said_in_one_sentence(splits: Splits, name: str, wrong: Any, sentence: str) -> None:
    kind = type("Broken", (TorchLearner,), {name: wrong})
    with pytest.raises(AssertionError, match=sentence) as caught:
        check_learner(kind(FlatModel(small), splits, Training(5, 16, 0.05)))
    assert "\n" not in str(caught.value)
