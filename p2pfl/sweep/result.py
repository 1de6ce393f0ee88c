"""What one cell came to, and its file. Knows JSON; knows no engine.

`cells/ID.json` is one object, written whole or not at all: a sweep that was killed goes on with what is there. A number
that is not (nan) is null. A file that is not a result of this version is no result: its cell is run again.
"""

import json
import os
from dataclasses import dataclass
from math import isnan
from pathlib import Path
from typing import Any

from p2pfl.core.limits import MIB
from p2pfl.errors import HostError
from p2pfl.runs.curves import Point
from p2pfl.sweep.grid import RESULT_VERSION

RESULT_BYTES_MAX = 256 * MIB
_NAN = float("nan")


@dataclass(frozen=True, slots=True)
class Result:
    """points: the curve. wall_s: what the cell took here. timed: whether seconds mean anything (events engine)."""

    id: str
    points: tuple[Point, ...]
    failure: str | None
    wall_s: float
    num_nodes: int
    num_edges: int
    num_params: int

    @property
    def last(self) -> Point | None:
        return self.points[-1] if self.points else None

    @property
    def best(self) -> float:
        """The highest mean accuracy of any point; nan without one."""
        return max((p.accuracy for p in self.points if not isnan(p.accuracy)), default=_NAN)

    def reached(self, accuracy: float) -> Point | None:
        return next((point for point in self.points if point.accuracy >= accuracy), None)


def write_result(path: Path, result: Result) -> None:
    """Atomically, and on disk when this returns. Raises HostError."""
    plain = {
        "format": RESULT_VERSION,
        "id": result.id,
        "fields": list(Point._fields),
        "points": [[None if isnan(x) else x for x in point] for point in result.points],
        "failure": result.failure,
        "wall_s": round(result.wall_s, 3),
        "nodes": result.num_nodes,
        "edges": result.num_edges,
        "parameters": result.num_params,
    }
    write_whole(path, json.dumps(plain).encode())


def read_result(path: Path) -> Result | None:
    """None if there is no usable one."""
    try:
        if path.stat().st_size > RESULT_BYTES_MAX:
            return None
        return _parse(json.loads(path.read_bytes()), path.stem)
    except (OSError, ValueError, KeyError, TypeError):
        return None


def write_whole(path: Path, raw: bytes) -> None:
    """All of it or nothing, also if the power fails. Raises HostError."""
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        with part.open("wb") as file:
            file.write(raw)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except OSError as error:
        raise HostError(f"cannot write {path}: {error.strerror}") from None


def _parse(plain: Any, id_: str) -> Result | None:
    if plain["format"] != RESULT_VERSION or plain["id"] != id_ or plain["fields"] != list(Point._fields):
        return None
    points = tuple(Point(*(_NAN if x is None else float(x) for x in row)) for row in plain["points"])
    failure = None if plain["failure"] is None else str(plain["failure"])
    sizes = (int(plain[name]) for name in ("nodes", "edges", "parameters"))
    return Result(id_, points, failure, float(plain["wall_s"]), *sizes)
