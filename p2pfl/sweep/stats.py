"""Results gathered over the seeds of each setting. Knows numbers; knows no file or picture."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import isnan
from statistics import fmean, stdev

from p2pfl.runs.curves import Point
from p2pfl.sweep.grid import Cell
from p2pfl.sweep.result import Result

NEAR = 0.99
"""Without a target the report asks what it took to come to this part of the best accuracy of any setting."""


@dataclass(frozen=True, slots=True)
class Spread:
    """Mean and sample standard deviation (0 for one value) of `count` values; nan without any."""

    mean: float
    std: float
    count: int

    @classmethod
    def of(cls, values: Sequence[float]) -> "Spread":
        known = [value for value in values if not isnan(value)]
        if not known:
            return cls(float("nan"), 0.0, 0)
        return cls(fmean(known), stdev(known) if len(known) > 1 else 0.0, len(known))


@dataclass(frozen=True, slots=True)
class Setting:
    """A label per axis, and the results of its seeds so far; `cell` is one of its cells."""

    labels: tuple[str, ...]
    results: tuple[Result, ...]
    cell: Cell
    wanted: int

    def spread(self, column: str) -> Spread:
        """Of one of document.COLUMNS."""
        return Spread.of([VALUES[column](result) for result in self.results if result.points])

    def reached(self, accuracy: float, of: Callable[[Point], float]) -> Spread:
        """Over the seeds that reached it; count says how many did."""
        points = [result.reached(accuracy) for result in self.results]
        return Spread.of([of(point) for point in points if point is not None])

    def curve(self, of: Callable[[Point], float]) -> list[Spread]:
        """Point by point over the seeds, as far as any went; seeds that ended earlier count where they were."""
        longest = max((len(result.points) for result in self.results), default=0)
        return [
            Spread.of([of(result.points[i]) for result in self.results if i < len(result.points)])
            for i in range(longest)
        ]

    @property
    def failures(self) -> list[str]:
        return [result.failure for result in self.results if result.failure is not None]


def _last(of: Callable[[Point], float]) -> Callable[[Result], float]:
    return lambda result: of(result.points[-1]) if result.points else float("nan")


VALUES: dict[str, Callable[[Result], float]] = {
    "accuracy": _last(lambda p: p.accuracy),
    "accuracy_best": lambda result: result.best,
    "accuracy_min": _last(lambda p: p.accuracy_min),
    "loss": _last(lambda p: p.loss),
    "rounds": _last(lambda p: p.round),
    "bytes_per_node": _last(lambda p: p.bytes_per_node),
    "seconds": _last(lambda p: p.seconds),
    "consensus": _last(lambda p: p.consensus),
}


def settings_of(cells: Sequence[Cell], results: Mapping[str, Result]) -> list[Setting]:
    """In the cells' order. results: by cell id; cells without one are missing."""
    groups: dict[tuple[str, ...], list[Cell]] = {}
    for cell in cells:
        groups.setdefault(cell.labels, []).append(cell)
    return [
        Setting(labels, tuple(results[c.id] for c in group if c.id in results), group[0], len(group))
        for labels, group in groups.items()
    ]


def target_of(settings: Sequence[Setting], given: float | None) -> float | None:
    """The accuracy that settings are compared at; None where nothing has an accuracy."""
    if given is not None:
        return given
    bests = [setting.spread("accuracy_best").mean for setting in settings]
    known = [best for best in bests if not isnan(best)]
    return NEAR * max(known) if known else None
