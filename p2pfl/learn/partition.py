"""Who gets which rows: shares of one data set for the nodes of a trial. Knows labels; knows no model.

Legend: N nodes, n samples. A partitioner is `f(data, num_nodes, rng, **args) -> N arrays of row numbers`. `partition`
holds every one, built in or the user's own, to the laws: rows exist, none is used twice (but by `SHARING`), no node is
empty; and the same key gives the same shares. Machines with data of their own need none of this.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from p2pfl.core.limits import NODES_MAX
from p2pfl.core.noise import Key, derive, generator
from p2pfl.errors import ConfigError
from p2pfl.learn.data import Data
from p2pfl.learn.names import call, find

Rows = NDArray[np.int64]
Partitioner = Callable[..., Sequence[Rows]]


def partition(
    name: str, data: Data, num_nodes: int, key: Key, folder: Path = Path(), args: Mapping[str, Any] | None = None
) -> list[Tensor]:
    """The rows of each node in ascending order, by the partitioner `name`: a built-in, or `module:attribute`."""
    most = NODES_MAX if name in SHARING else min(NODES_MAX, len(data))
    if not 1 <= num_nodes <= most:
        raise ConfigError(f"{data.name}: expected 1 to {most} nodes for {len(data)} samples, got {num_nodes}")
    what = f"partition {name!r}"
    function = find(name, PARTITIONERS, "partition", folder)
    rng = generator(derive(key, "partition"))
    shares = call(function, args or {}, what, data=data, num_nodes=num_nodes, rng=rng)
    rows = [np.sort(np.asarray(share, np.int64)) for share in shares]
    _check(rows, data, num_nodes, what, shared=name in SHARING)
    return [torch.from_numpy(share) for share in rows]


def iid(data: Data, num_nodes: int, rng: np.random.Generator) -> list[Rows]:
    """A random share each; sizes differ by one at most."""
    return np.array_split(rng.permutation(len(data)), num_nodes)


def quantity(data: Data, num_nodes: int, rng: np.random.Generator, weights: Sequence[float] = (1.0, 2.0)) -> list[Rows]:
    """Quantity skew: a random share each, sizes in proportion to `weights`, which repeat if there are more nodes."""
    if not weights or not all(0 < weight < float("inf") for weight in weights):
        raise ConfigError(f"partition 'quantity': expected weights above 0, got {list(weights)}")
    each = np.resize(np.array(weights, np.float64), num_nodes)
    ends = np.round(np.cumsum(each) / each.sum() * len(data)).astype(np.int64)[:-1]
    return np.split(rng.permutation(len(data)), ends)


def dirichlet(
    data: Data, num_nodes: int, rng: np.random.Generator, alpha: float = 0.1, equal: bool = True
) -> list[Rows]:
    """Label skew: each node's mix of classes, or each class's mix of nodes, is drawn from Dirichlet(alpha).

    equal: all nodes get floor(n / N) samples. A node fills its share from its own mix; when a class runs out, the rest
    comes from the others in proportion, so the last nodes are served from what is left. Nodes are filled in random
    order. Not equal: every class is cut among the nodes (Hsu, Qi, Brown 2019 draw per node; Yurochkin et al. 2019, as
    here, per class); sizes may differ much, and a draw that leaves a node empty is an error.
    """
    if not alpha > 0:
        raise ConfigError(f"partition 'dirichlet': expected an alpha above 0, got {alpha}")
    pools = _by_class(data, rng, "dirichlet")
    return _fill_nodes(pools, num_nodes, rng, alpha) if equal else _cut_classes(pools, num_nodes, rng, alpha)


def shards(data: Data, num_nodes: int, rng: np.random.Generator, shards_per_node: int = 2) -> list[Rows]:
    """Sort by label, cut into N * shards_per_node runs, deal them out at random. Source: McMahan et al. 2017, 3."""
    count = num_nodes * shards_per_node
    if shards_per_node < 1 or count > len(data):
        raise ConfigError(f"partition 'shards': {len(data)} samples do not make {num_nodes} x {shards_per_node} shards")
    runs = np.array_split(np.concatenate(_by_class(data, rng, "shards")), count)
    dealt = rng.permutation(count).reshape(num_nodes, shards_per_node)
    return [np.concatenate([runs[i] for i in mine]) for mine in dealt]


def bootstrap(data: Data, num_nodes: int, rng: np.random.Generator, samples: int = 160) -> list[Rows]:
    """So many rows each, drawn with replacement: more nodes than the data set could serve, for trials of scale.

    Nodes hold the same samples as others, and some twice: not for figures of how well a network learns.
    """
    if samples < 1:
        raise ConfigError(f"partition 'bootstrap': expected at least 1 of samples, got {samples}")
    return list(rng.integers(0, len(data), (num_nodes, samples)))


def by_column(data: Data, num_nodes: int, rng: np.random.Generator, column: str) -> list[Rows]:
    """All rows with one value of a column stay together (a hospital, a country, a month).

    The column is a number, or a category that became several features. Values go, largest first, to the node with the
    fewest samples so far.
    """
    places = [i for i, name in enumerate(data.features) if name == column or name.startswith(f"{column}=")]
    if not places:
        known = sorted({name.partition("=")[0] for name in data.features})
        raise ConfigError(f"partition 'by_column': there is no column {column!r}; it has {', '.join(known) or 'none'}")
    _, group = np.unique(data.x[:, places].numpy(), axis=0, return_inverse=True)
    return _deal(group.reshape(-1), num_nodes, f"partition 'by_column': {column!r} has {{}} values")


def by_group(data: Data, num_nodes: int, rng: np.random.Generator) -> list[Rows]:
    """Samples from one place (a speaker, a hospital) stay together, as far as the data set says where they are from.

    Groups go, largest first, to the node with the fewest samples so far.
    """
    if data.groups is None:
        raise ConfigError(f"partition 'by_group': {data.name} does not say where its samples are from; use another")
    return _deal(data.groups.numpy(), num_nodes, "partition 'by_group': there are {} groups")


def _deal(group: NDArray[np.int64], num_nodes: int, found: str) -> list[Rows]:
    """Whole groups, largest first, each to the node with the fewest samples so far."""
    _, group = np.unique(group, return_inverse=True)
    groups = [np.flatnonzero(group == g) for g in range(int(group.max()) + 1)]
    if len(groups) < num_nodes:
        raise ConfigError(f"{found.format(len(groups))} for {num_nodes} nodes")
    parts: list[list[Rows]] = [[] for _ in range(num_nodes)]
    sizes = [0] * num_nodes
    for rows in sorted(groups, key=len, reverse=True):
        lightest = sizes.index(min(sizes))
        parts[lightest].append(rows)
        sizes[lightest] += len(rows)
    return [np.concatenate(mine) for mine in parts]


PARTITIONERS: dict[str, Partitioner] = {
    "iid": iid,
    "quantity": quantity,
    "dirichlet": dirichlet,
    "shards": shards,
    "bootstrap": bootstrap,
    "by_column": by_column,
    "by_group": by_group,
}

SHARING = frozenset({"bootstrap"})
"""Partitioners that may give a sample to several nodes."""


def _by_class(data: Data, rng: np.random.Generator, name: str) -> list[Rows]:
    """The rows of each class, in random order."""
    if not data.classes or data.y.ndim != 1:
        raise ConfigError(f"partition {name!r}: needs one class per sample, and {data.name} has none; use 'iid'")
    y = data.y.numpy()
    return [rng.permutation(np.flatnonzero(y == c)) for c in range(data.num_classes)]


def _fill_nodes(pools: list[Rows], num_nodes: int, rng: np.random.Generator, alpha: float) -> list[Rows]:
    left = np.array([len(pool) for pool in pools])
    size = int(left.sum()) // num_nodes
    shares: list[Rows] = [np.empty(0, np.int64)] * num_nodes
    for node in rng.permutation(num_nodes):
        wanted = _dirichlet(rng, alpha, len(pools))
        taken = np.zeros(len(pools), np.int64)
        while (missing := size - int(taken.sum())) > 0:
            open_ = left - taken > 0
            mix = np.where(open_, wanted, 0)
            mix = mix / mix.sum() if mix.sum() > 0 else open_ / open_.sum()
            taken = np.minimum(left, taken + rng.multinomial(missing, mix))
        shares[node] = np.concatenate(
            [pool[len(pool) - n :][:k] for pool, n, k in zip(pools, left, taken, strict=True)]
        )
        left = left - taken
    return shares


def _cut_classes(pools: list[Rows], num_nodes: int, rng: np.random.Generator, alpha: float) -> list[Rows]:
    parts: list[list[Rows]] = [[] for _ in range(num_nodes)]
    for pool in pools:
        ends = np.round(np.cumsum(_dirichlet(rng, alpha, num_nodes)) * len(pool)).astype(np.int64)[:-1]
        for mine, rows in zip(parts, np.split(pool, ends), strict=True):
            mine.append(rows)
    return [np.concatenate(mine) for mine in parts]


def _dirichlet(rng: np.random.Generator, alpha: float, size: int) -> NDArray[np.float64]:
    """Also for an alpha so small that every gamma variate underflows: then all on one."""
    drawn: NDArray[np.float64] = rng.dirichlet(np.full(size, alpha))
    if np.isfinite(drawn).all() and drawn.sum() > 0:
        return drawn
    lone: NDArray[np.float64] = np.eye(size)[rng.integers(size)]
    return lone


def _check(shares: list[Rows], data: Data, num_nodes: int, what: str, shared: bool) -> None:
    if len(shares) != num_nodes:
        raise ConfigError(f"{what}: expected shares for {num_nodes} nodes, got {len(shares)}")
    for node, share in enumerate(shares):
        if not len(share):
            raise ConfigError(f"{what}: node {node} of {num_nodes} got no samples; use fewer nodes or another seed")
    together = np.concatenate(shares)
    if together.min() < 0 or together.max() >= len(data):
        raise ConfigError(f"{what}: expected rows 0 to {len(data) - 1}, got {together.min()} to {together.max()}")
    if not shared and len(np.unique(together)) != len(together):
        raise ConfigError(f"{what}: a sample was given out twice")
