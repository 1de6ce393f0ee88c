"""Many nodes' training at once: every engine gives each node what its own learner would, whatever the chunks."""

import numpy as np
import pytest
import torch
from torch import nn

from p2pfl.core.noise import Shuffler, generator, root
from p2pfl.errors import ConfigError
from p2pfl.learn.calm import Calm
from p2pfl.learn.crew import CannotTrain, Crew, Learners, Order
from p2pfl.learn.data import Data
from p2pfl.learn.flat import FlatModel
from p2pfl.learn.learner import TorchLearner
from p2pfl.learn.models import cnn, linear, mlp
from p2pfl.learn.optim import SGD, Adam, Momentum, OptState
from p2pfl.learn.pool import Pool
from p2pfl.learn.schedule import Constant
from p2pfl.learn.stacked import ENGINES, TorchCrew
from p2pfl.learn.training import Training

NODES = 7
OPTIMIZERS = [SGD(), SGD(0.01), Momentum(), Adam(), Calm(SGD()), Calm(Momentum())]
MODELS = {
    "linear": lambda: linear((1, 6, 6), 4),
    "mlp": lambda: mlp((1, 6, 6), 4, hidden=(9, 5)),
    "one layer without a bias": lambda: nn.Sequential(nn.Flatten(), nn.Linear(36, 4, bias=False)),
    "two layers without ReLU": lambda: nn.Sequential(nn.Flatten(), nn.Linear(36, 5), nn.Linear(5, 4)),
}
OTHERS = {
    "cnn": lambda: cnn((1, 6, 6), 4, channels=(3,), hidden=5),
    "tanh": lambda: nn.Sequential(nn.Flatten(), nn.Linear(36, 5), nn.Tanh(), nn.Linear(5, 4)),
    "dropout": lambda: mlp((1, 6, 6), 4, hidden=(9,), dropout=0.5),
    "batch norm": lambda: cnn((1, 6, 6), 4, channels=(3,), hidden=5, norm="batch"),
}


def data(count: int = 200, classes: int = 4) -> Data:
    draw = torch.Generator().manual_seed(1)
    x = torch.rand(count, 1, 6, 6, generator=draw)
    names = tuple(str(number) for number in range(classes))
    y = torch.randint(0, classes, (count,), generator=draw) if classes else torch.rand(count, generator=draw)
    return Data(x, y, "made", names).to(torch.device("cpu"), torch.float64)


def pool_of(whole: Data, batch: int = 8) -> Pool:
    """Shares of different sizes, one of them smaller than a batch."""
    draw = torch.Generator().manual_seed(2)
    rows = [torch.randperm(len(whole), generator=draw)[:size] for size in (30, 17, 30, 5, 41, 30, 8)]
    return Pool(whole, whole.subset(torch.arange(50)), rows, [own[:3] for own in rows], batch)


def flat(make, dtype: torch.dtype = torch.float64) -> FlatModel:
    return FlatModel(make, dtype=dtype)


def training(optimizer=None, **options) -> Training:
    return Training(10, 8, 0.1, optimizer or SGD(), Constant(), **options)


def orders(steps=(3, 3, 2, 3, 3, 3, 1), weight=(1.0, 1.0, 1.0, 0.5, 1.0, 1.0, 2.0)) -> list[Order]:
    return [Order(node, 2, steps[node], 4 + node % 2, root(node), weight[node]) for node in range(NODES)]


def shifts_of(width: int) -> torch.Tensor:
    return 0.05 * torch.randn(NODES, width, dtype=torch.float64, generator=torch.Generator().manual_seed(3))


def phases(crew: Crew, model: FlatModel, count: int = 2, shifted: bool = True):
    """Two phases of all nodes -> models, slots, and what was told of each node in the last."""
    x = model.start().expand(NODES, -1).clone()
    slots = crew.slots(NODES, x[0])
    z = shifts_of(model.num_weights)
    told = {}
    for number in range(count):
        now = [order._replace(first=order.first + number * order.steps) for order in orders()]
        for drill in crew.train(x, slots, lambda nodes: z[list(nodes)] if shifted else None, now):
            for place, order in enumerate(drill.orders):
                accuracy, work = drill.accuracy[place], drill.work[place]
                told[order.node] = (drill.loss[place], work, accuracy, drill.directions[place], drill.samples)
    return x, slots, told


def alone(model: FlatModel, pool: Pool, how: Training, shifted: bool = True):
    """The same by each node's own learner."""
    ends, told = [], {}
    z = shifts_of(model.num_weights)
    for order in orders():
        learner = TorchLearner(model, pool.splits(order.node), how)
        x = model.start()
        state = OptState(order.first, learner.init(x).slots)
        for _ in range(2):
            shift = z[order.node] if shifted else None
            done = learner.train(x, state, shift, order.steps, order.round, order.key, order.weight)
            x, state = done.x, done.state
        directions = torch.tensor(done.directions, dtype=torch.float64)
        ends.append((x, state.slots))
        told[order.node] = (done.loss, done.work, done.accuracy, directions, done.samples)
    return torch.stack([x for x, _ in ends]), ends, told


