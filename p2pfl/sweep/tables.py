"""The results as tables for other programs: CSV always, Parquet where pyarrow (the `parquet` extra) is installed."""

import csv
from collections.abc import Mapping, Sequence
from io import StringIO
from math import isnan
from pathlib import Path
from typing import Any

from p2pfl.errors import HostError
from p2pfl.sweep.document import COLUMNS
from p2pfl.sweep.folder import SweepFolder
from p2pfl.sweep.grid import Axis, Cell
from p2pfl.sweep.result import Result, write_whole
from p2pfl.sweep.stats import VALUES

ROUND_COLUMNS = ("round", "seconds", "bytes_per_node", "accuracy", "accuracy_min", "loss", "consensus")
SIZE_COLUMNS = ("nodes", "edges", "parameters", "wall_s", "failure")


def write_tables(
    folder: SweepFolder, axes: Sequence[Axis], cells: Sequence[Cell], results: Mapping[str, Result]
) -> list[Path]:
    """cells.* and rounds.*, one line per cell and per evaluation. Returns what was written. Raises HostError."""
    written = []
    named = [(cell, results[cell.id]) for cell in cells if cell.id in results]
    for name, rows in (("cells", cell_rows(axes, named)), ("rounds", round_rows(axes, named))):
        path = folder / f"{name}.csv"
        write_whole(path, _csv(rows).encode())
        written.append(path)
        if _write_parquet(folder / f"{name}.parquet", rows):
            written.append(folder / f"{name}.parquet")
    return written


def cell_rows(axes: Sequence[Axis], named: Sequence[tuple[Cell, Result]]) -> list[dict[str, Any]]:
    """What each cell came to; None for what it has not."""
    rows = []
    for cell, result in named:
        sizes = (result.num_nodes, result.num_edges, result.num_params, round(result.wall_s, 3), result.failure)
        values = {name: _known(VALUES[name](result)) for name in COLUMNS}
        rows.append(_who(axes, cell) | values | dict(zip(SIZE_COLUMNS, sizes, strict=True)))
    return rows


def round_rows(axes: Sequence[Axis], named: Sequence[tuple[Cell, Result]]) -> list[dict[str, Any]]:
    """All points of all curves."""
    return [
        _who(axes, cell) | {name: _known(getattr(point, name)) for name in ROUND_COLUMNS}
        for cell, result in named
        for point in result.points
    ]


def _who(axes: Sequence[Axis], cell: Cell) -> dict[str, Any]:
    labels = {axis.name: label for axis, label in zip(axes, cell.labels, strict=True)}
    return {"cell": cell.id, **labels, "seed": cell.seed}


def _known(value: float) -> float | None:
    return None if isnan(value) else value


def _csv(rows: Sequence[Mapping[str, Any]]) -> str:
    if not rows:
        return ""
    text = StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def _write_parquet(path: Path, rows: list[dict[str, Any]]) -> bool:
    """Whether it could be: pyarrow is an extra."""
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError:
        return False
    part = path.with_name(path.name + ".part")
    try:
        pq.write_table(pa.Table.from_pylist(rows), part)
        part.replace(path)
    except OSError as error:
        raise HostError(f"cannot write {path}: {error.strerror or error}") from None
    return True
