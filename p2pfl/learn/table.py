"""Rows of text to rows of numbers. Knows columns, categories and labels; knows no file.

Several machines that train one model must turn their tables into numbers alike: the same categories in the same
order, the same scale. An `Encoder` is that agreement. It is fitted on one table, written as JSON, and used by all.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import isfinite
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from p2pfl.errors import ConfigError

CATEGORIES_MAX = 256
"""Distinct texts in one column; more are names or numbers of rows rather than categories."""

MISSING = frozenset({"", "na", "n/a", "nan", "null", "none"})

FORMAT = "p2pfl-table/1"


class Row(NamedTuple):
    """`line` is where the row is in its file, for messages."""

    line: int
    cells: Sequence[str]


@dataclass(frozen=True, slots=True)
class Column:
    """A number, (value - mean) / scale, or one of `categories`, one-hot."""

    name: str
    categories: tuple[str, ...] = ()
    mean: float = 0.0
    scale: float = 1.0

    @property
    def width(self) -> int:
        return len(self.categories) or 1


@dataclass(frozen=True, slots=True)
class Encoder:
    """`classes` are the label's values in the order of their numbers; empty means that the label is a number."""

    columns: tuple[Column, ...]
    label: str
    classes: tuple[str, ...] = ()

    @property
    def features(self) -> tuple[str, ...]:
        """A name for every feature: the column's, or column=category."""
        return tuple(
            f"{c.name}={v}" if v is not None else c.name for c in self.columns for v in c.categories or (None,)
        )

    @property
    def numeric(self) -> tuple[int, ...]:
        """Which features are plain numbers that no scale was agreed for."""
        starts = np.cumsum([0, *(c.width for c in self.columns)])
        plain = [not c.categories and (c.mean, c.scale) == (0.0, 1.0) for c in self.columns]
        return tuple(int(at) for at, is_plain in zip(starts, plain, strict=False) if is_plain)

    def encode(self, header: Sequence[str], rows: Sequence[Row], source: str) -> NDArray[np.float32]:
        """Features (n, F). Columns are found by name; others are left alone. Errors name the line and the column."""
        x = np.zeros((len(rows), len(self.features)), np.float32)
        start = 0
        for column in self.columns:
            place = _place(header, column.name, source)
            if column.categories:
                x[np.arange(len(rows)), start + _indices(column, place, rows, source)] = 1.0
            else:
                values = np.array([number(row, place, column.name, source) for row in rows], np.float64)
                x[:, start] = (values - column.mean) / column.scale
            start += column.width
        return x

    def labels(self, header: Sequence[str], rows: Sequence[Row], source: str) -> NDArray[Any]:
        """Class numbers (n,) int64, or numbers (n,) float32 for regression."""
        place = _place(header, self.label, source)
        if self.classes:
            return _indices(Column(self.label, self.classes), place, rows, source)
        return np.array([number(row, place, self.label, source) for row in rows], np.float32)

    def scaled(self, features: Sequence[int], mean: Sequence[float], scale: Sequence[float]) -> "Encoder":
        """The same with these means and scales agreed for these plain numeric features."""
        by_feature = {feature: (m, s) for feature, m, s in zip(features, mean, scale, strict=True)}
        columns, start = [], 0
        for column in self.columns:
            if not column.categories and start in by_feature:
                m, s = by_feature[start]
                column = replace(column, mean=m, scale=s)
            columns.append(column)
            start += column.width
        return replace(self, columns=tuple(columns))

    def to_json(self) -> dict[str, Any]:
        columns: list[dict[str, Any]] = [
            {"name": c.name, "categories": list(c.categories)}
            if c.categories
            else {"name": c.name, "mean": c.mean, "scale": c.scale}
            for c in self.columns
        ]
        return {"format": FORMAT, "label": self.label, "classes": list(self.classes), "columns": columns}

    @staticmethod
    def from_json(value: Any, source: str) -> "Encoder":
        """The inverse of `to_json`. ConfigError on anything else."""
        if not isinstance(value, dict) or value.get("format") != FORMAT:
            raise ConfigError(f"{source}: expected a table encoder with format {FORMAT!r}")
        try:
            columns = tuple(_column(c) for c in value["columns"])
            encoder = Encoder(columns, str(value["label"]), tuple(str(c) for c in value["classes"]))
        except (KeyError, TypeError, ValueError) as error:
            raise ConfigError(f"{source}: malformed table encoder: {type(error).__name__}: {error}") from error
        _check_names([*(c.name for c in columns), encoder.label], source)
        return encoder


