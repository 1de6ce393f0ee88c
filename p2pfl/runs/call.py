"""One simulated run as a Python call: `p2pfl.simulate`. Knows documents and both engines; knows no terminal."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import tomli_w

from p2pfl.adapters.adapted import Adapted
from p2pfl.config import NetworkConfig, load_changed, parse_network
from p2pfl.errors import ConfigError
from p2pfl.runs.compare import Followed, follow_run
from p2pfl.runs.curves import write_csv
from p2pfl.runs.folder import RunFolder
from p2pfl.runs.memory import check_config
from p2pfl.runs.simulate import World, simulated

NODES = 16
ROUNDS = "rounds.csv"
HERE = "simulate(..).toml"
"""What messages call a document that is no file, in the working folder."""


@dataclass(frozen=True, eq=False)
class Result:
    """What a run came to. rounds: one record per evaluation, means over the nodes; summary: as `p2pfl sim --json`."""

    rounds: list[dict[str, float]]
    summary: dict[str, Any]
    followed: Followed

    def frame(self) -> Any:
        """`rounds` as a pandas DataFrame; as the list of dicts that it is where pandas is not installed."""
        try:
            import pandas as pd
        except ImportError:
            return self.rounds
        return pd.DataFrame(self.rounds)

    def save(self, folder: str | Path) -> Path:
        """The run folder, as `p2pfl sim --out` leaves it, and rounds.csv. Raises ConfigError if it is not empty."""
        opened = RunFolder.open(Path(folder), resume=False)
        self.followed.write(opened, self.summary)
        write_csv(opened / ROUNDS, [self.followed.curve])
        return opened.path

    def __repr__(self) -> str:
        last = self.rounds[-1] if self.rounds else {}
        said = ", ".join(f"{name}={last[name]:.4g}" for name in ("round", "accuracy", "loss") if name in last)
        return f"<p2pfl run of {self.summary['nodes']} nodes: {said}>"


def run_call(
    document: str | Path | Mapping[str, Any] | Adapted,
    *,
    engine: Literal["events", "dense"] = "events",
    nodes: int | None = None,
    baselines: bool = False,
    world: World | None = None,
    overrides: Mapping[str, Any],
) -> Result:
    """See `p2pfl.simulate`."""
    if engine not in ("events", "dense"):
        raise ConfigError(f"engine: expected 'events' or 'dense', got {engine!r}")
    config = _config(document.document() if isinstance(document, Adapted) else document, _flat(overrides))
    if engine == "dense" and world is not None:
        raise ConfigError("world: the dense engine has none; take engine='events'")
    if nodes is None and not config.nodes:
        nodes = NODES
    config = simulated(config, nodes)
    check_config(config, engine == "dense")
    followed = follow_run("", config, None if engine == "dense" else world or World())
    rounds = [point._asdict() for point in followed.curve.points]
    return Result(rounds, followed.summary(baselines), followed)


def _config(document: str | Path | Mapping[str, Any], changes: Mapping[str, Any]) -> NetworkConfig:
    here = Path.cwd() / HERE
    if not isinstance(document, Mapping):
        return load_changed(Path(document), changes, here)
    table: dict[str, Any] = {"format": 1, **document}
    for key, value in changes.items():
        *above, last = key.split(".")
        inner = table
        for name in above:
            inner[name] = dict(inner.get(name, {}))
            inner = inner[name]
        inner[last] = value
    try:
        text = tomli_w.dumps(table)
    except TypeError as error:
        raise ConfigError(f"document: expected values that TOML has: {error}") from None
    return parse_network(text, here)


def _flat(overrides: Mapping[str, Any]) -> dict[str, Any]:
    """pace={"rounds": 5} and **{"pace.rounds": 5} are the same; other keys of the section stay as they are."""
    found: dict[str, Any] = {}
    for name, value in overrides.items():
        if isinstance(value, Mapping) and "." not in name:
            found |= {f"{name}.{key}": inner for key, inner in value.items()}
        else:
            found[name] = value
    return found
