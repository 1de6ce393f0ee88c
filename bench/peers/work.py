"""What every simulator is to do in a round of a node: the data, the shares, the model. Needs numpy and torch only.

A share is 160 samples drawn with replacement; a round is one pass over it, 5 steps of plain SGD on batches of 32, with
a learning rate of 0.05. Models: an MLP 64-128-10 for digits, and a small CNN for images of 28 x 28.
"""

from functools import lru_cache

import numpy as np
import torch
from torch import Tensor, nn

SHARE, BATCH, LR, STEPS = 160, 32, 0.05, 5


@lru_cache
def read(path: str) -> tuple[Tensor, Tensor]:
    """x (n, ...) float32 and y (n,) int64 of an .npz file."""
    with np.load(path, allow_pickle=False) as arrays:
        return torch.from_numpy(arrays["x"]), torch.from_numpy(arrays["y"])


def share(node: int, samples: int) -> Tensor:
    """The row numbers of one node's samples, (160,)."""
    return torch.from_numpy(np.random.default_rng(node).integers(0, samples, SHARE))


def make_model(kind: str) -> nn.Module:
    """Linear layers for 64 values, or two convolutions and two linear layers for an image; weights as torch starts."""
    if kind == "mlp":
        return nn.Sequential(nn.Flatten(), nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 10))
    halved = [nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)]
    again = [nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)]
    return nn.Sequential(*halved, *again, nn.Flatten(), nn.Linear(32 * 49, 64), nn.ReLU(), nn.Linear(64, 10))
