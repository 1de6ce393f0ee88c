"""A finished network's model as another network's start, by documents; what does not fit is one line and exit 2."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

import p2pfl
from p2pfl.assemble.network import assemble
from p2pfl.cli import main
from p2pfl.config import NetworkConfig, load_network
from p2pfl.runs.predict import predict
from p2pfl.runs.simulate import simulated

DOCUMENT: dict[str, Any] = {
    "model": {"name": "mlp", "args": {"hidden": [16]}},
    "pace": {"mode": "lockstep", "rounds": 20, "evaluate": 20},
    "data": {"partition": {"by": "iid"}},
}


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return p2pfl.simulate(DOCUMENT, nodes=3).save(tmp_path_factory.mktemp("finished") / "run")


def accuracy(**model: Any) -> float:
    quick = {"pace": {"mode": "lockstep", "rounds": 1, "evaluate": 1}, "model": DOCUMENT["model"] | model}
    return p2pfl.simulate(DOCUMENT | quick, nodes=3).rounds[-1]["accuracy"]


def test_a_network_goes_on_from_a_finished_one(finished: Path) -> None:
    assert accuracy(start=str(finished / "n0")) > 0.8 > 0.6 > accuracy()


def test_frozen_layers_and_adapters_are_written_merged(finished: Path, tmp_path: Path) -> None:
    """A run's model is the plain model's, whatever was learned of it: it predicts, and begins another network."""
    start = str(finished / "n0" / "model.safetensors")
    model = DOCUMENT["model"] | {"start": start, "adapters": {"rank": 2, "layers": ["1"]}, "freeze": []}
    result = p2pfl.simulate(DOCUMENT | {"model": model}, nodes=3)
    home = result.save(tmp_path / "adapted")
    before, after = load_file(start), load_file(home / "n0" / "model.safetensors")
    assert before.keys() == after.keys()
    assert not torch.equal(before["1.weight"], after["1.weight"])
    assert torch.equal(before["3.weight"], after["3.weight"])
    np.save(tmp_path / "x.npy", np.zeros((2, 1, 8, 8), np.float32))
    document = (home / "n0" / "network.toml").read_text()
    assert start in document
    (home / "n0" / "network.toml").write_text(document.replace(start, "/gone.safetensors"))
    assert len(predict(home, tmp_path / "x.npy").classes) == 2
    assert accuracy(start=str(home)) > 0.8


@pytest.mark.parametrize("engine", ["dense", "events"])
def test_what_is_kept_and_judged_lies_between_start_and_learned(finished: Path, tmp_path: Path, engine: str) -> None:
    """WiSE-FT: learning goes on as without; what is kept and judged is interpolated."""
    start = str(finished / "n0" / "model.safetensors")
    found = {}
    for share in (1.0, 0.5):
        model = DOCUMENT["model"] | {"start": start, "interpolate": share}
        quick = {"model": model, "pace": {"mode": "lockstep", "rounds": 4, "evaluate": 0}}
        result = p2pfl.simulate(DOCUMENT | quick, nodes=3, engine=engine)
        home = result.save(tmp_path / f"{engine}-{share}")
        found[share] = (load_file(home / "n1" / "model.safetensors"), result.rounds[-1]["loss"], home)
    before, learned, between = load_file(start), found[1.0][0], found[0.5][0]
    for name, tensor in between.items():
        assert torch.allclose(tensor, (before[name] + learned[name]) / 2, atol=1e-6)
    assert found[1.0][1] != found[0.5][1]
    document = (found[0.5][2] / "n0" / "network.toml").read_text()
    (found[0.5][2] / "n0" / "network.toml").write_text(document.replace(start, "/gone.safetensors"))
    np.save(tmp_path / "x.npy", np.zeros((2, 1, 8, 8), np.float32))
    assert len(predict(found[0.5][2], tmp_path / "x.npy").classes) == 2


def config_of(tmp_path: Path, name: str, extra: str) -> NetworkConfig:
    (path := tmp_path / name).write_text("format = 1\n[model]\nargs = { hidden = [16] }\n" + extra)
    return simulated(load_network(path), 3)


def test_nodes_that_begin_otherwise_refuse_each_other(finished: Path, tmp_path: Path) -> None:
    """Every difference is in the recipe: the checkpoint, what is shared, frozen or adapted, and the common set."""
    other = load_file(finished / "n0" / "model.safetensors")
    other["3.bias"][0] += 1e-3
    save_file(other, tmp_path / "other.safetensors")
    ways = {
        "plain": "",
        "start": f'start = "{finished}/n0"\n',
        "other start": f'start = "{tmp_path}/other.safetensors"\n',
        "share": 'share = ["1"]\n',
        "freeze": 'freeze = ["1"]\n',
        "adapters": "adapters = { rank = 2 }\n",
        "public": '[public]\nsource = "digits"\nrows = 50\n',
        "other public": '[public]\nsource = "digits"\nrows = 51\n',
    }
    digests = {assemble(config_of(tmp_path, name, extra)).recipe.digest for name, extra in ways.items()}
    assert len(digests) == len(ways)
    copy = tmp_path / "copy.safetensors"
    copy.write_bytes((finished / "n0" / "model.safetensors").read_bytes())
    same = [config_of(tmp_path, name, f'start = "{path}"\n') for name, path in (("a", finished / "n0"), ("b", copy))]
    assert len({assemble(config).recipe.digest for config in same}) == 1


WRONG = {
    "model.start=nowhere.pt": "cannot read the model .*nowhere.pt: there is no such file or folder",
    'model.start="{run}/n1"+model.args.hidden=[8]': r"expected 1.weight of shape \(8, 64\), got \(16, 64\); name it in",
    'model.share=["backbone"]': "model.share: 'backbone' matches nothing; there are: 1.weight, 1.bias",
    'model.freeze=["head.*"]': "model.freeze: 'head.*' matches nothing; there are: 1.weight",
    'model.freeze=["*"]': "expected something left to learn",
    'model.fresh=["1"]': "model.fresh: names what is not taken from model.start",
    'model.adapters={{rank=2,layers=["attn"]}}': "model.adapters.layers: 'attn' matches no linear or convolution",
    "model.adapters={{rank=99}}": "model.adapters.rank: expected at most 16",
    "train.align.rule=mmd": "train.align.rule: 'mmd' brings features near those of a common set, and there is none",
    "public.rows=9": None,
    'public.digest="00"': "public.source: missing; expected where the common samples are from",
    "public.source=breast_cancer": r"public: expected samples of shape \(1, 8, 8\), got \(30,\)",
    'public={{source="digits",digest="00"}}': "public.digest: expected 00.., got",
    'train.unfreeze={{every=5,order=["head"]}}': "train.unfreeze.order: 'head' matches nothing",
    "model.interpolate=0.5": "model.interpolate: expected model.start, between which and what is learned",
    "model.interpolate=1.5": r"model.interpolate: expected a number from 0.0 to 1.0, got the number 1.5",
    "model.start={run}/n0+model.interpolate=0.5+personal.steps=5": "personal.steps: with model.interpolate",
    'model.share=["1"]+valuation.on=true': "valuation.on: with model.share",
}


@pytest.mark.parametrize(
    ("changes", "engine"), [*((changes, "events") for changes in WRONG), ('model.share=["backbone"]', "dense")]
)
def test_what_does_not_fit_is_one_line(
    changes: str, engine: str, finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (document := tmp_path / "network.toml").write_text(
        'format = 1\n[model]\nargs = { hidden = [16] }\n[pace]\nmode = "lockstep"\nrounds = 1\n'
    )
    arguments = ["sim", str(document), "--nodes", "3", "--engine", engine, "--no-baselines"]
    for change in changes.format(run=finished).split("+"):
        arguments += ["--set", change]
    code = main(arguments)
    shown = capsys.readouterr()
    if WRONG[changes] is None:
        assert code == 0
        return
    assert code == 2, shown
    assert shown.err.count("\n") == 1, shown.err
    assert re.search(WRONG[changes], shown.err), shown.err
