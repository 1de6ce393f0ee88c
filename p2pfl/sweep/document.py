"""What a sweep's document may say. Knows TOML and bounds; follows no name, runs nothing and imports no torch.

    [sweep]
    format = 1
    network = "../tasks/digits_mlp.toml"     # the network document that every cell changes
    seeds = [1, 2, 3]

    [sweep.grid]                             # every combination is a setting; each is run with every seed
    "topology.family" = ["ring", "torus"]
    "compress.codec" = ["deadzone", "fp32"]

The user's guide is docs/sweeps.md.
"""

# ruff: noqa: RUF009  -- `option` declares a dataclass field

import tomllib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal

from p2pfl.config.strict import Origin, build, option
from p2pfl.core.limits import NODES_MAX
from p2pfl.errors import ConfigError

TABLE = "sweep"
SEEDS_MAX = 1000
NODES = 16
"""Of a network document that lists none, unless `nodes` says how many."""

Engine = Literal["dense", "events"]
COLUMNS = ("accuracy", "accuracy_best", "accuracy_min", "loss", "rounds", "bytes_per_node", "seconds", "consensus")
"""What the report's table can show of a setting."""
SHOWN = ("accuracy", "accuracy_min", "loss", "bytes_per_node", "seconds", "consensus")


@dataclass(frozen=True, slots=True, kw_only=True)
class WorldConfig:
    """The simulated world of the events engine, as `p2pfl sim` has it in its options."""

    step_ms: float = option(10.0, low=0.0, high=1e7, doc="One local step of a machine of speed 1, milliseconds.")
    latency_ms: float = option(10.0, low=0.0, high=1e7, doc="One way between neighbours, milliseconds.")
    bytes_per_s: float | None = option(None, low=1.0, doc="Bandwidth of each transfer; unbounded if not given.")
    loss: float = option(0.0, low=0.0, high=1.0, doc="Share of requests, and of replies, that are lost.")
    speeds: tuple[float, ...] = option((1.0,), low=1e-6, high=1e6, doc="Machines' speeds, repeated over the nodes.")


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepConfig:
    """The [sweep] table. `path` is the file it was read from."""

    path: Path
    format: Literal[1] = option(doc="The version of this table's format: 1.")
    name: str = option("", doc="The report's title; the file's name if not given.")
    network: Path = option(doc="The network document that every cell changes.")
    engine: Engine = option("dense", doc="`dense`: the arithmetic alone; `events`: the node's code in virtual time.")
    nodes: int | None = option(None, low=1, high=NODES_MAX, doc="So many nodes, instead of the document's.")
    seeds: tuple[int, ...] = option((1,), low=0, high=(1 << 63) - 1, doc="Every setting is run with each of them.")
    set: dict[str, Any] = option({}, doc="Keys of the network document that all cells change.")
    grid: dict[str, Any] = option({}, doc="The axes: a dotted key and a list of values each.")
    world: WorldConfig = option(WorldConfig, doc="The simulated world of the events engine.")
    columns: tuple[str, ...] = option(SHOWN, doc="The columns of the report's table.")
    target: float | None = option(None, low=0.0, high=1.0, doc="The report says what it took to reach this accuracy.")

    def __post_init__(self) -> None:
        if not self.seeds or len(self.seeds) > SEEDS_MAX or len(frozenset(self.seeds)) < len(self.seeds):
            raise ConfigError(f"seeds: expected 1 to {SEEDS_MAX} different integers, got {len(self.seeds)}")
        if not self.world.speeds:
            raise ConfigError("world.speeds: expected a speed at least, got none")
        for column in self.columns:
            if column not in COLUMNS:
                raise ConfigError(f"columns: unknown column {column!r}{nearest(column, COLUMNS)}")


def nearest(word: str, known: Sequence[str]) -> str:
    """What to say after an unknown word."""
    close = get_close_matches(word, known, n=1, cutoff=0.5)
    return f"; did you mean {close[0]}?" if close else f"; expected one of {', '.join(known)}"


def is_sweep(path: Path) -> bool:
    """Whether the file is a sweep's document, as far as one can tell: what is wrong with it is said by `load_sweep`."""
    try:
        return TABLE in tomllib.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        return False


def load_sweep(path: Path, engine: Engine | None = None, nodes: int | None = None) -> SweepConfig:
    """The sweep in `path`, with another engine or number of nodes if given. Raises ConfigError."""
    try:
        raw = tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}") from None
    except ValueError as error:
        raise ConfigError(f"{path}: expected a TOML document: {error}") from None
    table = raw.pop(TABLE, None)
    if not isinstance(table, dict):
        raise ConfigError(f"{path}: expected a [{TABLE}] table, got none")
    if raw:
        key = next(iter(raw))
        raise ConfigError(f"{path}: {key}: unknown key; what all cells change belongs under [{TABLE}.set]")
    sweep = build(SweepConfig, table, Origin(path.absolute()), f"{TABLE}.", path=path.absolute())
    return replace(
        sweep,
        name=sweep.name or path.stem,
        engine=engine or sweep.engine,
        nodes=sweep.nodes if nodes is None else nodes,
    )
