"""Which columns of a party's table are what, and how they become numbers. Knows names and rows; no file and no party.

Columns never leave their owner, so, unlike in a network of equals, nobody has to agree on categories and scales: each
party fits its own `Encoder` and keeps it for prediction.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from p2pfl.errors import ConfigError
from p2pfl.learn.table import Encoder, Row, fit

COLUMNS_MAX = 65_536
"""Features of one party after one-hot coding."""


@dataclass(frozen=True, slots=True)
class TableSpec:
    """One party's table. `features` None takes all columns but id, label and `drop`. `classes` gives the label's values
    an order (the second of two is the one that AUC ranks up); a `regression`'s label is a number."""

    path: Path
    id: str = "id"
    label: str | None = None
    features: tuple[str, ...] | None = None
    drop: tuple[str, ...] = ()
    classes: tuple[str, ...] = ()
    regression: bool = False
    delimiter: str = ","

    def __post_init__(self) -> None:
        named = [self.id, *([self.label] if self.label else []), *(self.features or ())]
        doubled = sorted({name for name in named if named.count(name) > 1})
        if doubled:
            raise ConfigError(
                f"{self.path.name}: expected id, label and features to be different columns, got {doubled[0]!r} twice"
            )
        if self.features is not None and self.drop:
            raise ConfigError(f"{self.path.name}: expected either features or drop, got both")
        if self.label is None and (self.classes or self.regression):
            raise ConfigError(f"{self.path.name}: classes and regression need a label, and no label column is named")


def fit_columns(spec: TableSpec, header: Sequence[str], rows: Sequence[Row]) -> Encoder:
    """Look at a table: categories of texts, numbers as they are. ConfigError if nothing is left to learn from."""
    source = spec.path.name
    for name in (spec.id, *([spec.label] if spec.label else []), *(spec.features or ()), *spec.drop):
        if name not in header:
            raise ConfigError(f"{source}: there is no column {name!r}; it has {_some(header)}")
    outside = {spec.id, spec.label, *spec.drop}
    chosen = [name for name in header if name not in outside] if spec.features is None else list(spec.features)
    if not chosen and (spec.label is None or spec.features is None):
        raise ConfigError(
            f"{source}: expected feature columns besides {_some(sorted(n for n in outside if n))}, got none"
        )
    encoder = _fit(spec, header, rows, chosen)
    if len(encoder.features) > COLUMNS_MAX:
        raise ConfigError(f"{source}: expected at most {COLUMNS_MAX} features, got {len(encoder.features)}")
    return encoder


def scale_columns(encoder: Encoder, x: NDArray[np.float32]) -> Encoder:
    """The encoder with each plain number's mean and standard deviation over `x` (n, F), as encoded without scales.

    Over the rows that are trained on: others must not move the scale. A constant column keeps the scale 1.
    """
    if not len(x):
        raise ConfigError("expected rows to take the columns' scales from, got none")
    places = list(encoder.numeric)
    numbers = x[:, places].astype(np.float64)
    mean, spread = numbers.mean(axis=0), numbers.std(axis=0)
    scale = np.where(spread > 0, spread, 1.0)
    return encoder.scaled(places, [float(m) for m in mean], [float(s) for s in scale])


def _fit(spec: TableSpec, header: Sequence[str], rows: Sequence[Row], chosen: Sequence[str]) -> Encoder:
    """`fit` wants a label: where there is none, the ids stand in for it, unread."""
    keep = {*chosen, spec.label or spec.id}
    drop = [name for name in header if name not in keep]
    label = spec.label or spec.id
    if not chosen:
        bare = fit(
            [label, " "],
            [Row(r.line, (r.cells[header.index(label)], "0")) for r in rows],
            label,
            spec.path.name,
            classes=spec.classes,
            regression=spec.regression,
        )
        return Encoder((), label, bare.classes)
    return fit(header, rows, label, spec.path.name, drop, spec.classes, spec.regression or spec.label is None)


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:12]) + (", ..." if len(names) > 12 else "")
