"""From a sweep's document to its cells: every combination of the axes' values, with every seed. Runs nothing.

An axis is a dotted key of the network document with a list of values, or any other name with a list of tables, each a
piece of a network document that is laid over it key by key. A cell is known by the digest of all that its result
depends on: the same cell has the same file, whatever else the sweep says.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from hashlib import sha256
from itertools import product
from math import prod
from typing import Any

from p2pfl.config import NetworkConfig, keys, load_changed, to_plain
from p2pfl.errors import ConfigError
from p2pfl.sweep.document import NODES, TABLE, SweepConfig, nearest

CELLS_MAX = 4096
VALUES_MAX = 256
LABEL = "label"
LABEL_CHARS_MAX = 48
RESULT_VERSION = 1
"""Raised when a cell's result would be another one: files of other versions are not taken for results."""


@dataclass(frozen=True, slots=True)
class Value:
    """One value of an axis: what it is called, and the dotted keys that it sets."""

    label: str
    changes: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Axis:
    name: str
    values: tuple[Value, ...]


@dataclass(frozen=True, slots=True)
class Cell:
    """One run: a setting (a label per axis) and a seed. `config` has no usable keys yet (see runs.simulate.simulated).

    resized: so many nodes instead of those that `config` lists, if not None.
    """

    labels: tuple[str, ...]
    seed: int
    config: NetworkConfig
    resized: int | None
    id: str

    @property
    def num_nodes(self) -> int:
        return self.resized if self.resized is not None else len(self.config.nodes)

    @property
    def title(self) -> str:
        return ", ".join((*self.labels, f"seed {self.seed}"))


def axes_of(sweep: SweepConfig) -> tuple[Axis, ...]:
    """Raises ConfigError."""
    axes = tuple(_axis(name, values, sweep) for name, values in _leaves(sweep.grid, ""))
    count = prod(len(axis.values) for axis in axes) * len(sweep.seeds)
    if count > CELLS_MAX:
        raise ConfigError(f"{sweep.path}: {TABLE}.grid: expected at most {CELLS_MAX} cells, got {count}")
    return axes


def short_names(axes: Sequence[Axis]) -> list[str]:
    """For headings: the last part of each axis's key, where that tells them apart."""
    short = [axis.name.rpartition(".")[2] for axis in axes]
    return [last if short.count(last) == 1 else axis.name for last, axis in zip(short, axes, strict=True)]


def cells_of(sweep: SweepConfig, axes: Sequence[Axis], overrides: Sequence[str] = ()) -> list[Cell]:
    """All cells in order, seeds innermost. Raises ConfigError for the first that is no network document."""
    common = dict(_under_sections(sweep.set))
    cells: dict[str, Cell] = {}
    for chosen in product(*(axis.values for axis in axes)):
        changes = common | {key: value for choice in chosen for key, value in choice.changes.items()}
        for seed in sweep.seeds:
            cell = _cell(sweep, tuple(choice.label for choice in chosen), changes, seed, overrides)
            if cell.id in cells:
                same = f"{cell.title!r} and {cells[cell.id].title!r}"
                raise ConfigError(f"{sweep.path}: {TABLE}.grid: expected different cells, got {same}, which are one")
            cells[cell.id] = cell
    return list(cells.values())


def _cell(
    sweep: SweepConfig, labels: tuple[str, ...], changes: Mapping[str, Any], seed: int, overrides: Sequence[str]
) -> Cell:
    config = load_changed(sweep.network, {**changes, "seed": seed}, sweep.path, overrides)
    if sweep.engine == "dense" and config.pace.mode != "lockstep":
        where = f"{sweep.path}: {', '.join(labels) or TABLE}"
        raise ConfigError(f'{where}: the dense engine is lockstep: set pace.mode = "lockstep" or engine = "events"')
    resized = sweep.nodes if sweep.nodes is not None else None if config.nodes else NODES
    plain = to_plain(config)
    if resized is not None:
        plain.pop("nodes", None)
    world = asdict(sweep.world) if sweep.engine == "events" else None
    identity = [RESULT_VERSION, plain, resized, sweep.engine, world]
    text = json.dumps(identity, sort_keys=True, separators=(",", ":"))
    return Cell(labels, config.seed, config, resized, sha256(text.encode()).hexdigest()[:20])


def _leaves(table: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, Any]]:
    """Lists by dotted key: `a.b = [..]` and `"a.b" = [..]` are the same."""
    for name, value in table.items():
        if isinstance(value, dict):
            yield from _leaves(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def _axis(name: str, values: Any, sweep: SweepConfig) -> Axis:
    where = f"{sweep.path}: {TABLE}.grid: {name}"
    if not isinstance(values, list) or not 1 <= len(values) <= VALUES_MAX:
        raise ConfigError(f"{where}: expected a list of 1 to {VALUES_MAX} values, got {values!r:.60}")
    if name == "seed":
        raise ConfigError(f"{where}: seeds are listed as {TABLE}.seeds")
    known = [doc.key for doc in keys() if doc.file == "network.toml"]
    is_key = name.partition(".")[0] in {key.partition(".")[0] for key in known}
    if not is_key and not all(isinstance(value, dict) for value in values):
        named = [key for key in known if not key.endswith("*")]
        raise ConfigError(f"{where}: unknown key{nearest(name, named) if len(name) < 60 else ''}")
    found = tuple(_value(name, value, is_key) for value in values)
    labels = [value.label for value in found]
    twice = next((label for label in labels if labels.count(label) > 1), None)
    if twice is not None:
        raise ConfigError(f"{where}: expected different values, got {twice!r} twice; tell them apart by {LABEL} = ..")
    return Axis(name, found)


def _value(name: str, value: Any, is_key: bool) -> Value:
    table = dict(value) if isinstance(value, dict) else {}
    label = str(table.pop(LABEL, "")) or _words(table or value)
    if is_key:
        return Value(label, {name: table if isinstance(value, dict) else value})
    return Value(label, dict(_under_sections(table)))


def _under_sections(table: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """`mix = { rule = "choco" }` and `"mix.rule" = "choco"` set the key mix.rule, and leave the section's others."""
    for name, value in table.items():
        if isinstance(value, dict) and "." not in name:
            yield from ((f"{name}.{key}", inner) for key, inner in value.items())
        else:
            yield name, value


def _words(value: Any) -> str:
    """A value as a short label."""
    match value:
        case dict():
            text = " ".join(
                _words(v) if k in ("family", "rule", "codec") else f"{k}={_words(v)}" for k, v in value.items()
            )
        case list():
            text = "[" + ", ".join(_words(item) for item in value) + "]"
        case bool():
            text = str(value).lower()
        case _:
            text = str(value)
    return text if len(text) <= LABEL_CHARS_MAX else text[: LABEL_CHARS_MAX - 2] + ".."