def fit(
    header: Sequence[str],
    rows: Sequence[Row],
    label: str,
    source: str,
    drop: Iterable[str] = (),
    classes: Sequence[str] = (),
    regression: bool = False,
) -> Encoder:
    """Look at a table: a column whose every value is a number is numeric, others are categories in sorted order."""
    _check_names(header, source)
    _place(header, label, source)
    dropped = set(drop)
    for name in sorted(dropped):
        _place(header, name, source)
    kept = [(i, name) for i, name in enumerate(header) if name != label and name not in dropped]
    if not kept:
        raise ConfigError(f"{source}: expected at least one column besides the label {label!r}")
    columns = tuple(_fit_column(i, name, rows, source) for i, name in kept)
    if regression:
        return Encoder(columns, label)
    found = tuple(str(c) for c in classes) or _sorted({_text(r, header.index(label), label, source) for r in rows})
    if len(found) < 2:
        raise ConfigError(f"{source}: expected two or more classes in column {label!r}, got {len(found)}")
    if len(found) > CATEGORIES_MAX:
        raise ConfigError(f"{source}: column {label!r} has {len(found)} values; for numbers say task = 'regression'")
    return Encoder(columns, label, found)


def number(row: Row, place: int, name: str, source: str) -> float:
    text = _text(row, place, name, source)
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not isfinite(value):
        raise ConfigError(f"{source}, line {row.line}: expected a number in column {name!r}, got {text!r}")
    return value


def _fit_column(place: int, name: str, rows: Sequence[Row], source: str) -> Column:
    values = {_text(row, place, name, source) for row in rows}
    if all(_is_number(value) for value in values):
        return Column(name)
    if len(values) > CATEGORIES_MAX:
        raise ConfigError(f"{source}: column {name!r} has {len(values)} different texts; drop it or group them")
    return Column(name, _sorted(values))


def _indices(column: Column, place: int, rows: Sequence[Row], source: str) -> NDArray[np.int64]:
    index = {category: i for i, category in enumerate(column.categories)}
    found = np.zeros(len(rows), np.int64)
    for i, row in enumerate(rows):
        text = _text(row, place, column.name, source)
        if text not in index:
            raise ConfigError(
                f"{source}, line {row.line}: expected one of {len(index)} known values in column {column.name!r}, "
                f"got {text!r}"
            )
        found[i] = index[text]
    return found


def _text(row: Row, place: int, name: str, source: str) -> str:
    text = row.cells[place].strip()
    if text.lower() in MISSING:
        raise ConfigError(f"{source}, line {row.line}: missing value in column {name!r}")
    return text


def _place(header: Sequence[str], name: str, source: str) -> int:
    if name not in header:
        shown = ", ".join(header[:12]) + (", ..." if len(header) > 12 else "")
        raise ConfigError(f"{source}: there is no column {name!r}; it has {shown}")
    return header.index(name)


def _check_names(names: Sequence[str], source: str) -> None:
    doubled = sorted({name for name in names if list(names).count(name) > 1})
    if doubled:
        raise ConfigError(f"{source}: column {doubled[0]!r} appears twice")


def _column(value: Mapping[str, Any]) -> Column:
    column = Column(
        str(value["name"]),
        tuple(str(c) for c in value.get("categories", ())),
        float(value.get("mean", 0.0)),
        float(value.get("scale", 1.0)),
    )
    if not (isfinite(column.mean) and isfinite(column.scale) and column.scale > 0):
        raise ValueError(f"column {column.name!r} needs a finite mean and a scale above 0")
    return column


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _sorted(values: set[str]) -> tuple[str, ...]:
    """By number where all are numbers, else by text, so that every machine finds the same order."""
    return tuple(sorted(values, key=lambda v: (float(v), v)) if all(map(_is_number, values)) else sorted(values))
