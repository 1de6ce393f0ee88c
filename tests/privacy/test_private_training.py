"""DP-SGD: the three ways to clip agree, one example changes the sum by no more than is said, draws are what they are
said to be, and what cannot be private is refused."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from p2pfl.core.noise import derive, root
from p2pfl.errors import ConfigError
from p2pfl.learn.data import Data, Splits
from p2pfl.learn.flat import FlatModel
from p2pfl.learn.losses import cross_entropy
from p2pfl.learn.models import cnn, mlp
from p2pfl.learn.private import PrivateLearner, Privately
from p2pfl.learn.private_clip import Clipper, chosen
from p2pfl.learn.private_draw import groups, normal_, poisson
from p2pfl.learn.recurrent import gru
from p2pfl.learn.training import Training
from p2pfl.testing import check_learner

KEY = root(5)


def images(count: int, shape: tuple[int, ...] = (1, 8, 8), classes: int = 10) -> Data:
    gen = torch.Generator().manual_seed(count)
    x, y = torch.randn(count, *shape, generator=gen), torch.randint(classes, (count,), generator=gen)
    return Data(x, y, "random", tuple(map(str, range(classes))))


def learner(
    count: int = 40, factory=lambda: mlp((1, 8, 8), 10, (12,)), clip=0.5, noise=1.0, rate=0.2, group=1, **training
) -> PrivateLearner:
    data = images(count)
    splits = Splits(data, data.subset(torch.arange(0)), images(8))
    return PrivateLearner(
        FlatModel(factory, device="cpu", dtype=torch.float64),
        splits,
        Training(10, lr=0.1, **training),
        Privately(clip, noise, rate, group),
    )


class Attentive(nn.Module):
    """Embeddings, layer norm, a linear layer over positions."""

    def __init__(self) -> None:
        super().__init__()
        self.words, self.norm, self.mix, self.out = (
            nn.Embedding(7, 6),
            nn.LayerNorm(6),
            nn.Linear(6, 5),
            nn.Linear(5, 3),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.out(torch.tanh(self.mix(self.norm(self.words(x)))).mean(1))


class Twice(nn.Module):
    """A layer that runs twice in one pass: ghost clipping must not be trusted with it."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.again = nn.Linear(64, 10), nn.Linear(10, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.again(torch.tanh(self.again(torch.tanh(self.first(x.flatten(1))))))


