"""Accuracy as a run goes on: by round, by byte, by simulated second. Knows outcomes; no host, terminal or picture.

A `Curve` hears every Emit of every node. Once all nodes have judged their models anew, that is one point: the mean over
the nodes of what each says of its own model, beside what it had cost them by then.
"""

import csv
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import fmean
from typing import NamedTuple

from p2pfl.core.party import Emit
from p2pfl.errors import HostError
from p2pfl.learn.data import SplitName
from p2pfl.runs.outcome import Outcome

COLUMNS = (
    "setting",
    "round",
    "seconds",
    "bytes_per_node",
    "accuracy_mean",
    "accuracy_min",
    "loss_mean",
    "consensus_distance",
)


class Point(NamedTuple):
    """Means over the nodes. accuracy is nan where there is none (regression), consensus where nobody asked for it."""

    round: float
    seconds: float
    bytes_per_node: float
    accuracy: float
    accuracy_min: float
    loss: float
    consensus: float = float("nan")


class Curve:
    """One setting's run, judged by one part of the data. Feed `take` to `build_simulation(on_emit=...)`."""

    def __init__(self, name: str, num_nodes: int, split: SplitName = "test") -> None:
        self.name, self.num_nodes, self.split = name, num_nodes, split
        self.points: list[Point] = []
        self.failure: str | None = None
        self.distance: Callable[[], float] | None = None
        """Asked at each point: the consensus distance of all models as they are now."""
        self._fresh: dict[str, tuple[float, float, float, float, float]] = {}  # by node, since the last point

    def take(self, outcome: Outcome, emit: Emit) -> None:
        """A node has said something."""
        if emit.name != "evaluation" or emit.fields["split"] != self.split:
            return
        accuracy = emit.fields.get("accuracy")
        self._fresh[outcome.name] = (
            float(emit.fields["round"] or 0),
            outcome.last_s,
            float(outcome.traffic.get("bytes_sent", 0)),
            float("nan") if accuracy is None else float(accuracy),
            float(emit.fields["loss"] or 0.0),
        )
        if len(self._fresh) == self.num_nodes:
            rounds, seconds, sent, accuracies, losses = zip(*self._fresh.values(), strict=True)
            self._fresh = {}
            means = (fmean(rounds), max(seconds), fmean(sent), fmean(accuracies))
            apart = self.distance() if self.distance is not None else float("nan")
            self.points.append(Point(*means, min(accuracies), fmean(losses), apart))

    def reached(self, accuracy: float) -> Point | None:
        """The first point with at least this mean accuracy."""
        return next((point for point in self.points if point.accuracy >= accuracy), None)

    def at(self, part: float) -> Point | None:
        """The last point within this part of the run as far as it went, 0 to 1."""
        end = self.points[-1].round if self.points else 0.0
        return next((point for point in reversed(self.points) if point.round <= part * end + 1e-9), None)

    @property
    def best(self) -> float | None:
        """The highest mean accuracy so far."""
        return max((point.accuracy for point in self.points), default=None)


def write_csv(path: Path, curves: Sequence[Curve]) -> None:
    """All points of all curves, one a line, under COLUMNS. Raises HostError."""
    try:
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(COLUMNS)
            for curve in curves:
                writer.writerows((curve.name, *point) for point in curve.points)
    except OSError as error:
        raise HostError(f"cannot write {path}: {error.strerror}") from None
