"""Samples in memory in one form, whatever they came from. Knows shapes and labels; knows no file and no node.

Legend: n samples. x is (n, ...) float32, or int64 tokens; y is (n,) or (n, ...) int64 for classes, float32 for numbers.
"""

from dataclasses import dataclass, replace
from math import prod
from typing import ClassVar, Literal

import numpy as np
import torch
from torch import Tensor

from p2pfl.core.noise import Key, derive, generator
from p2pfl.errors import ConfigError
from p2pfl.learn.table import Encoder

SplitName = Literal["train", "validation", "test"]


@dataclass(frozen=True, slots=True, eq=False)
class Data:
    """Checked when made: lengths agree, all numbers finite, labels are class numbers. May be empty.

    `classes` are the labels' names in the order of their numbers; empty means that y are numbers (regression).
    `features` names the columns of a table, where there are any. `groups` (n,) int64 says where each sample is from (a
    speaker, a hospital), as a place in `group_names`, where that is known.
    """

    x: Tensor
    y: Tensor
    name: str
    classes: tuple[str, ...] = ()
    features: tuple[str, ...] = ()
    groups: Tensor | None = None
    group_names: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.x.ndim < 1 or self.y.ndim < 1 or len(self.x) != len(self.y):
            shapes = f"{tuple(self.x.shape)} and {tuple(self.y.shape)}"
            raise ConfigError(f"{self.name}: expected as many labels as samples, got x and y of shapes {shapes}")
        if self.x.dtype not in (torch.float32, torch.float64, torch.int64):
            raise ConfigError(f"{self.name}: expected samples as float32 (or int64 tokens), got {self.x.dtype}")
        _check_finite(self.x, self.name, "sample")
        self._check_groups()
        if self.classes:
            self._check_labels()
        elif not self.y.is_floating_point():
            raise ConfigError(f"{self.name}: expected float targets where no classes are given, got {self.y.dtype}")
        else:
            _check_finite(self.y, self.name, "target")

    def __len__(self) -> int:
        return len(self.x)

    @property
    def num_classes(self) -> int:
        """0 for regression."""
        return len(self.classes)

    @property
    def num_outputs(self) -> int:
        """What a model has to give for one sample: a score per class, or one number."""
        return len(self.classes) or 1

    @property
    def input_shape(self) -> tuple[int, ...]:
        return tuple(self.x.shape[1:])

    @property
    def positions(self) -> int:
        """Targets per sample: 1, or a sequence's length."""
        return prod(self.y.shape[1:])

    def subset(self, rows: Tensor) -> "Data":
        groups = None if self.groups is None else self.groups[rows]
        return replace(self, x=self.x[rows], y=self.y[rows], groups=groups)

    def to(self, device: torch.device, dtype: torch.dtype) -> "Data":
        """On a device, its floats as `dtype`."""
        x = self.x.to(device, dtype) if self.x.is_floating_point() else self.x.to(device)
        y = self.y.to(device, dtype) if self.y.is_floating_point() else self.y.to(device)
        return self if x is self.x and y is self.y else replace(self, x=x, y=y)

    def _check_groups(self) -> None:
        groups = self.groups
        if groups is None:
            return
        if groups.dtype != torch.int64 or groups.shape != (len(self.x),):
            raise ConfigError(f"{self.name}: expected a group for each of {len(self.x)} samples as int64")
        if len(groups) and not 0 <= int(groups.min()) <= int(groups.max()) < len(self.group_names):
            most = len(self.group_names) - 1
            raise ConfigError(
                f"{self.name}: expected groups 0 to {most}, got {int(groups.min())} to {int(groups.max())}"
            )

    def _check_labels(self) -> None:
        if self.y.dtype != torch.int64:
            raise ConfigError(f"{self.name}: expected labels as int64, got {self.y.dtype}")
        wrong = (self.y < 0) | (self.y >= self.num_classes)
        if bool(wrong.any()):
            row = int(wrong.reshape(len(wrong), -1).any(1).nonzero()[0])
            label = int(self.y[wrong][0])
            raise ConfigError(f"{self.name}: expected labels 0 to {self.num_classes - 1}, got {label} in sample {row}")