class Sideways(nn.Module):
    """Positions before examples, so that a layer's rows are not the batch's."""

    def __init__(self) -> None:
        super().__init__()
        self.mix, self.out = nn.Linear(8, 10), nn.Linear(10, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.out(self.mix(x.squeeze(1).transpose(0, 1)).tanh().mean(0))


MODELS = {
    "mlp": (lambda: mlp((1, 8, 8), 10, (12, 9)), "ghost"),
    "cnn": (lambda: cnn((1, 8, 8), 10, (4, 6), 8), "ghost"),
    "cnn with group norm": (lambda: cnn((1, 8, 8), 10, (4, 8), 8, "group"), "ghost"),
    "a layer that runs twice": (Twice, "vmap"),
    "positions before examples": (Sideways, "vmap"),
    "an activation in place": (lambda: nn.Sequential(nn.Flatten(), nn.Linear(64, 10), nn.ReLU(inplace=True)), "vmap"),
}


@pytest.mark.parametrize("name", MODELS)
def test_every_way_to_clip_gives_what_the_plain_loop_gives(name: str) -> None:
    factory, way = MODELS[name]
    model, data = FlatModel(factory, device="cpu", dtype=torch.float64), images(9).to("cpu", torch.float64)
    clipper = chosen(model, cross_entropy, 0.3, True, data.x, data.y)
    assert clipper.way == way
    wanted = Clipper(model, cross_entropy, 0.3, "loop").examples(data.x, data.y)
    pieces = [clipper.groups([(data.x[i : i + 1], data.y[i : i + 1])]).total.clone() for i in range(len(data))]
    assert torch.allclose(sum(pieces), wanted.total, atol=1e-12)
    for each in {"vmap", way}:
        found = Clipper(model, cross_entropy, 0.3, each).examples(data.x, data.y)
        assert torch.allclose(found.total, wanted.total, atol=1e-12)
        assert float(found.loss) == pytest.approx(float(wanted.loss))
        assert found.right == wanted.right


def test_embeddings_and_layer_norm_are_clipped_as_the_loop_does() -> None:
    model = FlatModel(Attentive, device="cpu", dtype=torch.float64)
    x, y = torch.randint(7, (9, 5)), torch.randint(3, (9,))
    clipper = chosen(model, cross_entropy, 0.2, True, x, y)
    wanted = Clipper(model, cross_entropy, 0.2, "loop").examples(x, y).total.clone()
    assert clipper.way == "ghost"
    assert torch.allclose(clipper.examples(x, y).total, wanted, atol=1e-12)


def test_a_recurrent_model_is_trained_in_one_of_the_ways() -> None:
    model = FlatModel(lambda: gru((5,), 7), device="cpu")
    x, y = torch.randint(7, (4, 5)), torch.randint(7, (4, 5))
    clipper = chosen(model, cross_entropy, 0.2, True, x, y)
    assert torch.isfinite(clipper.examples(x, y).total).all()


def test_a_loss_of_ones_own_is_clipped_by_mapping() -> None:
    own = learner(loss=lambda outputs, targets: cross_entropy(outputs, targets) * 2)
    assert own.clipper.way == "vmap"


@settings(max_examples=20)
@given(st.integers(0, 39), st.floats(0.01, 3), st.integers(1, 6), st.integers(0, 50))
def test_one_example_changes_the_sum_by_at_most_the_sensitivity(out: int, clip: float, group: int, step: int) -> None:
    own = learner(clip=clip, rate=0.5, group=group)
    key = derive(KEY, step)
    whole = (
        own.in_groups(key).total.clone() if group > 1 else own.clipper.examples(*own.rows(own.drawn(key))).total.clone()
    )
    draw = own.drawn
    own.drawn = lambda key: (rows := draw(key))[rows != out]  # type: ignore[method-assign]
    less = own.in_groups(key).total if group > 1 else own.clipper.examples(*own.rows(own.drawn(key))).total
    assert float(torch.linalg.vector_norm(whole - less)) <= own.privately.sensitivity * (1 + 1e-9)


def test_groups_can_reach_more_than_the_clip() -> None:
    """So that 2C is needed: an example whose gradient points against its group's."""
    model = FlatModel(lambda: nn.Sequential(nn.Flatten(), nn.Linear(1, 1, bias=False)), device="cpu")
    clipper = Clipper(model, lambda outputs, targets: (outputs.squeeze(1) * targets).mean(), 1.0)
    x, y = torch.ones(2, 1), torch.tensor([-10.0, 100.0])
    both, alone = clipper.groups([(x, y)]).total.clone(), clipper.groups([(x[:1], y[:1])]).total
    assert float((both - alone).abs()) == pytest.approx(2.0)


def test_examples_are_drawn_on_their_own_with_the_rate() -> None:
    counts = np.array([len(poisson(derive(KEY, step), 500, 0.1)) for step in range(400)])
    assert counts.mean() == pytest.approx(50, abs=1.2)
    assert counts.var() == pytest.approx(45, rel=0.3)  # fixed batches would have none
    both = np.mean([{3, 4} <= set(poisson(derive(KEY, step), 500, 0.3).tolist()) for step in range(2000)])
    assert both == pytest.approx(0.09, abs=0.02)
    assert len(poisson(KEY, 50, 1.0)) == 50
    assert set(groups(KEY, 300, 7).tolist()) == set(range(7))


def test_the_noise_has_its_deviation_and_is_new_in_every_step() -> None:
    first, other = (normal_(torch.zeros(20001), derive(KEY, step), 3.0) for step in (1, 2))
    assert float(first.std()) == pytest.approx(3.0, rel=0.03)
    assert abs(float(torch.corrcoef(torch.stack([first, other]))[0, 1])) < 0.03
    assert abs(float(torch.corrcoef(torch.stack([first[:10000], first[10001:]]))[0, 1])) < 0.03  # of one pair


def test_the_noise_is_normal_into_its_tails() -> None:
    drawn = normal_(torch.zeros(400_000, dtype=torch.float64), KEY, 1.0).sort().values
    at = torch.tensor([-4.0, -3.0, -2.0, -1.0, 0.0, 1.0, 2.0, 3.0, 4.0], dtype=torch.float64)
    found = torch.searchsorted(drawn, at).double() / len(drawn)
    wanted = 0.5 * torch.erfc(-at / 2**0.5)
    assert torch.all((found - wanted).abs() <= 4 * (wanted * (1 - wanted) / len(drawn)).sqrt() + 3 / len(drawn))
    assert normal_(torch.zeros(0), KEY, 1.0).shape == (0,)
    assert torch.equal(normal_(torch.ones(7), KEY, 0.0), torch.ones(7))


@pytest.mark.parametrize("group", [1, 4])
def test_a_private_learner_keeps_the_laws_of_learners(group: int) -> None:
    check_learner(learner(group=group))


def test_a_private_step_is_the_papers() -> None:
    own = learner(noise=1e-9, clip=1e6, rate=1.0)
    x = own.start()
    trained = own.train(x, own.init(x), None, 1, 0, KEY)
    own.model.load(x)
    plain = own.model.backward(cross_entropy(own.model.module(own._train.x), own._train.y))
    assert torch.allclose(trained.x, x - 0.1 * plain, atol=1e-4)


def test_a_step_that_draws_nobody_is_noise_alone() -> None:
    own = learner(rate=1e-12)
    x = own.start()
    trained = own.train(x, own.init(x), None, 2, 0, KEY)
    assert trained.loss == 0.0
    assert trained.accuracy is None
    assert not torch.equal(trained.x, x)


def test_what_is_told_of_a_phase_but_loss_and_accuracy_says_nothing_of_who_was_drawn() -> None:
    counts = {
        learner().train(learner().start(), learner().init(learner().start()), None, 2, 0, root(seed)).samples
        for seed in range(4)
    }
    assert len(counts) == 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"factory": lambda: cnn((1, 8, 8), 10, norm="batch")}, "batch norm"),
        (
            {"factory": lambda: nn.Sequential(nn.InstanceNorm2d(1, track_running_stats=True), mlp((1, 8, 8), 10))},
            "running",
        ),
        ({"clip": 0.0}, r"privacy\.clip"),
        ({"noise": 0.0}, r"privacy\.noise"),
        ({"noise": float("nan")}, r"privacy\.noise"),
        ({"rate": 0.0}, r"privacy\.rate"),
        ({"rate": 1.1}, r"privacy\.rate"),
        ({"group": 0}, r"privacy\.group"),
    ],
)
def test_what_cannot_be_private_is_refused(change, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        learner(**change)
