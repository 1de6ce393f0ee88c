"""The digits in two parts: what the nodes hold, and 300 examples that everybody has, whose labels nobody looks at."""

import torch

from p2pfl.learn.data import Data, Source
from p2pfl.learn.datasets import digits

PUBLIC = 300


def _cut() -> tuple[Data, Data]:
    data = digits().data
    order = torch.randperm(len(data), generator=torch.Generator().manual_seed(7))
    return data.subset(order[PUBLIC:]), data.subset(order[:PUBLIC])


def private() -> Source:
    return Source(_cut()[0])


def public() -> Source:
    return Source(_cut()[1])
