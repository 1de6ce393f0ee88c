"""What a simulated network says while it runs, for `p2pfl dashboard` and `p2pfl top`. Knows files; no host.

course.jsonl    one JSON object per event: {"seconds", "event", "name", ...}; seconds are virtual; bounded as a node's
                metrics.jsonl is, and it begins with who is whose neighbour
"""

from collections.abc import Iterator
from contextlib import contextmanager

from p2pfl.assemble.network import Shared
from p2pfl.core.party import Emit
from p2pfl.runs.folder import Metrics, RunFolder
from p2pfl.runs.outcome import Outcome

COURSE = "course.jsonl"
TOLD = frozenset(
    {
        "round",
        "evaluation",
        "finished",
        "failed",
        "late",
        "refused",
        "rejected",
        "refused_by",
        "privacy",
        "ledger.final",
    }
)


class Course:
    """Feed it every Emit of every node; without a folder it keeps nothing."""

    def __init__(self, metrics: Metrics | None) -> None:
        self._metrics = metrics

    def begin(self, shared: Shared) -> None:
        """Who is whose neighbour."""
        keys = {entry.name: entry.key.hex() for entry in shared.config.nodes}
        for one in sorted(keys) if self._metrics is not None else ():
            for other in shared.topology.neighbours(one):
                if one < other:
                    self._write(0.0, Emit("edge", {"name": one, "peer": keys[other]}))

    def take(self, outcome: Outcome, emit: Emit) -> None:
        """`outcome` has taken it already."""
        if self._metrics is not None and emit.name in TOLD:
            self._write(outcome.last_s, Emit(emit.name, {"name": outcome.name, **emit.fields}))

    def _write(self, seconds: float, emit: Emit) -> None:
        assert self._metrics is not None
        self._metrics.write(seconds, emit)


@contextmanager
def course_in(folder: RunFolder | None) -> Iterator[Course]:
    """In a run's folder. Raises HostError if the disk refuses."""
    if folder is None:
        yield Course(None)
        return
    metrics = Metrics(folder / COURSE, append=False)
    try:
        yield Course(metrics)
    finally:
        metrics.close()
