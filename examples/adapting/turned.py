"""Digits turned by a quarter, a few hundred of them: the target of examples/adapting/target.toml."""

import torch

from p2pfl.learn.data import Data, Source
from p2pfl.learn.datasets import digits


def turned(count: int) -> Source:
    """The first `count` digits, x (count, 1, 8, 8), turned counter-clockwise."""
    whole = digits().data
    some = whole.subset(torch.arange(count))
    return Source(Data(torch.rot90(some.x, 1, (2, 3)).contiguous(), some.y, "turned digits", some.classes))
