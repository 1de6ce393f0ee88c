"""The data set that a document names, cut into the nodes' shares and each share into its parts. Knows [data]."""

import torch

from p2pfl.config import DataConfig, NetworkConfig
from p2pfl.core.noise import Key, derive, root
from p2pfl.errors import ConfigError
from p2pfl.learn import datasets
from p2pfl.learn.data import Held, Splits, hold_out, split, split_rows
from p2pfl.learn.partition import partition


def load_held(data: DataConfig, seed: int) -> Held:
    """The data set that a document names, its common test set held out."""
    source = datasets.load(str(data.source), data.source.folder, data.source_args)
    return hold_out(source, data_key(seed), data.test_fraction)


def shares_of(held: Held, data: DataConfig, num_nodes: int, seed: int) -> list[torch.Tensor]:
    """Row numbers of each node's share, in the order of the network's nodes."""
    by = data.partition.by
    return partition(str(by), held.train, num_nodes, data_key(seed), by.folder, data.partition.params)


def splits_of(held: Held, rows: torch.Tensor, data: DataConfig, seed: int, index: int) -> Splits:
    return split(held.train, rows, held.test, derive(data_key(seed), "split", index), data.validation_fraction)


def rows_of(
    held: Held, rows: torch.Tensor, data: DataConfig, seed: int, index: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """The same as row numbers: what the node trains on, and what it judges itself by."""
    return split_rows(held.train, rows, derive(data_key(seed), "split", index), data.validation_fraction)


def node_splits(data: DataConfig, config: NetworkConfig) -> Splits:
    """One machine's data: its share `index` of the network's data set, or all of a source of its own."""
    held = load_held(data, config.seed)
    if data.index is None:
        rows, index = torch.arange(len(held.train)), 0
    else:
        shares = shares_of(held, data, len(config.nodes), config.seed)
        if data.index >= len(shares):
            raise ConfigError(f"data.index: expected 0 to {len(shares) - 1}, got {data.index}")
        rows, index = shares[data.index], data.index
    return splits_of(held, rows, data, config.seed, index)


def data_key(seed: int) -> Key:
    return derive(root(seed), "data")
