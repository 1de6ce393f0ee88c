"""What every bench shares: arguments, side-by-side timing, tables, bars. Knows no bench.

A claim here is a ratio of two things measured alternately in one run on one thread, never a time: machines differ, and
this one may be busy. Each side's figure is the median over the repeats. Use:

    args = parse_args(__doc__)
    ratios = race({"memcpy": copy, "encode": encode}, repeats=7)     # seconds by name
    table([{"what": ..., "ratio": ...}, ...])
    bar("int8 encode at 10M, of memcpy", measured, wanted=0.25)
    write_json(args, rows)                                            # rows and bars, if --json or --record asks for it
"""

import argparse
import json
import os
import platform
import sys
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path
from statistics import median
from time import perf_counter

Cell = str | int | float | bool | None
Row = Mapping[str, Cell]

RESULTS = Path(__file__).resolve().parent / "results"
"""What docs/performance.md is made of."""


@dataclass(frozen=True, slots=True)
class Bar:
    """One claim and what came of it."""

    name: str
    measured: float
    wanted: float
    at_least: bool
    holds: bool


BARS: list[Bar] = []
"""Every bar of this run, in the order they were printed."""


def parse_args(
    doc: str | None = None, extra: Callable[[argparse.ArgumentParser], object] | None = None
) -> argparse.Namespace:
    """`--quick` (under a minute), `--json FILE`, `--record`; `extra` may add more. `doc`'s first line is the help."""
    parser = argparse.ArgumentParser(description=(doc or "").strip().split("\n")[0] or None)
    parser.add_argument("--quick", action="store_true", help="smaller sizes, fewer repeats: under a minute")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write rows and bars to FILE")
    parser.add_argument("--record", action="store_true", help="also keep them for docs/performance.md (bench/results)")
    if extra is not None:
        extra(parser)
    return parser.parse_args()


def add_data(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--data", type=Path, metavar="DIR", help="where real data sets lie; default: ../shared/data")


def data_at(document: Path, folder: Path | None) -> tuple[str, ...]:
    """Overrides with which `document` of a task reads its data below `folder`; none if that is None."""
    if folder is None:
        return ()
    section = tomllib.loads(document.read_text("utf-8"))["data"]
    below = {key: str(section.get(key, "")).partition("shared/data/")[2] for key in ("path", "test")}
    return tuple(f"data.{key}={folder.absolute() / place}" for key, place in below.items() if place)


def race(sides: Mapping[str, Callable[[], object]], repeats: int = 7, warmup: int = 1) -> dict[str, float]:
    """Seconds a call of each side: the sides take turns, so a busy moment hits all of them; median over `repeats`."""
    spent: dict[str, list[float]] = {name: [] for name in sides}
    for turn in range(warmup + repeats):
        for name, call in sides.items():
            start = perf_counter()
            call()
            if turn >= warmup:
                spent[name].append(perf_counter() - start)
    return {name: median(times) for name, times in spent.items()}


def table(rows: Sequence[Row]) -> None:
    """Prints rows under the keys of the first; numbers to the right, floats with four digits."""
    if not rows:
        return
    columns = list(rows[0])
    cells = [[_text(row.get(column)) for column in columns] for row in rows]
    widths = [max(len(line[i]) for line in [columns, *cells]) for i in range(len(columns))]
    right = [all(isinstance(row.get(column), int | float | None) for row in rows) for column in columns]
    for line in [columns, *cells]:
        print("  ".join(t.rjust(w) if r else t.ljust(w) for t, w, r in zip(line, widths, right, strict=True)).rstrip())
    sys.stdout.flush()


def bar(name: str, measured: float, wanted: float, at_least: bool = True) -> bool:
    """Prints and records one claim; True if it holds."""
    holds = measured >= wanted if at_least else measured <= wanted
    BARS.append(Bar(name, measured, wanted, at_least, holds))
    sign, verdict = (">=" if at_least else "<="), ("holds" if holds else "falls short")
    print(f"bar {name}: measured {measured:.3g}x, wanted {sign} {wanted:g}x: {verdict}", flush=True)
    return holds


def write_json(args: argparse.Namespace, rows: Sequence[Row]) -> None:
    """Writes rows, bars and the machine to `--json FILE`, and into bench/results with `--record`."""
    machine = {"system": platform.system(), "machine": platform.machine(), "python": platform.python_version()}
    found = {
        "date": date.today().isoformat(),
        "machine": {**machine, "cores": os.cpu_count(), "load": round(os.getloadavg()[0], 1)},
        "quick": args.quick,
        "rows": [dict(row) for row in rows],
        "bars": [asdict(b) for b in BARS],
    }
    kept = RESULTS / f"{Path(sys.argv[0]).stem}.json"
    for path in (args.json, kept if args.record else None):
        if path is not None:
            path.parent.mkdir(exist_ok=True)
            path.write_text(json.dumps(found, indent=2) + "\n")


def _text(cell: Cell) -> str:
    if cell is None:
        return "-"
    return f"{cell:.4g}" if isinstance(cell, float) else str(cell)
