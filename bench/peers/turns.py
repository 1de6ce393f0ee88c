"""A simulator's end of the race: it runs so many rounds when it is told to, and says what they took.

Knows a pipe; knows no simulator. Only the standard library: it also runs in the peers' own environments.

The other end (`bench/simulators.py`) writes a number of rounds as a line; back comes a JSON object a turn: seconds of
this process's work (`cpu`), seconds that passed (`wall`), and the most memory it has had so far (`peak_mb`). Until the
next line it stands still, so that the sides of a race take turns. At the end of the input it dies at once: what is
behind the last round is nobody's business.
"""

import json
import os
import resource
import sys
from time import perf_counter, process_time


class Turns:
    """Call `between_rounds` before the first round and after every one. What others print goes to stderr."""

    def __init__(self) -> None:
        self._told = os.fdopen(os.dup(1), "w")
        os.dup2(2, 1)
        self._left = 0
        self._began: tuple[float, float] | None = None

    def between_rounds(self) -> None:
        self._left -= 1
        if self._left > 0:
            return
        if self._began is not None:
            self._tell(process_time() - self._began[0], perf_counter() - self._began[1])
        line = sys.stdin.readline()
        if not line:
            os._exit(0)
        self._left = int(line)
        self._began = process_time(), perf_counter()

    def _tell(self, cpu: float, wall: float) -> None:
        peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6  # Linux counts in KiB
        print(json.dumps({"cpu": cpu, "wall": wall, "peak_mb": peak_mb}), file=self._told, flush=True)
