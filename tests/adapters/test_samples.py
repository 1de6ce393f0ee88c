"""Frames, arrays and torch datasets as what a node learns from."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import TensorDataset

import p2pfl
from p2pfl.adapters.samples import frame, source_of
from p2pfl.errors import ConfigError
from p2pfl.learn.datasets import load

pd = pytest.importorskip("pandas", reason="pandas is not installed")

ROWS = {
    "age": [31, 47, 52, 60],
    "ward": ["north", "south", "south", "east"],
    "smokes": [True, False, True, False],
    "dose": [0.5, 1.25, 1e-3, 2.0],
    "outcome": ["well", "ill", "well", "ill"],
}


def test_a_frame_is_read_as_its_csv_would_be(tmp_path):
    table = pd.DataFrame(ROWS)
    table.to_csv(tmp_path / "t.csv", index=False)
    of_frame = source_of(table, "outcome")
    of_file = load("csv", tmp_path, {"path": "t.csv", "label": "outcome"})
    assert torch.equal(of_frame.data.x, of_file.data.x)
    assert torch.equal(of_frame.data.y, of_file.data.y)
    assert of_frame.encoder == of_file.encoder
    assert (of_frame.data.classes, of_frame.standardise) == (("ill", "well"), of_file.standardise)


def test_frames_of_two_machines_agree_by_an_encoder():
    table = pd.DataFrame(ROWS)
    whole = frame(table, "outcome")
    part = frame(table[table.ward == "south"], "outcome", encoder=whole.encoder)
    assert torch.equal(part.data.x, whole.data.x[1:3])
    assert part.data.classes == whole.data.classes


def test_a_frame_and_a_series():
    table = pd.DataFrame(ROWS)
    both = source_of((table.drop(columns="outcome"), table.outcome))
    assert torch.equal(both.data.x, source_of(table, "outcome").data.x)
    assert both.data.classes == ("ill", "well")


@pytest.mark.parametrize("kind", [pd.DataFrame, lambda rows: pd.DataFrame(rows).convert_dtypes()], ids=["plain", "own"])
def test_what_is_missing_is_named(kind):
    rows = ROWS | {"dose": [0.5, None, 1.0, 2.0]}
    with pytest.raises(ConfigError, match="line 2: missing value in column 'dose'"):
        source_of(kind(rows), "outcome")


def test_what_does_not_fit_is_one_line():
    table = pd.DataFrame(ROWS)
    for given, label, sentence in (
        (table, None, "label: expected the name of one of the frame's columns: age, ward"),
        (table, "result", "there is no column 'result'"),
        (table[:0], "outcome", "there are no rows"),
        (torch.zeros(3), "outcome", "label: expected a pandas frame with a column 'outcome', got Tensor"),
        ((table, table.outcome), None, "has a column 'outcome' already"),
    ):
        with pytest.raises(ConfigError, match=sentence):
            source_of(given, label)


def test_a_torch_dataset_and_a_module_join_as_they_are():
    rng = np.random.default_rng(0)
    x = torch.tensor(rng.normal(size=(300, 2)), dtype=torch.float32)
    samples = TensorDataset(x, (x.sum(1) > 0).long())
    net = nn.Sequential(nn.Linear(2, 8), nn.Tanh(), nn.Linear(8, 2))
    before = net[0].weight.detach().clone()
    run = p2pfl.simulate(p2pfl.adapt(net, samples), nodes=4, pace={"rounds": 15, "evaluate": 15})
    assert run.rounds[-1]["accuracy"] > 0.9
    assert torch.equal(net[0].weight, before)  # the caller's own module is not trained behind its back
    again = p2pfl.simulate(p2pfl.adapt(lambda: net, samples), nodes=4, pace={"rounds": 1})
    assert again.summary["nodes"] == 4


def test_a_frame_and_an_estimator():
    linear_model = pytest.importorskip("sklearn.linear_model")
    rng = np.random.default_rng(0)
    table = pd.DataFrame({"a": rng.normal(size=200), "b": rng.normal(size=200)})
    table["y"] = np.where(table.a > table.b, "yes", "no")
    app = p2pfl.adapt(linear_model.SGDClassifier(), table, label="y")
    assert p2pfl.simulate(app, nodes=3, pace={"rounds": 10}).rounds[-1]["accuracy"] > 0.9
