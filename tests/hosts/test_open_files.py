"""A node raises its own limit of open files as far as it may, and never beyond."""

import subprocess
import sys

import pytest

from p2pfl.hosts.open_files import SPARE, files_needed, limits
from p2pfl.hosts.settings import HttpSettings

PROBE = """
import resource, sys
from p2pfl.hosts.open_files import allow_files, limits
soft, hard, needed = map(int, sys.argv[1:])
resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
print(allow_files(needed), resource.getrlimit(resource.RLIMIT_NOFILE)[0])
"""


def test_what_is_needed_grows_with_the_neighbours() -> None:
    settings = HttpSettings(connections_max=10, exchange_per_host=2, gossip_per_host=1)
    assert [files_needed(n, settings) for n in (0, 1, 5)] == [10 + SPARE, 13 + SPARE, 25 + SPARE]
    assert files_needed(0) >= HttpSettings().connections_max + SPARE


@pytest.mark.parametrize(
    ("soft", "hard", "needed", "allowed"),
    [(64, 256, 200, 200), (64, 256, 1000, 256), (200, 256, 100, 200), (256, 256, 1000, 256)],
)
def test_the_limit_is_raised_as_far_as_it_may_be(soft: int, hard: int, needed: int, allowed: int) -> None:
    if limits()[1] < hard:
        pytest.skip(f"this machine allows {limits()[1]} files")
    command = [sys.executable, "-c", PROBE, str(soft), str(hard), str(needed)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.split() == [str(allowed)] * 2
