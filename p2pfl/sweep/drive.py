"""A sweep from its cells to its report. Knows the order of things; knows no terminal."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic

from p2pfl.errors import ConfigError
from p2pfl.runs.memory import check_config
from p2pfl.runs.simulate import simulated
from p2pfl.sweep.document import SweepConfig
from p2pfl.sweep.folder import REPORT, SweepFolder
from p2pfl.sweep.grid import Axis, Cell
from p2pfl.sweep.numbers import duration
from p2pfl.sweep.pool import Pool, Progress, Say
from p2pfl.sweep.report import write_report
from p2pfl.sweep.result import Result, write_whole
from p2pfl.sweep.tables import write_tables

SURE_S = 2.0
SURE_ROUNDS = 3
"""An estimate of time is made after so many seconds and rounds of work, or after the first cell."""


@dataclass(frozen=True)
class Plan:
    """What is to be run, and what a former run left."""

    sweep: SweepConfig
    axes: tuple[Axis, ...]
    cells: tuple[Cell, ...]
    folder: SweepFolder
    kept: dict[str, Result]
    overrides: tuple[str, ...] = ()

    @property
    def waiting(self) -> list[Cell]:
        return [cell for cell in self.cells if cell.id not in self.kept]

    def words(self, workers: int, memory: int) -> str:
        """What is expected, in one line."""
        parts = [f"{len(axis.values)} {axis.name}" for axis in self.axes]
        parts.append(f"{len(self.sweep.seeds)} seed{'s' * (len(self.sweep.seeds) > 1)}")
        text = f"{len(self.cells)} cells: {' x '.join(parts)}; {self.sweep.engine} engine"
        text += f", {workers} workers" if workers > 1 else ""
        text += f", about {memory / 1e9:.2g} GB of memory" if memory else ""
        return text + (f"; {len(self.kept)} are done" if self.kept else "")


@dataclass(eq=False)
class Clock:
    """How long all will take, said once: by the pace of the first rounds. Feed `heard` to the pool."""

    cells: int
    say: Say
    on_progress: Progress
    begun: float = field(default_factory=monotonic)
    parts: dict[str, float] = field(default_factory=dict)
    first: tuple[float, float] | None = None
    said: bool = False

    def heard(self, cell: Cell, part: float) -> None:
        self.parts[cell.id] = part
        now, done = monotonic(), sum(self.parts.values())
        if self.first is None:
            self.first = (now, done)
        since, before = self.first
        sure = now - since >= SURE_S and part >= min(SURE_ROUNDS / cell.config.pace.rounds, 0.5)
        if not self.said and (sure or part == 1.0) and self.cells > 0:
            # Getting ready is not done as often as the rest, so it is counted apart.
            pace = (now - since) / (done - before) if done > before else now - self.begun
            self.said = True
            self.say(f"expected to take about {duration(since - self.begun + pace * (self.cells - before))} in all")
        self.on_progress(cell, part)


def check_cells(plan: Plan, workers: int) -> int:
    """Make every waiting setting's parts once, before any long run. Returns the memory that is needed, about.

    Raises ConfigError that names the setting, also if it is too large for this machine.
    """
    seen: set[tuple[str, ...]] = set()
    needed = 0
    for cell in plan.waiting:
        if cell.labels in seen:
            continue
        seen.add(cell.labels)
        try:
            config, runs = simulated(cell.config, cell.resized), min(workers, len(plan.waiting))
            needed = max(needed, check_config(config, plan.sweep.engine == "dense", runs))
        except ConfigError as error:
            raise ConfigError(f"{plan.sweep.path}: {', '.join(cell.labels) or 'the network'}: {error}") from None
    return needed


def run_plan(plan: Plan, workers: int, on_progress: Progress, say: Say) -> dict[str, str]:
    """Run what is waiting. Returns the cells that were given up, with the reason. Raises ConfigError, HostError."""
    clock = Clock(len(plan.waiting), say, on_progress)
    pool = Pool(plan.sweep, plan.folder, plan.overrides, workers, clock.heard, say)
    return pool.run(plan.waiting)


def conclude(plan: Plan, lost: dict[str, str]) -> tuple[dict[str, Result], list[Path]]:
    """Tables and report of what there is now. Returns all results by cell, and the files."""
    results = read_results(plan.folder, plan.cells)
    written = write_tables(plan.folder, plan.axes, plan.cells, results)
    report = plan.folder / REPORT
    write_whole(report, write_report(plan.sweep, plan.axes, plan.cells, results, lost).encode())
    return results, [*written, report]


def read_results(folder: SweepFolder, cells: Sequence[Cell]) -> dict[str, Result]:
    """By cell id, those that there are."""
    found = {cell.id: folder.result(cell) for cell in cells}
    return {id_: result for id_, result in found.items() if result is not None}
