"""A Flower client as a learner: nothing of Flower is installed here, its clients are told by their methods."""

import random
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

import p2pfl
from p2pfl.adapters.flower import Clients
from p2pfl.core.noise import root
from p2pfl.errors import ConfigError, TrainingError
from p2pfl.learn.data import Splits
from p2pfl.learn.flat import FlatModel
from p2pfl.learn.schedule import Constant
from p2pfl.learn.training import Training
from p2pfl.testing import check_learner


class Drawn:
    """Goes half the way to its own point, with noise from every generator that people use; counts what it was told."""

    def __init__(self, number: int) -> None:
        self.goal = np.full((3, 2), 1.0 + number)
        self.w = np.random.normal(size=(3, 2)) + torch.randn(1).item() + random.random()
        self.told: list[dict[str, object]] = []

    def get_parameters(self, config):
        return [self.w, np.array(7, np.int64), np.float32(0.5)]

    def fit(self, parameters, config):
        w, count, scalar = parameters
        assert (w.dtype, w.shape, int(count), scalar.shape) == (np.float64, (3, 2), 7, ())
        self.told.append(config)
        noise = 1e-3 * (np.random.normal() + torch.randn(1).item() + random.random())
        return [(w + self.goal) / 2 + noise, count + 1, scalar / 2], 10, {"loss": 1.0}

    def evaluate(self, parameters, config):
        return float(np.square(parameters[0] - self.goal).mean()), 10, {"accuracy": 0.5}


def learner_of(make=Drawn, number=0, rounds=4, **settings):
    app = p2pfl.adapt(make, **settings)
    row = app.data.data.subset(torch.tensor([number]))
    splits = Splits(row, row.subset(torch.tensor([], dtype=torch.int64)), app.data.test)
    model = FlatModel(app.model, seed=3, device="cpu")
    return app.learner(model=model, splits=splits, training=Training(rounds, 1, 0.1, schedule=Constant()))


def test_the_laws_of_a_learner():
    check_learner(learner_of())


def test_the_generators_are_left_as_they_were():
    learner = learner_of()
    states = np.random.get_state()[1].copy(), random.getstate(), torch.get_rng_state()
    learner.train(learner.start(), learner.init(learner.start()), None, 1, 0, root(1))
    learner.evaluate(learner.start(), "test")
    assert np.array_equal(states[0], np.random.get_state()[1])
    assert states[1] == random.getstate()
    assert torch.equal(states[2], torch.get_rng_state())


def test_all_begin_alike_and_each_is_itself():
    learners = [learner_of(number=number) for number in (0, 3)]
    assert torch.equal(learners[0].start(), learners[1].start())
    x = learners[0].start()
    ends = [learner.train(x, learner.init(x), None, 12, 0, root(1)).x for learner in learners]
    assert [round(float(end[0])) for end in ends] == [1, 4]


def test_what_a_client_is_told():
    learner = learner_of(config={"local_epochs": 2})
    learner.train(learner.start(), learner.init(learner.start()), None, 1, 2, root(1))
    assert learner._client.told[-1] == {"local_epochs": 2, "server_round": 3}


@pytest.mark.parametrize(
    "make",
    [
        lambda: Drawn(0),
        lambda cid: Drawn(int(cid)),
        lambda context: Drawn(context.node_config["partition-id"]),
        lambda context: SimpleNamespace(numpy_client=Drawn(context.node_config["partition-id"])),
    ],
    ids=["nothing", "number", "context", "wrapped"],
)
def test_however_it_is_made(make):
    learner = learner_of(make, number=2)
    assert learner.evaluate(learner.start(), "test").accuracy == 0.5


def test_a_contexts_partitions():
    seen = []

    def client_fn(context):
        seen.append(context.node_config)
        return Drawn(0)

    learner_of(client_fn, number=1, partitions=4)
    assert seen[-1] == {"partition-id": 1, "num-partitions": 4}


class Statistics(Drawn):
    def __init__(self, number: int) -> None:
        self.net = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))

    def get_parameters(self, config):
        return [value.numpy().copy() for value in self.net.state_dict().values()]


def test_a_batch_norms_statistics_are_never_drift_corrected():
    model = FlatModel(p2pfl.adapt(Statistics).model, device="cpu")
    assert [group.name for group in model.schema.groups] == ["weights", "buffers"]
    assert [spec.name for spec in model.schema.params if spec.group == "buffers"] == ["array_4", "array_5"]
    assert model.num_weights == 2 * 3 + 3 + 3 + 3


def test_a_network_of_clients_meets_in_the_middle():
    """Each pulls towards a point of its own; together they end at the mean of these points."""
    run = p2pfl.simulate(p2pfl.adapt(Drawn), nodes=4, pace={"rounds": 40}, compress={"codec": "fp32"}, baselines=True)
    assert run.summary["failures"] == {}
    assert run.summary["accuracy_centralised"] is None  # nobody can have everybody's data
    models = [node.job.local.x for node in run.followed.run.nodes.values()]
    assert np.allclose([float(x[:6].mean()) for x in models], 2.5, atol=0.2)


class Broken(Drawn):
    def __init__(self, number: int, how: str = "") -> None:
        super().__init__(number)
        self.how = how

    def fit(self, parameters, config):
        match self.how:
            case "raises":
                raise KeyError("epochs")
            case "two":
                return parameters, 1
            case "shape":
                return [parameters[0].T, *parameters[1:]], 1, {}
            case _:
                return [parameters[0] * np.nan, *parameters[1:]], 1, {}


@pytest.mark.parametrize(
    ("how", "sentence"),
    [
        ("raises", "fit failed: KeyError: 'epochs'"),
        ("two", "expected three values"),
        ("shape", "expected arrays of the same shapes"),
        ("nan", "round 0, step 0: fit gave numbers that are not finite"),
    ],
)
def test_what_a_client_does_wrong_is_one_line(how, sentence):
    learner = learner_of(lambda: Broken(0, how))
    with pytest.raises(TrainingError, match=sentence) as caught:
        learner.train(learner.start(), learner.init(learner.start()), None, 1, 0, root(1))
    assert "\n" not in str(caught.value)


def test_what_is_no_client_is_refused():
    for wrong, sentence in (
        (Drawn(0), "expected the client's class"),
        (3, "expected a scikit-learn estimator, a Flower"),
        (lambda a, b: Drawn(a), "expected a function of the node's number"),
        (lambda: 3, "get_parameters is missing"),
        (lambda: SimpleNamespace(get_parameters=lambda c: 3, fit=None, evaluate=None), "expected a list of arrays"),
    ):
        with pytest.raises(ConfigError, match=sentence):
            FlatModel(p2pfl.adapt(wrong).model, device="cpu")
    with pytest.raises(ConfigError, match="brings its own data"):
        p2pfl.adapt(Drawn, (np.zeros((2, 2)), [0, 1]))
    with pytest.raises(ConfigError, match="same shapes from every client"):
        Clients(Statistics, {}).learner(
            FlatModel(p2pfl.adapt(Drawn).model, device="cpu"), learner_of()._splits, Training(1)
        )
