"""Digits for two tasks at once: half of the nodes read them as they are, the others by a secret table of labels.

Every node holds one group of the data; `unlike` above 0 sorts a task's samples by label before they are dealt, with
so much noise (in labels): at 10 nodes differ a little, at 4 each sees some six labels. `only` "a" or "b": that task's.
"""

from dataclasses import replace

import torch

from p2pfl.learn.data import Data, Source
from p2pfl.learn.datasets import digits

TABLE = torch.tensor([3, 0, 7, 8, 6, 2, 9, 1, 4, 5])


def tasks(parts: int = 6, unlike: float = 0.0, only: str = "") -> Source:
    """`parts` nodes for each task: twice as many groups, named a0, a1, .., b0, b1, .."""
    data, generator = digits().data, torch.Generator().manual_seed(4)
    group = torch.empty(len(data), dtype=torch.int64)
    group[torch.randperm(len(data), generator=generator)] = torch.arange(len(data)) % (2 * parts)
    if unlike:
        blurred = data.y + torch.rand(len(data), generator=generator) * unlike
        for task in (0, 1):
            rows = (group // parts == task).nonzero().flatten()
            order = rows[blurred[rows].argsort()]
            group[order] = task * parts + torch.arange(len(order)) * parts // len(order)
    y = torch.where(group // parts == 1, TABLE[data.y], data.y)
    names = tuple(f"{'ab'[at // parts]}{at % parts}" for at in range(2 * parts))
    both = Data(data.x, y, "two tasks", data.classes, groups=group, group_names=names)
    if not only:
        return Source(both)
    one = both.subset((group // parts == "ab".index(only)).nonzero().flatten())
    return Source(replace(one, groups=one.groups % parts, group_names=tuple(f"{only}{at}" for at in range(parts))))
