"""Feature alignment: the distances' laws, and that they come down when they count."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from p2pfl.core.noise import root
from p2pfl.errors import ConfigError
from p2pfl.learn.align import RULES, Align, coral, layer_of, mmd
from p2pfl.learn.chunk import Unfit
from p2pfl.learn.data import Data, Splits
from p2pfl.learn.engines import Vmap
from p2pfl.learn.flat import FlatModel
from p2pfl.learn.learner import TorchLearner
from p2pfl.learn.matmul import Matmul
from p2pfl.learn.models import mlp
from p2pfl.learn.pool import Pool
from p2pfl.learn.public import Public, public_of
from p2pfl.learn.stacked import TorchCrew
from p2pfl.learn.training import Training


def cloud(seed, count=24, width=3, scale=1.0, shift=0.0):
    return shift + scale * torch.randn(count, width, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 99), st.floats(0.1, 3), st.floats(-2, 2))
def test_a_distance_is_symmetric_not_negative_and_none_to_itself(seed, scale, shift):
    s, t = cloud(seed), cloud(seed + 1, 17, scale=scale, shift=shift)
    for rule in RULES.values():
        assert float(rule(s, s)) == pytest.approx(0, abs=1e-12)
        assert float(rule(s, t)) >= -1e-12
        assert float(rule(s, t)) == pytest.approx(float(rule(t, s)))


def test_coral_sees_spread_and_mmd_sees_place_too():
    near, wide, far = cloud(1), cloud(1, scale=3.0), cloud(1, shift=4.0)
    assert coral(near, wide) > 0.1
    assert float(coral(near, far)) == pytest.approx(0, abs=1e-12)
    assert mmd(near, far) > mmd(near, cloud(2)) > 0


def test_coral_is_what_the_paper_says():
    s, t = torch.tensor([[0.0, 0.0], [2.0, 2.0]]), torch.tensor([[0.0, 0.0], [0.0, 2.0]])
    # Cov(s) = [[2, 2], [2, 2]], Cov(t) = [[0, 0], [0, 2]]: 12 / (4 * 4)
    assert float(coral(s, t)) == pytest.approx(0.75)


def flat():
    return FlatModel(lambda: mlp((4,), 2, hidden=(8,)), 1, "cpu", torch.float64)


def splits(shift=0.0):
    x = cloud(3, 64, 4) + shift
    made = Data(x, (x[:, 0] > shift).long(), "made", ("a", "b"))
    return Splits(made, made, made)


def aligned(rule, weight, layer="", rows=32):
    return Align(rule, weight, Public(cloud(9, rows, 4), "common"), layer, 16)


def features(model, x):
    return torch.relu(model.module[1](x)).detach()


@pytest.mark.parametrize("rule", RULES)
def test_features_come_nearer_to_the_common_ones(rule):
    model, apart = flat(), {}
    strong = {"coral": 100.0, "mmd": 1.0}[rule]
    for weight in (0.0, strong):
        training = Training(10, 16, 0.05, align=aligned(rule, weight))
        learner = TorchLearner(model, splits(2.0), training)
        trained = learner.train(x := learner.start(), learner.init(x), None, 150, 0, root(1))
        model.load(trained.x)
        apart[weight] = float(RULES[rule](features(model, splits(2.0).train.x), features(model, cloud(9, 32, 4))))
        assert trained.accuracy > 0.55
    assert apart[strong] < 0.5 * apart[0.0]


def test_without_weight_it_changes_nothing():
    ends = []
    for align in (None, aligned("mmd", 0.0)):
        learner = TorchLearner(flat(), splits(), Training(10, 16, 0.1, align=align))
        ends.append(learner.train(x := learner.start(), learner.init(x), None, 5, 0, root(1)).x)
    assert torch.allclose(*ends)


def test_every_node_draws_the_same_public_batch_at_a_step_and_a_pass_holds_all():
    one, other = aligned("mmd", 1.0), aligned("mmd", 1.0)
    seen = [one.public_at(step) for step in range(4)]
    assert torch.equal(seen[3], other.public_at(3))
    assert torch.equal(torch.cat(seen[:2]).sort(0).values, one.public.x.sort(0).values)


def test_engines_that_do_not_run_the_model_leave_it_to_the_loop():
    whole = splits().train
    pool = Pool(whole, whole, [torch.arange(64)], [torch.arange(4)], 16)
    training = Training(10, 16, 0.1, align=aligned("coral", 1.0))
    for kind in (Vmap, Matmul):
        with pytest.raises(Unfit, match="features are aligned"):
            kind(flat(), pool, training)
    assert TorchCrew(flat(), pool, training).engine_name == "loop"


def test_a_layer_that_is_not_there():
    with pytest.raises(ConfigError, match=r"train\.align\.layer: there is no layer 'body' in the model; it has: 0, 1"):
        layer_of(flat().module, "body")
    with pytest.raises(ConfigError, match=r"the model has no linear layer"):
        layer_of(torch.nn.Conv1d(1, 1, 1), "")


def test_a_common_set_is_named_by_its_digest():
    data = Data(cloud(1, 10, 4).float(), torch.zeros(10, dtype=torch.int64), "file", ("a",))
    found = public_of(data, 6, (4,), None)
    assert found.digest == public_of(data, 6, (4,), found.digest.hex()).digest
    assert found.digest != public_of(data, 5, (4,), None).digest
    with pytest.raises(ConfigError, match=r"public\.digest: expected 0{16}\.\., got [0-9a-f]{16}\.\. of file"):
        public_of(data, None, (4,), "0" * 64)
    with pytest.raises(ConfigError, match=r"public: expected samples of shape \(5,\), got \(4,\) in file"):
        public_of(data, None, (5,), None)
    with pytest.raises(ConfigError, match=r"public\.rows: expected at most 10"):
        public_of(data, 11, (4,), None)
