"""The folder of a sweep. Knows files; runs nothing.

cells/ID.json    one finished cell (sweep/result.py)
sweep.json       which cell is which: axes, labels, seeds, ids
cells.csv        one line per cell        rounds.csv   one line per evaluation of a cell      (and .parquet)
report.html      the report, which needs no other file and no network
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from p2pfl.errors import ConfigError
from p2pfl.sweep.document import SweepConfig
from p2pfl.sweep.grid import Axis, Cell
from p2pfl.sweep.result import Result, read_result, write_result, write_whole

CELLS = "cells"
INDEX = "sweep.json"
REPORT = "report.html"


@dataclass(frozen=True, slots=True)
class SweepFolder:
    path: Path

    @classmethod
    def open(cls, path: Path, resume: bool) -> "SweepFolder":
        """Made if it is missing. Raises ConfigError if it holds something and `resume` is not asked for."""
        try:
            path.mkdir(parents=True, exist_ok=True)
            held = sorted(p.name for p in path.iterdir())
            if held and not resume:
                if CELLS in held:
                    raise ConfigError(f"{path} holds a sweep already: go on with --resume, or choose another --out DIR")
                raise ConfigError(f"{path} is not empty (it holds {held[0]}): choose another folder with --out DIR")
            (path / CELLS).mkdir(exist_ok=True)
        except OSError as error:
            raise ConfigError(f"cannot use the folder {path}: {error.strerror}") from None
        for part in (path / CELLS).glob("*.part"):  # of a run that was killed
            part.unlink(missing_ok=True)
        return cls(path)

    def __truediv__(self, name: str) -> Path:
        return self.path / name

    def result(self, cell: Cell) -> Result | None:
        return read_result(self._cell(cell.id))

    def keep(self, result: Result) -> None:
        """Raises HostError."""
        write_result(self._cell(result.id), result)

    def write_index(self, sweep: SweepConfig, axes: Sequence[Axis], cells: Sequence[Cell]) -> None:
        plain = {
            "name": sweep.name,
            "engine": sweep.engine,
            "axes": [{"name": axis.name, "values": [value.label for value in axis.values]} for axis in axes],
            "cells": [{"id": cell.id, "labels": list(cell.labels), "seed": cell.seed} for cell in cells],
        }
        write_whole(self / INDEX, (json.dumps(plain, indent=1) + "\n").encode())

    def _cell(self, id_: str) -> Path:
        return self.path / CELLS / f"{id_}.json"
