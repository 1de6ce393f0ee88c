"""FedProx and FedNova's normalisation as options of a local phase."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from p2pfl.core.noise import root
from p2pfl.errors import ConfigError
from p2pfl.learn.data import Data, Splits
from p2pfl.learn.flat import FlatModel
from p2pfl.learn.learner import TorchLearner
from p2pfl.learn.optim import Momentum
from p2pfl.learn.schedule import Constant
from p2pfl.learn.training import Trained, Training

PLAIN = Training(10, batch_size=8, lr=0.05, schedule=Constant())


def trained(training: Training, steps: int, shift: float = 0.0) -> tuple[torch.Tensor, Trained]:
    draw = torch.Generator().manual_seed(1)
    data = Data(torch.randn(32, 4, generator=draw), torch.randn(32, 1, generator=draw), "numbers")
    empty = data.subset(torch.arange(0))
    model = FlatModel(lambda: nn.Linear(4, 1), seed=2, device="cpu", dtype=torch.float64)
    learner = TorchLearner(model, Splits(data, empty, empty), training)
    x = learner.start()
    z = torch.full_like(x, shift) if shift else None
    return x, learner.train(x, learner.init(x), z, steps, 0, root(3))


def test_without_the_options_nothing_changes():
    assert torch.equal(trained(PLAIN, 6)[1].x, trained(replace(PLAIN, prox_mu=0.0, normalise=0.0), 6)[1].x)


def test_the_first_step_feels_no_prox():
    assert torch.equal(trained(PLAIN, 1)[1].x, trained(replace(PLAIN, prox_mu=3.0), 1)[1].x)


def test_prox_is_the_gradient_of_the_squared_distance():
    """Two steps by hand: x2 = x1 - lr (g(x1) + mu (x1 - x0)), and g(x1) from the run without it."""
    x0, one = trained(PLAIN, 1)
    _, two = trained(PLAIN, 2)
    _, held = trained(replace(PLAIN, prox_mu=4.0), 2)
    assert torch.allclose(held.x, two.x - 0.05 * 4.0 * (one.x - x0), rtol=0, atol=1e-14)


def test_prox_holds_a_phase_near_its_start():
    moves = [float((t.x - x).norm()) for x, t in (trained(replace(PLAIN, prox_mu=mu), 40) for mu in (0.0, 1.0, 10.0))]
    assert moves[0] > moves[1] > moves[2]


@pytest.mark.parametrize("optimizer", [PLAIN.optimizer, Momentum(0.9)])
@pytest.mark.parametrize("shift", [0.0, 0.3])
def test_a_normalised_phase_counts_as_so_many_steps(optimizer, shift):
    plain = replace(PLAIN, optimizer=optimizer)
    x, whole = trained(plain, 12, shift)
    _, part = trained(replace(plain, normalise=3), 12, shift)
    assert torch.allclose(part.x - x, (whole.x - x) / 4, rtol=0, atol=1e-14)
    assert part.work == pytest.approx(whole.work / 4)
    assert part.directions == whole.directions
    assert part.samples == whole.samples


def test_a_phase_of_that_length_is_as_it_is():
    assert torch.equal(trained(replace(PLAIN, normalise=5), 5)[1].x, trained(PLAIN, 5)[1].x)


def test_running_statistics_are_not_stretched():
    draw = torch.Generator().manual_seed(1)
    data = Data(torch.randn(32, 4, generator=draw), torch.randn(32, 1, generator=draw), "numbers")
    empty = data.subset(torch.arange(0))
    model = FlatModel(lambda: nn.Sequential(nn.BatchNorm1d(4), nn.Linear(4, 1)), seed=2, device="cpu")
    ends = []
    for normalise in (0.0, 50.0):
        learner = TorchLearner(model, Splits(data, empty, empty), replace(PLAIN, lr=1e-9, normalise=normalise))
        x = learner.start()
        ends.append(learner.train(x, learner.init(x), None, 2, 0, root(3)).x[model.num_weights :])
    assert torch.allclose(ends[0], ends[1], rtol=1e-5)


@pytest.mark.parametrize("name", ["prox_mu", "normalise"])
@pytest.mark.parametrize("value", [-1.0, float("nan"), float("inf")])
def test_a_number_of_at_least_zero_is_asked_for(name, value):
    with pytest.raises(ConfigError, match=name):
        replace(PLAIN, **{name: value})
