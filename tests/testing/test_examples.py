"""The examples that docs/your_own_parts.md goes through keep the laws, and the page shows them as they are."""

import runpy
from pathlib import Path
from typing import Any

import torch

from p2pfl.assemble.splits import load_held, shares_of
from p2pfl.config import load_network
from p2pfl.core.noise import root
from p2pfl.learn.data import split
from p2pfl.learn.flat import FlatModel
from p2pfl.learn.names import resolve
from p2pfl.learn.training import Training
from p2pfl.testing import check_codec, check_learner, check_mixer, check_topology

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "examples"


def own(name: str) -> Any:
    return resolve(name, EXAMPLES)


def test_the_codec() -> None:
    check_codec(own("own_codec.py:Byte")())


def test_the_mixer() -> None:
    for radius in (0.3, 1.0, 100.0):
        check_mixer(own("own_mixer.py:Clipped")(radius))


def test_the_learner_the_model_and_the_data() -> None:
    config = load_network(EXAMPLES / "network.toml", ())
    held = load_held(config.data, config.seed)
    for rows in shares_of(held, config.data, 3, config.seed):
        splits = split(held.train, rows, held.test, root(1), 0.1)
        model = FlatModel(lambda: own("own_model.py:rings_net")((2,), 3))
        check_learner(own("own_learner.py:Sharp")(model, splits, Training(10, 16, 0.1), rho=0.02))


def test_the_graph() -> None:
    build = runpy.run_path(str(EXAMPLES / "own_topology.py"))["build"]
    check_topology(build, (4, 5, 8, 16))
    check_topology(build, (9, 16), chord=3)


def test_a_neighbour_that_is_far_off_moves_nobody_far() -> None:
    from p2pfl.mixing import Heard, Phase

    x = torch.zeros(10)
    weights = torch.tensor([0.3, 0.3], dtype=torch.float64)
    inbox = torch.stack([torch.full((10,), 1e6), torch.full((10,), 0.01)])
    heard = Heard(x, inbox, weights, torch.tensor(0.6), torch.zeros(2, 0))
    _, mixed = own("own_mixer.py:Clipped")(1.0).mix({}, x, heard, Phase(x, torch.tensor(0.0)))
    assert 0.29 < float(mixed.norm()) < 0.32


def test_every_example_is_in_the_document_and_on_the_page() -> None:
    page = (ROOT / "docs" / "your_own_parts.md").read_text("utf-8")
    document = (EXAMPLES / "network.toml").read_text("utf-8")
    for path in sorted(EXAMPLES.glob("own_*.py")):
        assert f"examples/{path.name}" in page
        assert path.name in document
