"""A model of which a part stays at the node: cutting and weaving, and the same results node by node and all at once."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from p2pfl.core.noise import root
from p2pfl.core.vectors import ParamSchema, ParamSpec
from p2pfl.errors import ConfigError
from p2pfl.learn.crew import Learners, Order
from p2pfl.learn.data import Data, Splits
from p2pfl.learn.flat import FlatModel
from p2pfl.learn.learner import TorchLearner
from p2pfl.learn.models import cnn, mlp
from p2pfl.learn.optim import SGD, Momentum
from p2pfl.learn.part import KEPT, Part
from p2pfl.learn.part_crew import PartCrew
from p2pfl.learn.part_learner import PartLearner, evaluate_with
from p2pfl.learn.pool import Pool
from p2pfl.learn.schedule import Constant
from p2pfl.learn.training import Training
from p2pfl.testing import check_learner

NODES = 4


@st.composite
def parts(draw):
    sizes = draw(st.lists(st.integers(1, 4), min_size=2, max_size=7))
    weights = draw(st.integers(1, len(sizes)))
    specs = [ParamSpec(f"p{i}", (size,), "weights" if i < weights else "buffers") for i, size in enumerate(sizes)]
    goes = draw(st.sets(st.integers(0, len(sizes) - 1)).filter(lambda found: any(i < weights for i in found)))
    return Part(ParamSchema(tuple(specs)), tuple(f"p{i}" for i in sorted(goes)))


@settings(max_examples=60, deadline=None)
@given(parts(), st.sampled_from([(), (3,)]))
def test_what_is_cut_is_woven_together_again(part, rows):
    x = torch.arange(float(part.whole.size)).expand(*rows, -1)
    shared, kept = part.split(x)
    assert shared.shape[-1] == part.schema.size
    assert kept.shape[-1] == part.kept_size
    assert torch.equal(part.join(shared, kept), x)
    assert torch.equal(torch.cat([shared, kept], -1).sort(-1).values, x)


@settings(max_examples=60, deadline=None)
@given(parts())
def test_a_shift_pulls_at_what_is_shared_alone(part):
    weights = sum(spec.size for spec in part.whole.params if spec.group == "weights")
    x = torch.arange(1.0, part.whole.size + 1)
    wide = part.spread(part.split(x)[0])
    assert wide.shape == (weights,)
    shared = torch.isin(x[:weights], part.split(x)[0])
    assert torch.equal(wide, torch.where(shared, x[:weights], 0.0))


def test_patterns_that_share_nothing_that_is_learned():
    schema = ParamSchema((ParamSpec("a", (2,), "weights"), ParamSpec("mean", (2,), "buffers")))
    with pytest.raises(ConfigError, match=r"model\.share: expected something that is learned, got mean"):
        Part(schema, ("mean",))
    with pytest.raises(ConfigError, match=r"model\.share: 'b' matches nothing"):
        Part(schema, ("b",))


def made(count=120):
    draw = torch.Generator().manual_seed(1)
    x, y = torch.rand(count, 1, 6, 6, generator=draw), torch.randint(0, 4, (count,), generator=draw)
    return Data(x, y, "made", tuple("abcd")).to(torch.device("cpu"), torch.float64)


MODELS = {
    "mlp": lambda: mlp((1, 6, 6), 4, hidden=(5,)),
    "cnn": lambda: cnn((1, 6, 6), 4, channels=(3,), hidden=5),
    "batch norm": lambda: cnn((1, 6, 6), 4, channels=(3,), hidden=5, norm="batch"),
}
SHARES = {"mlp": ("1",), "cnn": ("0", "4"), "batch norm": ("0", "1", "5.weight")}


def built(kind, optimizer=None, **options):
    model = FlatModel(MODELS[kind], 1, "cpu", torch.float64)
    training = Training(10, 8, 0.1, optimizer or SGD(), Constant(), **options)
    return model, Part(model.schema, SHARES[kind]), training


def rows_of():
    draw = torch.Generator().manual_seed(2)
    return [torch.randperm(100, generator=draw)[:30] for _ in range(NODES)]


@pytest.mark.parametrize("kind", MODELS)
def test_it_is_a_learner(kind):
    model, part, training = built(kind)
    data = made()
    splits = Splits(
        data.subset(torch.arange(60)), data.subset(torch.arange(60, 80)), data.subset(torch.arange(80, 120))
    )
    check_learner(PartLearner(TorchLearner(model, splits, training), part))


@pytest.mark.parametrize("optimizer", [SGD(), Momentum()], ids=["sgd", "momentum"])
@pytest.mark.parametrize("kind", MODELS)
def test_all_nodes_at_once_are_each_as_its_own_learner(kind, optimizer):
    model, part, training = built(kind, optimizer)
    data, rows = made(), rows_of()
    pool = Pool(data, data.subset(torch.arange(100, 120)), rows, [own[:3] for own in rows], 8)
    both = [
        PartCrew(part, model, pool, training),
        Learners([PartLearner(TorchLearner(model, pool.splits(n), training), part) for n in range(NODES)]),
    ]
    z = 0.05 * torch.randn(NODES, part.schema.size, dtype=torch.float64)
    ends = []
    for crew in both:
        x = part.split(model.start())[0].expand(NODES, -1).clone()
        slots = crew.slots(NODES, x[0])
        orders = [Order(n, 2, 3, 0, root(n)) for n in range(NODES)]
        for _ in crew.train(x, slots, lambda nodes: z[list(nodes)], orders):
            pass
        judged = crew.evaluate(x, range(NODES), "validation", slots) + crew.evaluate(x, range(NODES), "test", slots)
        ends.append((x, slots, judged))
    (x, slots, judged), (own_x, own_slots, own_judged) = ends
    assert torch.allclose(x, own_x)
    assert slots.keys() == own_slots.keys()
    assert all(torch.allclose(slots[name], own_slots[name]) for name in slots)
    assert not torch.equal(slots[KEPT][0], slots[KEPT][1])
    assert [e.accuracy for e in judged] == [e.accuracy for e in own_judged]


def test_a_judgement_takes_what_the_node_kept():
    model, part, training = built("mlp")
    data = made()
    learner = PartLearner(TorchLearner(model, Splits(data, data, data), training), part)
    x, state = learner.start(), learner.init(learner.start())
    trained = learner.train(x, state, None, 20, 0, root(1))
    whole = part.join(trained.x, trained.state.slots[KEPT])
    assert evaluate_with(learner, trained.x, trained.state, "test") == learner.inner.evaluate(whole, "test")
    assert evaluate_with(learner, trained.x, trained.state, "test") != learner.evaluate(trained.x, "test")
