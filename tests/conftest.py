"""What all tests share: the folder of larger data sets, one thread, and no time limits."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

ROOT = Path(__file__).resolve().parent.parent
DATA = ROOT.parent / "shared" / "data"

if TYPE_CHECKING:
    from p2pfl.config import NetworkConfig

TRIAL = """
format = 1
name = "trial"
[model]
name = "mlp"
input_shape = [1, 8, 8]
num_classes = 10
args = { hidden = [16] }
[topology]
family = "complete"
[pace]
rounds = 60
[train]
steps = 3
lr = 0.1
[data]
source = "digits"
partition = { by = "dirichlet", alpha = 3.0 }
[ledger]
interval_s = 0.1
[valuation]
share = 10.0
"""
"""The smallest network that is worth valuing: nodes that learn digits in seconds, short blocks, bytes to spare."""

settings.register_profile("p2pfl", deadline=None)  # a busy machine is no defect
settings.load_profile("p2pfl")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--data", default=str(DATA), metavar="DIR", help=f"folder of data sets (default {DATA})")


def pytest_runtest_setup() -> None:
    """Small tensors gain nothing from threads. Tests that need no tensor must not pay for importing torch."""
    if (torch := sys.modules.get("torch")) is not None:
        torch.set_num_threads(1)


@pytest.fixture
def data_dir(request: pytest.FixtureRequest) -> Path:
    """The folder of --data; tests that need it are skipped where it is absent."""
    folder = Path(request.config.getoption("--data"))
    if not folder.is_dir():
        pytest.skip(f"no data folder {folder}; give one with --data DIR")
    return folder


@pytest.fixture(scope="session")
def trial_config(tmp_path_factory: pytest.TempPathFactory) -> "Callable[..., NetworkConfig]":
    """`trial_config(*overrides)`: the network TRIAL, changed as `--set` would; raises ConfigError as it does."""
    from p2pfl.config import load_network

    path = tmp_path_factory.mktemp("trial") / "network.toml"
    path.write_text(TRIAL)
    return lambda *overrides: load_network(path, overrides)
