"""Poor data: nodes that do everything as they should, with labels that are wrong or data that somebody else has."""

from dataclasses import replace
from typing import ClassVar

import torch

from p2pfl.learn.data import Splits
from p2pfl.strategies.strategy import Strategy

NOISY = 0.5


class LabelNoise(Strategy):
    """Half of its training labels are drawn at random."""

    name: ClassVar[str] = "noisylabels"

    def splits(self, splits: Splits) -> Splits:
        y, generator = splits.train.y.clone(), torch.Generator().manual_seed(len(splits.train))
        if y.is_floating_point():
            wrong = y[torch.randperm(len(y), generator=generator)]
        else:
            wrong = torch.randint(0, max(splits.train.num_classes, 1), y.shape, generator=generator)
        chosen = torch.rand(len(y), generator=generator) < NOISY
        chosen = chosen.reshape(-1, *[1] * (y.ndim - 1)).expand_as(y)
        return replace(splits, train=replace(splits.train, y=torch.where(chosen, wrong, y)))


class Duplicate(Strategy):
    """Trains on the first node's data: Shapley values let the two share what the data are worth."""

    name: ClassVar[str] = "duplicate"

    def share(self, index: int) -> int:
        return 0
