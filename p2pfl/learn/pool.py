"""The data of many nodes, kept once: who has which rows, and the batch of every step. Knows no model.

A node's batches are those of its own learner (learn/learner.py): pass after pass over its rows, each pass in an order
of its own key.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from p2pfl.core.noise import Key, Shuffler, derive
from p2pfl.errors import ConfigError
from p2pfl.learn.data import Data, SplitName, Splits


class Pool:
    """`train` is everybody's; `rows` and `validation` (of each node) are row numbers of it. `test` is common."""

    def __init__(
        self, train: Data, test: Data, rows: Sequence[Tensor], validation: Sequence[Tensor], batch_size: int
    ) -> None:
        if not all(len(own) for own in rows):
            raise ConfigError(f"{train.name}: this node has no training samples")
        self.train, self.test = train, test
        self.rows = [own.numpy() for own in rows]
        self.validation = validation
        self.batch = [min(batch_size, len(own)) for own in rows]
        self._shuffler = Shuffler()  # as walk.pass_order has it
        self._orders: dict[int, tuple[Key, Key]] = {}
        self._passed: dict[int, tuple[int, np.ndarray[tuple[int], np.dtype[np.int64]]]] = {}

    def num_samples(self, node: int, split: SplitName) -> int:
        match split:
            case "train":
                return len(self.rows[node])
            case "validation":
                return len(self.validation[node])
        return len(self.test)

    def splits(self, node: int) -> Splits:
        """All of one node's data, copied."""
        rows = torch.from_numpy(self.rows[node])
        return Splits(self.train.subset(rows), self.train.subset(self.validation[node]), self.test)

    def of(self, node: int, split: SplitName) -> Data:
        """One part of a node's data. Raises ConfigError if it is empty."""
        if not self.num_samples(node, split):
            raise ConfigError(f"{self.train.name}: this node has no {split} samples")
        if split == "test":
            return self.test
        return self.train.subset(torch.from_numpy(self.rows[node]) if split == "train" else self.validation[node])

    def batches(self, node: int, key: Key, first: int, steps: int) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
        """Rows of steps `first` to `first + steps` of the run, one batch after another, (steps * batch,)."""
        rows, batch = self.rows[node], self.batch[node]
        per_pass, parts, at = len(rows) // batch, [], first
        number, place = divmod(first, per_pass)
        if place + steps <= per_pass:
            return rows.take(self._pass(node, key, number)[place * batch : (place + steps) * batch])
        while at < first + steps:
            number, place = divmod(at, per_pass)
            until = min(first + steps, (number + 1) * per_pass)
            parts.append(self._pass(node, key, number)[place * batch : (place + until - at) * batch])
            at = until
        return rows.take(np.concatenate(parts))

    def _pass(self, node: int, key: Key, number: int) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
        known = self._orders.get(node)
        if known is None or known[0] != key:
            known = self._orders[node] = (key, derive(key, "order"))
            self._passed.pop(node, None)
        passed = self._passed.get(node)
        if passed is None or passed[0] != number:
            order = self._shuffler.permutation(derive(known[1], number), len(self.rows[node]))
            passed = self._passed[node] = (number, order)
        return passed[1]
