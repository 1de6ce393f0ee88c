"""The laws of a learner: pure, resumable, drift-corrected on weights only, clear about what it cannot train."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from p2pfl.core.noise import derive, root
from p2pfl.errors import ConfigError, TrainingError
from p2pfl.learn.data import Data, Splits, hold_out, split
from p2pfl.learn.datasets import load
from p2pfl.learn.flat import FlatModel, ModelFactory
from p2pfl.learn.learner import TorchLearner
from p2pfl.learn.models import build
from p2pfl.learn.optim import SGD, Adam, Momentum, Optimizer
from p2pfl.learn.schedule import Constant, Cosine
from p2pfl.learn.training import Training

KEY = root(5)
N, CLASSES = 22, 3


def toy(n: int = N) -> Splits:
    g = torch.Generator().manual_seed(2)
    x = torch.randn(n, 6, generator=g)
    data = Data(x, (x[:, 0] > 0).long() + (x[:, 1] > 0).long(), "toy", ("a", "b", "c"))
    return Splits(data, data.subset(torch.arange(min(n, 5))), data.subset(torch.arange(0)))


def net() -> nn.Module:
    return nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.3), nn.Linear(8, CLASSES))


def learner(
    factory: ModelFactory = net, optimizer: Optimizer | None = None, lr: float = 0.1, dtype: torch.dtype = torch.float32
) -> TorchLearner:
    training = Training(100, batch_size=4, lr=lr, optimizer=optimizer or Momentum(), schedule=Constant())
    return TorchLearner(FlatModel(factory, 1, "cpu", dtype), toy(), training)


def test_training_is_pure_and_a_function_of_its_key() -> None:
    one, two = learner(), learner()
    x = one.start()
    state, shift = one.init(x), torch.ones(one.model.num_weights)
    kept = [t.clone() for t in (x, shift, *state.slots.values())]
    torch.manual_seed(1)
    outside = torch.get_rng_state()
    first = one.train(x, state, shift, 7, 0, KEY)
    assert torch.equal(outside, torch.get_rng_state())
    one.train(first.x, first.state, shift, 3, 0, KEY)  # must leave no trace
    torch.manual_seed(2)
    for again in (one.train(x, state, shift, 7, 0, KEY), two.train(x, state, shift, 7, 0, KEY)):
        assert torch.equal(first.x, again.x)
        assert first.directions == again.directions
        assert first.loss == again.loss
    for was, now in zip(kept, (x, shift, *state.slots.values()), strict=True):
        assert torch.equal(was, now)
    assert not torch.equal(first.x, one.train(x, state, shift, 7, 0, root(6)).x)


@settings(max_examples=15)
@given(st.integers(0, 9), st.integers(0, 9), st.sampled_from([SGD(), Momentum(), Adam()]))
def test_resumed_steps_continue(a: int, b: int, optimizer: Optimizer) -> None:
    one = learner(optimizer=optimizer)
    x = one.start()
    whole = one.train(x, one.init(x), None, a + b, 0, KEY)
    first = one.train(x, one.init(x), None, a, 0, KEY)
    fresh = learner(optimizer=optimizer)  # a restarted process
    second = fresh.train(first.x, first.state, None, b, 0, KEY)
    assert torch.equal(whole.x, second.x)
    assert whole.state.steps == second.state.steps == a + b
    assert whole.directions == first.directions + second.directions
    assert whole.work == pytest.approx(first.work + second.work)


def test_a_pass_uses_every_sample_at_most_once() -> None:
    one = learner()
    order, per_pass = derive(KEY, "order"), N // 4
    rows = {tuple(row.tolist()): i for i, row in enumerate(toy().train.x)}
    passes = [
        [
            rows[tuple(r.tolist())]
            for step in range(p * per_pass, (p + 1) * per_pass)
            for r in one._batch_at(order, step)[0]
        ]
        for p in range(4)
    ]
    assert all(len(set(p)) == len(p) == per_pass * 4 for p in passes)
    assert len({tuple(p) for p in passes}) == 4


def test_the_shift_is_taken_off_the_weights_only() -> None:
    one = learner(optimizer=SGD(), dtype=torch.float64)
    x, weights = one.start(), one.model.num_weights
    z = torch.linspace(-1, 1, one.schema.size, dtype=torch.float64)
    plain = one.train(x, one.init(x), None, 1, 0, KEY)
    shifted = one.train(x, one.init(x), z, 1, 0, KEY)
    torch.testing.assert_close(shifted.x[:weights], plain.x[:weights] - 0.1 * z[:weights])
    assert torch.equal(shifted.x[weights:], plain.x[weights:])
    assert torch.equal(one.train(x, one.init(x), z[:weights], 1, 0, KEY).x, shifted.x)
    assert shifted.directions == plain.directions
    with pytest.raises(ValueError, match="shift"):
        one.train(x, one.init(x), z[:3], 1, 0, KEY)


def test_directions_of_plain_descent_are_gradient_norms() -> None:
    one = learner(optimizer=SGD(), dtype=torch.float64)
    x, weights = one.start(), one.model.num_weights
    got = one.train(x, one.init(x), None, 1, 0, KEY)
    assert got.directions[0] == pytest.approx(float((got.x - x)[:weights].norm()) / 0.1)


def test_buffers_move_in_training_and_not_in_evaluation() -> None:
    one = learner()
    x, weights = one.start(), one.model.num_weights
    got = one.train(x, one.init(x), None, 2, 0, KEY)
    assert not torch.equal(got.x[weights:], x[weights:])
    kept = got.x.clone()
    first = one.evaluate(got.x, "train")
    assert torch.equal(kept, got.x)
    assert one.evaluate(got.x, "train") == first  # no dropout, no moving statistics


def test_frozen_layers_stay() -> None:
    def frozen() -> nn.Module:
        module = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, CLASSES))
        module[0].requires_grad_(False)
        return module

    one = learner(frozen)
    before = one.model.module[0].weight.clone()
    x = one.start()
    got = one.train(x, one.init(x), None, 5, 0, KEY)
    assert torch.equal(before, one.model.module[0].weight)
    assert not torch.equal(got.x, x)


def test_a_parameter_that_nothing_uses_has_gradient_0() -> None:
    class Spare(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.lin = nn.Linear(6, CLASSES)
            self.spare = nn.Parameter(torch.ones(2))

        def forward(self, x: Tensor) -> Tensor:
            return self.lin(x)

    one = learner(Spare)
    x = one.start()
    at = [p.name for p in one.schema.params].index("spare")
    pieces = torch.split(one.train(x, one.init(x), None, 3, 0, KEY).x, one.schema.sizes)
    assert pieces[at].tolist() == [1, 1]


def test_reports_add_up() -> None:
    one = learner()
    x = one.start()
    got = one.train(x, one.init(x), None, 6, 0, KEY)
    assert (got.samples, got.state.steps, len(got.directions)) == (24, 6, 6)
    assert got.work == pytest.approx(0.6)
    assert got.accuracy is not None
    assert 0 <= got.accuracy <= 1
    assert one.num_samples("train") == N
    evaluation = one.evaluate(x, "validation")
    assert evaluation.num_samples == 5
    with pytest.raises(ConfigError, match="no test samples"):
        one.evaluate(x, "test")
    nothing = one.train(x, one.init(x), None, 0, 0, KEY)
    assert torch.equal(nothing.x, x)
    assert nothing.work == 0


def test_the_rate_follows_the_schedule() -> None:
    training = Training(10, lr=0.5, schedule=Cosine(0.1))
    one = TorchLearner(FlatModel(net, 1, "cpu"), toy(), training)
    assert one.lr_at(0) == 0.5
    assert one.lr_at(10) == pytest.approx(0.05)
    assert one.train(one.start(), one.init(one.start()), None, 2, 5, KEY).work == pytest.approx(2 * one.lr_at(5))


def test_divergence_is_one_clear_line() -> None:
    one = learner(lambda: nn.Sequential(nn.Linear(6, 8), nn.Linear(8, CLASSES)), SGD(), lr=1e30)
    x = one.start()
    with pytest.raises(TrainingError, match=r"^round 3, step \d: .*; try a learning rate below 1e\+30$"):
        one.train(x, one.init(x), None, 9, 3, KEY)


@pytest.mark.parametrize(
    ("factory", "words"),
    [
        (lambda: nn.Linear(6, 5), r"expected the model to give \(3,\) a sample, got \(5,\)"),
        (lambda: nn.Linear(7, 3), r"does not take inputs of shape \(6,\)"),
        (lambda: nn.LSTM(6, 3), "expected the model to return one tensor, got tuple"),
    ],
)
def test_a_model_that_does_not_fit_the_data(factory: ModelFactory, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        learner(factory)


def test_small_shares_are_whole_batches() -> None:
    one = TorchLearner(FlatModel(lambda: nn.Linear(6, 3), 1, "cpu"), toy(3), Training(5, batch_size=32))
    assert one.train(one.start(), one.init(one.start()), None, 4, 0, KEY).samples == 12


def test_regression_has_no_accuracy() -> None:
    x = torch.linspace(-1, 1, 40).unsqueeze(1)
    data = Data(x, 3 * x[:, 0] + 1, "line")
    training = Training(10, lr=0.3, schedule=Constant())
    one = TorchLearner(FlatModel(lambda: nn.Linear(1, 1), 0, "cpu"), Splits(data, data, data), training)
    got = one.train(one.start(), one.init(one.start()), None, 200, 0, KEY)
    assert got.accuracy is None
    evaluation = one.evaluate(got.x, "test")
    assert evaluation.accuracy is None
    assert evaluation.loss < 1e-4
    torch.testing.assert_close(got.x, torch.tensor([3.0, 1.0]), atol=0.05, rtol=0)


def test_sequences_count_every_position() -> None:
    tokens = torch.arange(60).reshape(10, 6) % 4
    data = Data(tokens, (tokens + 1) % 4, "cycle", tuple("abcd"))
    training = Training(10, lr=0.05, optimizer=Adam(), schedule=Constant())
    one = TorchLearner(
        FlatModel(lambda: nn.Sequential(nn.Embedding(4, 8), nn.Linear(8, 4)), 0, "cpu"),
        Splits(data, data, data),
        training,
    )
    got = one.train(one.start(), one.init(one.start()), None, 60, 0, KEY)
    assert got.accuracy is not None
    assert 0.5 < got.accuracy <= 1
    assert one.evaluate(got.x, "test").accuracy == 1


def test_digits_learned_in_one_place() -> None:
    """The ceiling that the network is compared with: at least 97 % on samples held out."""
    held = hold_out(load("digits", Path()), root(1))
    splits = split(held.train, torch.arange(len(held.train)), held.test, root(1), validation=0.1)
    model = FlatModel(build("mlp", Path(), held.train.input_shape, held.train.num_outputs), 0, "cpu")
    one = TorchLearner(model, splits, Training(20, lr=0.5))
    x = one.start()
    state = one.init(x)
    for round_ in range(20):
        trained = one.train(x, state, None, 40, round_, KEY)
        x, state = trained.x, trained.state
    test, validation = one.evaluate(x, "test"), one.evaluate(x, "validation")
    assert test.accuracy is not None
    assert test.accuracy >= 0.97
    assert validation.num_samples == round(0.1 * len(held.train))


def test_a_learner_of_another_batch_size_is_as_if_it_had_been_made_with_it() -> None:
    one = learner()
    small = one.sized(2)
    made = TorchLearner(one.model, toy(), replace(one.training, batch_size=2))
    x = one.start()
    for steps in (3, 5):
        usual = one.train(x, one.init(x), None, steps, 0, KEY)
        there, here = (each.train(x, each.init(x), None, steps, 0, KEY) for each in (made, small))
        assert torch.equal(there.x, here.x)
        assert (here.samples, usual.samples) == (2 * steps, 4 * steps)
        assert not torch.equal(here.x, usual.x)
    assert small.sized(4) is one
    assert one.sized(10**6).train(x, one.init(x), None, 1, 0, KEY).samples == one.num_samples("train")
