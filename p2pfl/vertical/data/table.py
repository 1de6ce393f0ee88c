"""One party's rows: ids, features, perhaps labels. Knows its own table; knows no other party and no point.

A table is loaded raw, its ids are aligned, the common rows are taken in the common order, and only then are the columns
scaled, over the rows that are trained on.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from p2pfl.errors import ConfigError
from p2pfl.learn.readers import read_csv
from p2pfl.learn.table import Encoder
from p2pfl.vertical.align.ids import IdRules, normalise
from p2pfl.vertical.data.columns import TableSpec, fit_columns, scale_columns


@dataclass(frozen=True, slots=True, eq=False)
class PartyTable:
    """x (n, F) float32; y (n,) class numbers (int64) or numbers (float32), None at a feature holder; `lines` (n,) is
    where each row is in the file. `encoder` says how the columns became numbers."""

    source: str
    ids: tuple[str, ...]
    x: NDArray[np.float32]
    y: NDArray[Any] | None
    lines: tuple[int, ...]
    encoder: Encoder

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def features(self) -> tuple[str, ...]:
        return self.encoder.features

    @property
    def classes(self) -> tuple[str, ...]:
        """The label's values in the order of their numbers; empty for regression and where there is no label."""
        return () if self.y is None else self.encoder.classes

    def items(self, rules: IdRules) -> list[bytes]:
        """The ids (n,) in normal form, for an alignment. ConfigError names the lines of an empty or doubled one."""
        return normalise(self.ids, rules, self.source, lambda row: f"line {self.lines[row]}")

    def take(self, rows: Sequence[int] | NDArray[np.int64]) -> "PartyTable":
        """These rows in this order."""
        at = np.asarray(rows, np.int64)
        y = None if self.y is None else self.y[at]
        ids, lines = tuple(self.ids[i] for i in at), tuple(self.lines[i] for i in at)
        return replace(self, ids=ids, x=self.x[at], y=y, lines=lines)

    def scaled(self, train: Sequence[int] | NDArray[np.int64]) -> "PartyTable":
        """Numbers at mean 0 and deviation 1 over the rows `train`; 0 and 1 of categories stay. Once, on a raw table."""
        encoder = scale_columns(self.encoder, self.x[np.asarray(train, np.int64)])
        x, start = self.x.copy(), 0
        for old, new in zip(self.encoder.columns, encoder.columns, strict=True):
            if (old.mean, old.scale) != (new.mean, new.scale):
                x[:, start] = (self.x[:, start].astype(np.float64) - new.mean) / new.scale
            start += new.width
        return replace(self, x=x, encoder=encoder)


def load_table(spec: TableSpec, encoder: Encoder | None = None) -> PartyTable:
    """Read a party's CSV. With the `encoder` of a trained part, columns become numbers as they did in training, and a
    label may be absent."""
    header, rows = read_csv(spec.path, spec.delimiter)
    source = spec.path.name
    if spec.id not in header:
        raise ConfigError(f"{source}: there is no id column {spec.id!r}; it has {', '.join(header[:12])}")
    found = encoder or fit_columns(spec, header, rows)
    has_label = spec.label is not None and (encoder is None or spec.label in header)
    y = found.labels(header, rows, source) if has_label else None
    place = header.index(spec.id)
    ids, lines = tuple(row.cells[place] for row in rows), tuple(row.line for row in rows)
    return PartyTable(source, ids, found.encode(header, rows, source), y, lines, found)


def require_common(count: int, least: int, parties: Sequence[str]) -> None:
    """ConfigError if the parties have too few ids in common to learn from."""
    names = ", ".join(parties)
    if count == 0:
        raise ConfigError(
            f"no common ids: expected at least {least} that {names} all have, got none (are the id "
            "columns of one kind, and the rules the right ones?)"
        )
    if count < least:
        raise ConfigError(f"too few common ids: expected at least {least} that {names} all have, got {count}")


def require_labels(tables: dict[str, TableSpec], holder: str) -> None:
    """ConfigError unless the label holder alone names a label column. `tables` by party."""
    if tables[holder].label is None:
        raise ConfigError(f"labels missing: the label holder {holder} names no label column (table.label)")
    others = [name for name, spec in tables.items() if name != holder and spec.label is not None]
    if others:
        raise ConfigError(f"expected a label at the label holder {holder} only, got another at {others[0]}")
