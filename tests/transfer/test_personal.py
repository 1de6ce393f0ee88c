"""Copies of a node's own: kept by validation, the same on both engines, in folders and reports, never sent."""

import json
from pathlib import Path

import numpy as np
import pytest
import tomli_w
import torch
from click.testing import CliRunner
from torch import nn

from p2pfl.assemble.splits import splits_of
from p2pfl.cli import root as command
from p2pfl.config import NetworkConfig, load_node, parse_network
from p2pfl.core.noise import root
from p2pfl.errors import ConfigError
from p2pfl.learn.data import Data, Splits
from p2pfl.learn.flat import FlatModel
from p2pfl.learn.learner import TorchLearner
from p2pfl.learn.training import Training
from p2pfl.runs.dense import build_dense, run_dense
from p2pfl.runs.simulate import World, build_simulation, run_simulation, simulated
from p2pfl.transfer.personal import Copy, Personal, Personaliser

KEY = root(3)
CLASSES = ("a", "b", "c")


def drawn(labels: list[int], seed: int) -> Data:
    """Samples that say their label, a little blurred."""
    y = torch.tensor(labels, dtype=torch.int64)
    noise = torch.randn(len(y), 3, generator=torch.Generator().manual_seed(seed))
    return Data(nn.functional.one_hot(y, 3).float() + noise, y, "drawn", CLASSES)


def own_splits(validation: int = 12) -> Splits:
    """A node that has classes 0 and 1 in unlike numbers; the test set has all alike."""
    labels = [0] * 40 + [1] * 10
    kept = ([0, 0, 0, 0, 1] * 3)[:validation]
    return Splits(drawn(labels, 1), drawn(kept, 2), drawn([0, 1, 2] * 30, 3))


def personaliser(settings: Personal, splits: Splits | None = None, layer: nn.Module | None = None) -> Personaliser:
    splits = splits or own_splits()
    model = FlatModel(lambda: layer or nn.Linear(3, 3), 1, "cpu")
    return Personaliser(TorchLearner(model, splits, Training(10, lr=0.5)), model, splits, settings)


def made(settings: Personal, **others: object) -> tuple[torch.Tensor, Copy]:
    maker = personaliser(settings, **others)  # type: ignore[arg-type]
    x = maker.model.start()
    kept = x.clone()
    copy = maker.copy(x, KEY)
    assert torch.equal(x, kept)
    assert torch.equal(copy.x, maker.copy(x, KEY).x)
    return x, copy


def test_a_copy_is_never_worse_on_validation_and_suits_its_node_better() -> None:
    x, copy = made(Personal(60))
    assert copy.personal.loss < copy.shared.loss
    assert copy.personal.own is not None
    assert copy.shared.own is not None
    assert copy.personal.own > copy.shared.own
    assert not torch.equal(copy.x, x)


def test_where_nothing_helps_the_copy_is_the_shared_model() -> None:
    maker = personaliser(Personal(60))
    best = maker.copy(maker.model.start(), KEY).x
    spoiled = personaliser(Personal(10, look=5, patience=5, lr=1000.0, prior=False))
    copy = spoiled.copy(best, KEY)
    assert (copy.steps, copy.prior) == (0, False)
    assert torch.equal(copy.x, best)
    assert copy.personal == copy.shared


def test_the_prior_moves_the_output_bias_alone() -> None:
    maker = personaliser(Personal(60))
    x = maker.model.start()
    moved = maker._with_prior(x)
    assert moved is not None
    schema = maker.model.schema
    before, after = schema.unflatten(x), schema.unflatten(moved)
    assert torch.equal(before["weight"], after["weight"])
    ratio = (after["bias"] - before["bias"]).exp()
    assert torch.allclose(ratio / ratio[2], torch.tensor([40.5, 10.5, 0.5]) / 0.5)


@pytest.mark.parametrize("layer", [nn.Linear(3, 3, bias=False), nn.Sequential(nn.Linear(3, 3), nn.Tanh())])
def test_without_such_a_bias_there_is_no_prior(layer: nn.Module) -> None:
    _, copy = made(Personal(20), layer=layer)
    assert not copy.prior


