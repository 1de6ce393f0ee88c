"""Does a learner keep the laws of p2pfl/learn/learner.py? Knows the protocol, no model and no data."""

from math import isfinite

import torch
from torch import Tensor

from p2pfl.core.noise import root
from p2pfl.learn.learner import Learner
from p2pfl.learn.optim import OptState
from p2pfl.learn.training import Trained
from p2pfl.testing.expect import called, expect, expect_vector, near, same_bits

KEY = root(21)
NAMES = ("schema", "start", "start_digest", "init", "lr_at", "train", "evaluate", "num_samples")
STEPS = 4


def check_learner(learner: Learner) -> None:
    """Raises AssertionError, in one sentence, for the first law that `learner` breaks. Trains a few steps."""
    for name in NAMES:
        expect(hasattr(learner, name), f"expected {type(learner).__name__} to have {name!r}")
    x = _check_start(learner)
    state = called("init", learner.init, x)
    expect(isinstance(state, OptState), f"expected init to give an OptState, got {type(state).__name__}")
    trained = _check_training(learner, x, state)
    _check_pure(learner, x, state, trained)
    _check_goes_on(learner, x, state, trained)
    _check_shift(learner, x, state)
    _check_weight(learner, x, state)
    _check_evaluation(learner, x)


def _check_start(learner: Learner) -> Tensor:
    x = called("start", learner.start)
    expect(isinstance(x, Tensor), f"expected start to give a tensor, got {type(x).__name__}")
    assert isinstance(x, Tensor)
    expect_vector(x, learner.schema.size, x.dtype, "the starting model")
    expect(same_bits(learner.start(), x), "start gave two models: all nodes must begin with the same")
    digest = learner.start_digest()
    whole = isinstance(digest, bytes) and len(digest) == 32 and digest == learner.start_digest()
    expect(whole, "expected start_digest to give the same 32 bytes each time")
    for round_ in (0, 1):
        lr = learner.lr_at(round_)
        expect(isfinite(lr) and lr > 0, f"expected lr_at({round_}) to be a finite number above 0, got {lr}")
    return x


def _train(
    learner: Learner, x: Tensor, state: OptState, shift: Tensor | None, steps: int, weight: float = 1.0
) -> Trained:
    trained = called("train", lambda: learner.train(x, state, shift, steps, 0, KEY, weight=weight))
    expect(isinstance(trained, Trained), f"expected train to give a Trained, got {type(trained).__name__}")
    assert isinstance(trained, Trained)
    return trained


def _check_training(learner: Learner, x: Tensor, state: OptState) -> Trained:
    before, slots = x.clone(), {name: slot.clone() for name, slot in state.slots.items()}
    trained = _train(learner, x, state, None, STEPS)
    expect(same_bits(x, before), "train changed the model it was given: tensors are shared, never changed in place")
    kept = all(same_bits(state.slots[name], slot) for name, slot in slots.items())
    expect(kept, "train changed the state it was given: tensors are shared, never changed in place")
    expect_vector(trained.x, learner.schema.size, x.dtype, "the trained model")
    expect(trained.state.steps == state.steps + STEPS, f"expected the state to count {STEPS} steps more")
    count = len(trained.directions)
    expect(count == STEPS, f"expected a direction's norm for each of {STEPS} steps, got {count}")
    sound = all(isfinite(norm) and norm >= 0 for norm in trained.directions)
    expect(sound and isfinite(trained.work) and isfinite(trained.loss), "expected finite directions, work and loss")
    expect(trained.work > 0, f"expected work (the learning rate summed over the steps) above 0, got {trained.work}")
    return trained


def _check_pure(learner: Learner, x: Tensor, state: OptState, trained: Trained) -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(9)
        learner.evaluate(x, "train")
        again = _train(learner, x, state, None, STEPS)
        drawn = torch.rand(1)
        torch.manual_seed(9)
        expect(same_bits(drawn, torch.rand(1)), "train drew from torch's own generator, or seeded it: use the key")
    expect(same_bits(again.x, trained.x), "train gave two models for the same arguments: draw from `key` alone")


def _check_goes_on(learner: Learner, x: Tensor, state: OptState, trained: Trained) -> None:
    first = _train(learner, x, state, None, 1)
    rest = _train(learner, first.x, first.state, None, STEPS - 1)
    together = near(rest.x, trained.x, 1e-5)
    expect(together, f"1 step and then {STEPS - 1} do not give what {STEPS} steps give: a restart would change the run")


def _check_shift(learner: Learner, x: Tensor, state: OptState) -> None:
    """x' = x'(no shift) - work * shift after one step, on the weights."""
    weights = sum(group.size for group in learner.schema.groups if group.name == "weights")
    shift = torch.zeros_like(x)
    shift[:weights] = torch.linspace(-1.0, 1.0, weights, dtype=x.dtype)
    plain, moved = _train(learner, x, state, None, 1), _train(learner, x, state, shift, 1)
    right = near(moved.x[:weights], plain.x[:weights] - plain.work * shift[:weights], 1e-5)
    expect(right, "train does not take lr * shift off after the step: drift correction would do nothing, or harm")


def _check_weight(learner: Learner, x: Tensor, state: OptState) -> None:
    weights = sum(group.size for group in learner.schema.groups if group.name == "weights")
    whole, half = _train(learner, x, state, None, 1).x - x, _train(learner, x, state, None, 1, 0.5).x - x
    scaled = near(half[:weights], whole[:weights] / 2, 1e-5)
    expect(scaled, "train does not multiply the optimiser's step by `weight`: samples would not count as they should")


def _check_evaluation(learner: Learner, x: Tensor) -> None:
    count = learner.num_samples("train")
    expect(isinstance(count, int) and count > 0, f"expected num_samples('train') above 0, got {count}")
    one, two = called("evaluate", learner.evaluate, x, "train"), learner.evaluate(x, "train")
    expect(one == two, "evaluate gave two results for one model")
    expect(isfinite(one.loss) and one.num_samples == count, "expected a finite loss over all samples of the split")
