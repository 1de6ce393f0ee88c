"""Looking at processes until something is so: nothing here waits for a time to pass, and nothing waits for ever."""

import subprocess
import time
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from typing import TypeVar

from p2pfl.runs.local import Process

LIMIT_S = 480.0
"""Of a whole wait; a busy machine takes several times what a quiet one takes, and fails nothing by that."""
LOOK_S = 0.2
"""Until the next look, if no process ends before."""

T = TypeVar("T")


def until(
    found: Callable[[], T],
    processes: Sequence[Process],
    what: str = "what was waited for",
    down: Collection[Process] = (),
    limit_s: float = LIMIT_S,
) -> T:
    """The first value of `found` that is true.

    Fails with `what` when the time is over, and with its last words when a process that is not `down` has ended with an
    error; one that has not been started is no matter.
    """
    deadline = time.monotonic() + limit_s
    while not (value := found()):
        for process in processes:
            process.follow()
            assert process in down or code_of(process) in (None, 0), (what, process.summary())
        assert time.monotonic() < deadline, (what, [process.summary() for process in processes])
        look_again(processes, LOOK_S)
    return value


def code_of(process: Process) -> int | None:
    """What the process has ended with; None while it runs or before its start."""
    return None if process.handle is None else process.handle.poll()


def look_again(processes: Sequence[Process], seconds: float) -> None:
    """Return when the first of those that run has ended, or it is time for another look."""
    running = [process.handle for process in processes if process.handle is not None and process.handle.poll() is None]
    if running:
        with suppress(subprocess.TimeoutExpired):
            running[0].wait(seconds)