def test_own_accuracy_weighs_the_test_set_by_the_own_labels() -> None:
    maker = personaliser(Personal(20))
    x = torch.zeros(12)
    x[9] = 1.0  # the bias of class 0: always says 0
    figures = maker.copy(x, KEY).shared
    share = (40 + sum(int(y == 0) for y in own_splits().validation.y)) / 62
    assert figures.own == pytest.approx(share)
    assert figures.accuracy == pytest.approx(1 / 3)


def test_without_validation_examples_there_is_one_clear_line() -> None:
    with pytest.raises(
        ConfigError, match=r"personal.steps: expected validation examples .* got none of this node's 50"
    ):
        personaliser(Personal(20), own_splits(0))


# ------------------------------------------------------------------------------------------------ in a network


def document(**personal: object) -> str:
    return tomli_w.dumps(
        {
            "format": 1,
            "model": {"name": "linear", "input_shape": [1, 8, 8], "num_classes": 10},
            "pace": {"mode": "lockstep", "rounds": 3, "evaluate": 0},
            "data": {"source": "digits", "validation_fraction": 0.2, "partition": {"by": "dirichlet", "alpha": 0.3}},
            "personal": {"steps": 15, **personal},
        }
    )


def network(**personal: object) -> NetworkConfig:
    return simulated(parse_network(document(**personal), Path("network.toml")), 4)


def test_both_engines_make_the_same_copies() -> None:
    config = network()
    simulation = build_simulation(config, World(), dtype=torch.float64)
    assert run_simulation(simulation).outcome == "stopped"
    dense = build_dense(config, dtype=torch.float64)
    run_dense(dense)
    for name, node in simulation.nodes.items():
        copy = node.job.copy
        assert copy is not None
        assert torch.allclose(copy.x, dense.copies[name].x, atol=1e-9)
        assert simulation.outcomes[name].personal["steps"] == dense.copies[name].steps
        assert simulation.outcomes[name].summary()["personal"]["own_accuracy"] == copy.personal.own


def test_what_is_said_to_others_is_the_same_with_and_without_copies() -> None:
    ends = []
    for steps in (0, 15):
        simulation = build_simulation(network(steps=steps), World())
        run_simulation(simulation)
        ends.append([(node.job.local.x, simulation.outcomes[name].traffic) for name, node in simulation.nodes.items()])
    for (x, sent), (y, also) in zip(*ends, strict=True):
        assert torch.equal(x, y)
        assert sent == also


def test_a_nodes_own_settings_and_data_count(tmp_path: Path) -> None:
    config = network()
    text = tomli_w.dumps({"nodes": [{"name": e.name, "key": e.key.hex(), "url": e.url} for e in config.nodes]})
    (tmp_path / "network.toml").write_text('tls = "off"\n' + document(look=7) + text)
    own = 'format = 1\nnetwork = "network.toml"\nname = "n1"\nkey_file = "k"\nlisten = "127.0.0.1:1"\nout = "run"\n'
    (tmp_path / "node.toml").write_text(own + "[personal]\nsteps = 99\n")
    merged = load_node(tmp_path / "node.toml").personal
    assert (merged.steps, merged.look) == (99, 7)


def test_reports_folders_and_predictions_have_the_copy_beside_the_model(tmp_path: Path) -> None:
    (tmp_path / "network.toml").write_text(document())
    arguments = [
        "sim",
        str(tmp_path / "network.toml"),
        "--nodes",
        "4",
        "--out",
        str(tmp_path / "run"),
        "--no-baselines",
    ]
    shown = CliRunner().invoke(command, [*arguments, "--engine", "dense", "--quiet"])
    assert shown.exit_code == 0, shown.output
    assert "own copies: accuracy on own labels (mean)" in shown.output
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert summary["personal"]["nodes"] == 4
    assert {"own_accuracy", "shared_own_accuracy"} <= set(summary["per_node"][0]["personal"])
    config = network()
    run = build_dense(config)
    test = splits_of(run.held, run.shares[0], config.data, config.seed, 0).test
    np.save(tmp_path / "x.npy", test.x.numpy())
    said = []
    for more in ([], ["--personal"]):
        told = CliRunner().invoke(
            command, ["predict", str(tmp_path / "run" / "n0"), str(tmp_path / "x.npy"), "--json", *more]
        )
        assert told.exit_code == 0, told.output
        said.append(told.output)
    assert said[0] != said[1]
