"""The switch that keeps large blocks: in a process of its own, since it cannot be undone."""

import subprocess
import sys

CODE = """
import sys
from p2pfl.hosts.memory import keep_memory
kept = keep_memory()
assert kept in (True, False) and "torch" not in sys.modules
if kept:
    from resource import RUSAGE_SELF, getrusage
    block = bytearray(b"x") * (64 << 20)
    del block
    before = getrusage(RUSAGE_SELF).ru_minflt
    block = bytearray(b"x") * (64 << 20)
    assert getrusage(RUSAGE_SELF).ru_minflt - before < 1000
"""


def test_large_blocks_are_used_again() -> None:
    subprocess.run([sys.executable, "-c", CODE], check=True, timeout=60)