def agree(
    crew: Crew, model: FlatModel, pool: Pool, how: Training, directions: bool = True, shifted: bool = True
) -> None:
    x, slots, told = phases(crew, model, shifted=shifted)
    wanted, ends, expected = alone(model, pool, how, shifted)
    assert torch.allclose(x, wanted, rtol=0, atol=1e-12)
    for node, (_, state) in enumerate(ends):
        for name, slot in state.items():
            assert torch.allclose(slots[name][node], slot, rtol=0, atol=1e-12)
        loss, work, accuracy, lengths, samples = expected[node]
        assert told[node][:3] == pytest.approx((loss, work, accuracy), abs=1e-12)
        assert told[node][4] == samples
        if directions:
            assert torch.allclose(told[node][3], lengths, rtol=0, atol=1e-12)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=repr)
def test_every_engine_trains_as_the_node_does(engine, optimizer):
    model, pool, how = flat(MODELS["mlp"]), pool_of(data()), training(optimizer)
    agree(TorchCrew(model, pool, how, engine), model, pool, how)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("name", MODELS)
def test_every_engine_trains_every_linear_model(engine, name):
    model, pool, how = flat(MODELS[name]), pool_of(data()), training()
    agree(TorchCrew(model, pool, how, engine), model, pool, how)


@pytest.mark.parametrize("shifted", [True, False])
@pytest.mark.parametrize("name", MODELS)
def test_the_fused_step_is_the_step(name, shifted):
    model, pool, how = flat(MODELS[name]), pool_of(data()), training()
    crew = TorchCrew(model, pool, how, "matmul", directions=False)
    agree(crew, model, pool, how, directions=False, shifted=shifted)


@pytest.mark.parametrize("engine", ENGINES)
def test_numbers_are_learned_alike(engine):
    whole = data(classes=0)
    model, pool, how = flat(lambda: mlp((1, 6, 6), 1, hidden=(7,))), pool_of(whole), training()
    agree(TorchCrew(model, pool, how, engine), model, pool, how)
    if engine == "matmul":
        agree(TorchCrew(model, pool, how, engine, directions=False), model, pool, how, directions=False)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("options", [{"prox_mu": 0.1}, {"normalise": 2.0}], ids=repr)
def test_options_for_unlike_data(engine, options):
    model, pool, how = flat(MODELS["mlp"]), pool_of(data()), training(**options)
    agree(TorchCrew(model, pool, how, engine), model, pool, how)


@pytest.mark.parametrize("name", OTHERS)
def test_other_models_are_trained_by_what_fits(name):
    model, pool, how = flat(OTHERS[name]), pool_of(data()), training()
    crew = TorchCrew(model, pool, how)
    agree(crew, model, pool, how)
    assert crew.engine_name in (("loop",) if name in ("dropout", "batch norm") else ("vmap", "loop"))


@pytest.mark.parametrize("engine", ENGINES)
def test_a_result_does_not_depend_on_the_chunk(engine):
    model, pool, how = flat(MODELS["mlp"]), pool_of(data()), training(Momentum())
    ends = [phases(TorchCrew(model, pool, how, engine, chunk), model)[0] for chunk in (1, 2, 3, 100)]
    assert all(torch.allclose(ends[0], other, rtol=0, atol=1e-12) for other in ends[1:])


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("split", ["test", "validation", "train"])
def test_every_engine_judges_as_the_node_does(engine, split):
    model, pool, how = flat(MODELS["mlp"]), pool_of(data()), training()
    crew = TorchCrew(model, pool, how, engine)
    x, _, _ = phases(crew, model)
    for node, found in enumerate(crew.evaluate(x, range(NODES), split)):
        wanted = TorchLearner(model, pool.splits(node), how).evaluate(x[node], split)
        assert (found.loss, found.accuracy) == pytest.approx((wanted.loss, wanted.accuracy), abs=1e-12)
        assert found.num_samples == wanted.num_samples


def test_learners_of_the_users_own_are_run_one_by_one():
    model, pool, how = flat(MODELS["mlp"]), pool_of(data()), training(Momentum())
    crew = Learners([TorchLearner(model, pool.splits(node), how) for node in range(NODES)])
    agree(crew, model, pool, how)


@pytest.mark.parametrize(("engine", "name", "why"), [
    ("matmul", "cnn", "Conv2d"),
    ("matmul", "tanh", "Tanh"),
    ("vmap", "dropout", "random numbers"),
    ("vmap", "batch norm", "buffers"),
])  # fmt: skip
def test_an_engine_that_does_not_fit_is_refused(engine, name, why):
    with pytest.raises(ConfigError, match=f"train engine '{engine}': .*{why}.*; use 'auto'"):
        TorchCrew(flat(OTHERS[name]), pool_of(data()), training(), engine)


@pytest.mark.parametrize("engine", ENGINES)
def test_a_loss_that_is_not_finite_names_the_node(engine):
    whole = data()
    whole.x[:] = 1e200
    model, pool = flat(MODELS["mlp"]), pool_of(whole)
    with pytest.raises(CannotTrain, match=r"round 2, step .*try a learning rate below") as caught:
        phases(TorchCrew(model, pool, training(), engine), model)
    assert caught.value.node in range(NODES)


def test_a_shuffler_is_a_generator_for_one_key_after_another():
    shuffler = Shuffler()
    for seed in range(50):
        wanted = generator(root(seed)).permutation(10 + seed)
        assert np.array_equal(shuffler.permutation(root(seed), 10 + seed), wanted)
