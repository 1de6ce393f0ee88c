"""What all tests share: the folder of larger data sets, one thread, and no time limits."""

import sys
from pathlib import Path

import pytest
from hypothesis import settings

ROOT = Path(__file__).resolve().parent.parent
DATA = ROOT.parent / "shared" / "data"

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
