"""`p2pfl sim SWEEP`: the grid of a sweep's document, run, kept and reported. Knows the terminal only."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from p2pfl.cli.show import print_json, print_table
from p2pfl.errors import ConfigError
from p2pfl.sweep.document import Engine, load_sweep
from p2pfl.sweep.folder import SweepFolder
from p2pfl.sweep.grid import Cell, axes_of, cells_of

if TYPE_CHECKING:
    from p2pfl.sweep.drive import Plan
    from p2pfl.sweep.result import Result
    from p2pfl.sweep.stats import Spread

TAKEN = {"document", "num_nodes", "overrides", "engine", "out", "resume", "workers", "quiet", "as_json"}
"""The options of `p2pfl sim` that mean something to a sweep; all else is said in its document."""

TERMINAL = {
    "accuracy": "accuracy",
    "accuracy_min": "worst",
    "bytes_per_node": "sent",
    "seconds": "seconds",
    "consensus": "consensus",
}
"""What a terminal has room for; the report has what the document asks for."""


def refuse_others(context: click.Context) -> None:
    """Raises ConfigError if an option was given that a sweep does not take."""
    for parameter in context.command.params:
        name = str(parameter.name)
        given = context.get_parameter_source(name) is click.core.ParameterSource.COMMANDLINE
        if given and name not in TAKEN:
            raise ConfigError(f"{parameter.opts[0]}: is for one network; a sweep says it in its document")


def run_sweep(
    document: Path,
    *,
    engine: Engine | None,
    num_nodes: int | None,
    overrides: tuple[str, ...],
    out: Path | None,
    resume: bool,
    workers: int,
    quiet: bool,
    as_json: bool,
) -> int:
    """0: all cells have a result; 1: some were given up, or a run failed."""
    sweep = load_sweep(document, engine, num_nodes)
    axes = axes_of(sweep)
    cells = tuple(cells_of(sweep, axes, overrides))
    folder = SweepFolder.open(out if out is not None else Path(f"{document.stem}-results"), resume)

    from p2pfl.sweep.drive import Plan, check_cells, conclude, read_results, run_plan

    plan = Plan(sweep, axes, cells, folder, read_results(folder, cells), overrides)
    silent = quiet or as_json
    memory = check_cells(plan, workers)
    folder.write_index(sweep, axes, cells)
    _say(plan.words(workers, memory), silent)
    try:
        with _progress(plan, silent) as (on_progress, say):
            lost = run_plan(plan, workers, on_progress, say)
    except KeyboardInterrupt:
        kept = len(read_results(folder, cells))
        _say(f"interrupted: {kept} of {len(cells)} cells are kept in {folder.path}; go on with --resume", silent)
        raise
    results, files = conclude(plan, lost)
    _report(plan, results, lost, files, as_json)
    return 1 if lost or any(result.failure for result in results.values()) else 0


def _say(text: str, silent: bool) -> None:
    if not silent:
        click.echo(text, err=True)


@contextmanager
def _progress(plan: "Plan", silent: bool) -> Iterator[tuple[Callable[[Cell, float], None], Callable[[str], None]]]:
    """A bar with the time left in a terminal; elsewhere only what must be said."""
    if silent or not sys.stderr.isatty():
        yield (lambda cell, part: None), (lambda text: _say(text, silent))
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    count = TextColumn("{task.fields[kept]} of {task.total:.0f} cells")
    left = TextColumn("left")
    columns = (BarColumn(), count, TimeElapsedColumn(), TextColumn("spent,"), TimeRemainingColumn(), left)
    parts: dict[str, float] = dict.fromkeys(plan.kept, 1.0)
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("", total=len(plan.cells), completed=len(parts), kept=len(parts))

        def heard(cell: Cell, part: float) -> None:
            parts[cell.id] = part
            kept = sum(done >= 1 for done in parts.values())
            progress.update(task, completed=sum(parts.values()), kept=kept)

        yield heard, lambda text: progress.console.print(text, highlight=False)


def _report(plan: "Plan", results: dict[str, "Result"], lost: dict[str, str], files: list[Path], as_json: bool) -> None:
    if as_json:
        from p2pfl.sweep.tables import cell_rows

        rows = cell_rows(plan.axes, [(cell, results[cell.id]) for cell in plan.cells if cell.id in results])
        found: dict[str, Any] = {"name": plan.sweep.name, "cells": rows, "lost": lost}
        print_json(found | {"files": [str(path) for path in files]})
        return
    from p2pfl.sweep.grid import short_names
    from p2pfl.sweep.stats import settings_of

    settings = settings_of(plan.cells, results)
    shown = [c for c in TERMINAL if any(setting.spread(c).mean for setting in settings)]
    columns = [*short_names(plan.axes), *(TERMINAL[c] for c in shown)]
    rows_ = [(*s.labels, *(_words(c, s.spread(c)) for c in shown)) for s in settings]
    print_table(columns, rows_)
    click.echo(f"\n{plan.folder.path}: " + ", ".join(path.name for path in files))
    for cell in plan.cells:
        failure = lost.get(cell.id) or (results[cell.id].failure if cell.id in results else None)
        if failure:
            click.echo(f"{cell.title}: {failure}")


def _words(column: str, spread: "Spread") -> str:
    """With its spread where it is about accuracy: a terminal is narrow, and the report has it all."""
    from p2pfl.sweep.numbers import mean_words, spread_words

    return spread_words(column, spread) if column.startswith("accuracy") else mean_words(column, spread)
