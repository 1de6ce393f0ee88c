"""The switch that keeps large blocks: in a process of its own, since it cannot be undone."""

import subprocess
import sys

import pytest

CODE = """
import sys
from p2pfl.hosts.memory import keep_memory
kept = keep_memory()
assert kept in (True, False) and "torch" not in sys.modules
if kept:
    from resource import RUSAGE_SELF, getrusage
    from threading import Thread
    def faults():
        block = bytearray(b"x") * SIZE
        del block
        before = getrusage(RUSAGE_SELF).ru_minflt
        block = bytearray(b"x") * SIZE
        found.append(getrusage(RUSAGE_SELF).ru_minflt - before)
    found = []
    faults()
    thread = Thread(target=faults)
    thread.start()
    thread.join()
    assert max(found) < 1000, found
"""


@pytest.mark.parametrize("size", [40, 64])
def test_large_blocks_are_used_again(size: int) -> None:
    subprocess.run([sys.executable, "-c", CODE.replace("SIZE", str(size << 20))], check=True, timeout=60)
