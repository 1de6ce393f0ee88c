"""Whose data lie at hand beside a run: what a second opinion can be made of. Knows folders; trains nothing.

A simulator cuts one data set into shares by its document, so all of them are at hand, and so they are of real nodes
that do (`data.index`; of a node whose folder is not here the share of its place in the document). Of nodes that have
data of their own there are those whose folders are here and whose data can be read.
"""

import json
import tomllib
from dataclasses import dataclass, replace
from pathlib import Path

from p2pfl.assemble.splits import node_splits
from p2pfl.config import DataConfig, NetworkConfig, TrainConfig, load_network, load_node
from p2pfl.core.ids import NodeId
from p2pfl.errors import ConfigError
from p2pfl.learn.data import Splits
from p2pfl.runs.folder import CONFIG, NETWORK, STORE, SUMMARY
from p2pfl.strategies import HONEST, Strategy, make_strategy


@dataclass(frozen=True, eq=False)
class Holding:
    """One node. data: None if nothing here says which are its own. folder: None if its run is not here."""

    name: str
    key: NodeId
    data: DataConfig | None
    train: TrainConfig
    strategy: Strategy
    folder: Path | None

    def splits(self, network: NetworkConfig) -> Splits:
        """Its examples, as it had them. Raises ConfigError if they are not at hand."""
        if self.data is None:
            raise ConfigError(
                f"{self.name}: its data are its own, and its run's folder is not here to say where they are"
            )
        data = self.data
        if data.index is not None:
            data = replace(data, index=self.strategy.share(data.index))
        return self.strategy.splits(node_splits(data, network))


def network_of(run: Path) -> NetworkConfig:
    """The network document that the run was made by. Raises ConfigError if none lies in the folder or above it."""
    here = run.resolve()
    for folder in (here, *sorted(path.parent for path in here.glob(f"*/{NETWORK}")), *list(here.parents)[:3]):
        if (folder / NETWORK).is_file():
            return load_network(folder / NETWORK)
    raise ConfigError(f"{run}: expected a run's folder with {NETWORK} in it, found none")


def holdings(run: Path, network: NetworkConfig) -> list[Holding]:
    """Every node of the network, in the document's order."""
    folders = {name: path for path in _folders(run) if (name := _name_of(path))}
    strategies = _strategies(run) | _strategies(run.resolve().parent)
    owned = {name: load_node(path / CONFIG) for name, path in folders.items() if (path / CONFIG).is_file()}
    divided = all(own.data.index is not None for own in owned.values())
    found = []
    for index, entry in enumerate(network.nodes):
        own, folder = owned.get(entry.name), folders.get(entry.name)
        if own is not None:
            found.append(Holding(entry.name, entry.key, own.data, own.train, make_strategy(own.strategy), folder))
            continue
        data = replace(network.data, index=index) if divided else None
        strategy = make_strategy(strategies[entry.name]) if entry.name in strategies else HONEST
        found.append(Holding(entry.name, entry.key, data, network.train, strategy, folder))
    return found


def _folders(run: Path) -> list[Path]:
    for depth in range(4):
        found = sorted(path.parent for path in run.glob("*/" * depth + STORE))
        if found:
            return found
    return []


def _name_of(folder: Path) -> str:
    try:
        return str(tomllib.loads((folder / CONFIG).read_text("utf-8"))["name"])
    except (OSError, ValueError, KeyError):
        return folder.resolve().name


def _strategies(run: Path) -> dict[str, str]:
    """How the nodes of a simulated trial behaved, by its summary; nothing for any other run."""
    try:
        rows = json.loads((run / SUMMARY).read_text("utf-8")).get("strategies", {})
        return {str(name): str(strategy) for name, strategy in rows.items()}
    except (OSError, ValueError, AttributeError):
        return {}
