"""A node as a process that a notebook starts, looks at and ends: `p2pfl.start_node`. Knows processes; no learning."""

import subprocess
from pathlib import Path
from types import TracebackType
from typing import Any

from p2pfl.config import load_node
from p2pfl.errors import HostError
from p2pfl.runs.local import GRACE_S, Process, end_processes
from p2pfl.runs.outcome import Outcome


class Running:
    """A node that was started. As a context manager it does not outlive the block."""

    def __init__(self, process: Process) -> None:
        self._process = process

    @property
    def is_running(self) -> bool:
        handle = self._process.handle
        return handle is not None and handle.poll() is None

    @property
    def outcome(self) -> Outcome:
        """How far it is: `.round`, `.accuracy`, `.traffic`, .."""
        self._process.follow()
        return self._process.outcome

    def wait(self, limit_s: float | None = None) -> dict[str, Any]:
        """What `p2pfl node --json` prints, once it has ended. Raises HostError if it failed, or has not by then."""
        handle = self._process.handle
        assert handle is not None
        try:
            code = handle.wait(limit_s)
        except subprocess.TimeoutExpired:
            raise HostError(
                f"{self._process.outcome.name} has not ended within {limit_s:g} s; .stop() ends it"
            ) from None
        summary = self._process.summary()
        if code:
            raise HostError(f"{self._process.outcome.name} failed: {summary['failure']}")
        return summary

    def stop(self, grace_s: float = GRACE_S) -> dict[str, Any]:
        """Ask it to end, as Ctrl-C does, and wait for that; `resume=True` goes on later."""
        end_processes([self._process], grace_s)
        return self._process.summary()

    def __enter__(self) -> "Running":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()

    def __repr__(self) -> str:
        outcome = self.outcome
        how = "runs" if self.is_running else "has ended"
        accuracy = "" if outcome.accuracy is None else f", accuracy {outcome.accuracy:.4g}"
        return f"<p2pfl node {outcome.name}: {how}, round {outcome.round} of {outcome.rounds or '?'}{accuracy}>"


def start_node(document: str | Path, resume: bool = False) -> Running:
    """See `p2pfl.start_node`."""
    path = Path(document).absolute()
    config = load_node(path)
    process = Process(path, config.out, Outcome(config.name, 0), ("--resume",) if resume else ())
    process.start()
    return Running(process)