@dataclass(frozen=True, slots=True, eq=False)
class Source:
    """What a loader gives: samples, the test samples that came with them if any, and what is to be done with them.

    `standardise` are the feature columns to be shifted and scaled by the training part's statistics, which are known
    only after a test set is held out; `encoder` is how a table's rows became numbers, to be used again on new rows.
    """

    data: Data
    test: Data | None = None
    standardise: tuple[int, ...] = ()
    encoder: Encoder | None = None

    def __post_init__(self) -> None:
        if not len(self.data):
            raise ConfigError(f"{self.data.name}: there are no samples")
        if self.test is not None and (self.test.input_shape, self.test.classes) != (
            self.data.input_shape,
            self.data.classes,
        ):
            raise ConfigError(f"{self.data.name}: the test samples have another shape or other classes")


@dataclass(frozen=True, slots=True, eq=False)
class Held:
    """All training samples, the test set that nobody trains on, and the encoder with the scaling that was applied."""

    train: Data
    test: Data
    encoder: Encoder | None


@dataclass(frozen=True, slots=True, eq=False)
class Splits:
    """One node's data."""

    train: Data
    validation: Data
    test: Data

    names: ClassVar[tuple[SplitName, ...]] = ("train", "validation", "test")

    def __getitem__(self, name: SplitName) -> Data:
        return {"train": self.train, "validation": self.validation, "test": self.test}[name]


def hold_out(source: Source, key: Key, fraction: float = 0.2) -> Held:
    """Set the test samples aside: those that came with the source, else a random `fraction`; then standardise.

    Law: train and test are disjoint, together everything, and the same for the same key.
    """
    train, test = source.data, source.test
    if test is None:
        rows, rest = _cut(len(train), key, "test", fraction, train.name)
        train, test = train.subset(rest), train.subset(rows)
    if not source.standardise:
        return Held(train, test, source.encoder)
    columns = list(source.standardise)
    mean, scale = _statistics(train.x[:, columns])
    encoder = source.encoder.scaled(columns, mean.tolist(), scale.tolist()) if source.encoder else None
    return Held(_scaled(train, columns, mean, scale), _scaled(test, columns, mean, scale), encoder)


def split(train: Data, rows: Tensor, test: Data, key: Key, validation: float = 0.0) -> Splits:
    """One node's share `rows` of the training samples, a random part of it set aside for validation."""
    kept, own = split_rows(train, rows, key, validation)
    return Splits(train.subset(kept), train.subset(own), test)


def split_rows(train: Data, rows: Tensor, key: Key, validation: float = 0.0) -> tuple[Tensor, Tensor]:
    """The same as row numbers: those of the share `rows` to train on, and those set aside."""
    own, kept = _cut(len(rows), key, "validation", validation, train.name)
    return rows[kept], rows[own]


def _cut(n: int, key: Key, label: str, fraction: float, name: str) -> tuple[Tensor, Tensor]:
    """Random row numbers: round(fraction n) of them, and all others, each in ascending order."""
    if not 0 <= fraction < 1:
        raise ConfigError(f"{name}: expected a {label} fraction of at least 0 and below 1, got {fraction}")
    count = round(fraction * n)
    if count >= n > 0:
        raise ConfigError(f"{name}: a {label} fraction of {fraction} leaves none of {n} samples for training")
    order = torch.from_numpy(generator(derive(key, label)).permutation(n).astype(np.int64))
    return order[:count].sort().values, order[count:].sort().values


def _statistics(x: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of the columns; a constant column keeps its scale."""
    deviation = x.std(0, correction=0)
    return x.mean(0), torch.where(deviation > 1e-8, deviation, torch.ones_like(deviation))


def _scaled(data: Data, columns: list[int], mean: Tensor, scale: Tensor) -> Data:
    x = data.x.clone()
    x[:, columns] = (x[:, columns] - mean) / scale
    return replace(data, x=x)


def _check_finite(values: Tensor, name: str, what: str) -> None:
    if values.is_floating_point() and not bool(torch.isfinite(values).all()):
        bad = ~torch.isfinite(values.reshape(len(values), -1)).all(1)
        raise ConfigError(f"{name}: expected finite numbers, got another in {what} {int(bad.nonzero()[0])}")
