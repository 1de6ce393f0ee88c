"""Gradual unfreezing: what is not learned yet does not move, whatever the optimiser, in the loop and in all engines."""

import pytest
import torch

from p2pfl.core.noise import root
from p2pfl.errors import ConfigError
from p2pfl.learn.calm import Calm
from p2pfl.learn.crew import Order
from p2pfl.learn.data import Data, Splits
from p2pfl.learn.flat import FlatModel
from p2pfl.learn.learner import TorchLearner
from p2pfl.learn.models import mlp
from p2pfl.learn.optim import SGD, Adam, Momentum
from p2pfl.learn.pool import Pool
from p2pfl.learn.schedule import Constant
from p2pfl.learn.stacked import TorchCrew
from p2pfl.learn.training import Training
from p2pfl.learn.unfreeze import Stillness, Unfreezing


def flat():
    return FlatModel(lambda: mlp((6,), 3, hidden=(5, 4)), 1, "cpu", torch.float64)


def data():
    draw = torch.Generator().manual_seed(1)
    made = Data(torch.rand(60, 6, generator=draw), torch.randint(0, 3, (60,), generator=draw), "made", tuple("abc"))
    return made.to(torch.device("cpu"), torch.float64)


def moved(model, before, after):
    """The layers that moved."""
    old, new = model.schema.unflatten(before), model.schema.unflatten(after)
    return {name.split(".")[0] for name in old if not torch.equal(old[name], new[name])}


def test_layers_open_from_the_last_to_the_first():
    opens = Stillness(flat().schema, Unfreezing(10)).opens
    assert opens == (20, 20, 10, 10, 0, 0)


def test_or_in_the_order_that_is_given_and_the_rest_last():
    assert Stillness(flat().schema, Unfreezing(3, ("1", "5.bias"))).opens == (0, 0, 6, 6, 6, 3)


def test_all_is_learned_in_the_end():
    still = Stillness(flat().schema, Unfreezing(10))
    assert still.at(20) is None
    assert int(still.at(19).sum()) == 6 * 5 + 5
    assert int(still.at(0).sum()) == flat().num_weights - (4 * 3 + 3)


def test_an_order_that_means_nothing():
    with pytest.raises(ConfigError, match=r"train\.unfreeze\.order: 'head' matches nothing; there are: 1\.weight"):
        Stillness(flat().schema, Unfreezing(10, ("head",)))


@pytest.mark.parametrize(
    "optimizer", [SGD(0.01), Momentum(0.9, 0.01), Adam(weight_decay=0.01), Calm(SGD())], ids=lambda o: type(o).__name__
)
@pytest.mark.parametrize("options", [{}, {"prox_mu": 0.1}, {"normalise": 7.0}], ids=["plain", "prox", "normalised"])
def test_what_is_still_does_not_move(optimizer, options):
    model = flat()
    training = Training(30, 8, 0.1, optimizer, Constant(), unfreeze=Unfreezing(10), **options)
    learner = TorchLearner(model, Splits(data(), data(), data()), training)
    x, shift = model.start(), torch.ones(model.num_weights, dtype=torch.float64)
    state = learner.init(x)
    for round_, expected in ((0, {"5"}), (10, {"3", "5"}), (20, {"1", "3", "5"})):
        trained = learner.train(x, state, shift, 3, round_, root(1))
        assert moved(model, x, trained.x) == expected
        x, state = trained.x, trained.state


@pytest.mark.parametrize("engine", ["matmul", "vmap", "loop"])
def test_every_engine_does_alike(engine):
    model = flat()
    training = Training(30, 8, 0.1, SGD(), Constant(), unfreeze=Unfreezing(10))
    whole, rows = data(), [torch.arange(20 * n, 20 * n + 20) for n in range(3)]
    pool = Pool(whole, whole, rows, [own[:3] for own in rows], 8)
    crew = TorchCrew(model, pool, training, engine)
    x = model.start().expand(3, -1).clone()
    orders = [Order(n, 10 * n, 3, 0, root(n)) for n in range(3)]
    slots = crew.slots(3, x[0])
    for _ in crew.train(x, slots, lambda nodes: None, orders):
        pass
    assert [moved(model, model.start(), x[n]) for n in range(3)] == [{"5"}, {"3", "5"}, {"1", "3", "5"}]
    for n in range(3):
        learner = TorchLearner(model, pool.splits(n), training)
        trained = learner.train(model.start(), learner.init(x[n]), None, 3, 10 * n, root(n))
        assert torch.allclose(trained.x, x[n])
