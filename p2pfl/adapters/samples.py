"""Arrays, torch datasets and pandas frames as a `Source`. Knows their shapes; knows no model.

A frame is read as a csv file with the same columns would be, so that nodes with frames and nodes with files agree on
what the features mean, and an encoder made of one serves the other.
"""

from collections.abc import Sequence
from typing import Any

import torch

from p2pfl.errors import ConfigError
from p2pfl.learn import table
from p2pfl.learn.arrays import adopt
from p2pfl.learn.data import Data, Source

MISSING = ("NAType", "NaTType")
"""pandas' own types for what is not there."""


def source_of(given: Any, label: str | None = None, regression: bool = False) -> Source:
    """`given` as a Source: that, a Data, a pair (X, y), a map-style dataset of pairs, or a frame with a column `label`.

    X and y may be frames and series themselves. regression: whole-number labels are numbers, not classes. Raises
    ConfigError.
    """
    if is_frame(given):
        return frame(given, label, regression=regression)
    if label is not None:
        raise ConfigError(f"label: expected a pandas frame with a column {label!r}, got {type(given).__name__}")
    if isinstance(given, tuple) and len(given) == 2 and is_frame(given[0]):
        x, y = given
        name = str(getattr(y, "name", None) or "label")
        if name in list(map(str, x.columns)):
            raise ConfigError(f"data: the frame has a column {name!r} already; name the labels otherwise")
        return frame(x.assign(**{name: list(y)}), name, regression=regression)
    if isinstance(given, tuple) and len(given) == 2 and regression:
        given = (given[0], [float(value) for value in given[1]])
    return adopt(given, "data")


def frame(
    given: Any,
    label: str | None,
    drop: Sequence[str] = (),
    classes: Sequence[str] = (),
    encoder: table.Encoder | None = None,
    standardise: bool = True,
    regression: bool = False,
) -> Source:
    """A pandas DataFrame (or anything with `columns` and `itertuples`); `label` is learned from all other columns.

    encoder: how columns become numbers, where several machines must agree on it. Rows are named in messages by their
    place, from 1. Raises ConfigError.
    """
    if not is_frame(given):
        raise ConfigError(f"expected a pandas frame, got {type(given).__name__}")
    if label is None:
        raise ConfigError(f"label: expected the name of one of the frame's columns: {_some(given.columns)}")
    header = [str(name) for name in given.columns]
    rows = [table.Row(line, tuple(map(_text, cells))) for line, cells in enumerate(_cells(given), 1)]
    if not rows:
        raise ConfigError("frame: there are no rows")
    if encoder is None:
        encoder = table.fit(header, rows, label, "frame", drop, classes, regression)
    x = torch.from_numpy(encoder.encode(header, rows, "frame"))
    y = torch.from_numpy(encoder.labels(header, rows, "frame"))
    data = Data(x, y, "frame", encoder.classes, encoder.features)
    return Source(data, None, encoder.numeric if standardise else (), encoder)


def is_frame(given: object) -> bool:
    return hasattr(given, "columns") and hasattr(given, "itertuples")


def _cells(given: Any) -> Any:
    return given.itertuples(index=False, name=None)


def _text(value: Any) -> str:
    """As a csv file would have it. Not-a-number and None become what a csv reader calls missing."""
    if value is None or type(value).__name__ in MISSING:
        return ""
    return float.__repr__(value) if isinstance(value, float) else str(value)


def _some(names: Any) -> str:
    shown = [str(name) for name in names]
    return ", ".join(shown[:12]) + (", ..." if len(shown) > 12 else "")
