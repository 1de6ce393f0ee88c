"""Data of one's own, and who gets which part of it: points on three rings; each node sees a slice of the cake.

    [data]
    source = "own_data.py:rings"
    args = { samples = 900 }
    partition = { by = "own_data.py:by_angle" }

On machines that have data of their own there is nothing to deal: each names its source in its node.toml.
"""

from typing import Any

import numpy as np

from p2pfl.learn.data import Data

Arrays = tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]


def rings(samples: int = 900, noise: float = 0.08, seed: int = 0) -> Arrays:
    """x (samples, 2) and the number of the ring, 0 to 2. Also possible: a torch data set of (sample, label) pairs."""
    rng = np.random.default_rng(seed)
    ring, angle = np.arange(samples) % 3, rng.uniform(0.0, 2 * np.pi, samples)
    radius = 0.4 + 0.5 * ring + noise * rng.standard_normal(samples)
    return np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1).astype(np.float32), ring


def by_angle(data: Data, num_nodes: int, rng: np.random.Generator) -> list[np.ndarray[Any, Any]]:
    """One list of row numbers per node. No node sees more than its direction, so alone it cannot learn the rings."""
    angle = np.arctan2(data.x[:, 1].numpy(), data.x[:, 0].numpy())
    return np.array_split(np.argsort(angle, kind="stable"), num_nodes)
