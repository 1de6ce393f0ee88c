"""Federated transfer learning as a coordinated job: what both agree on. Knows rules and rows; no key, no party.

Theory of operation. The source S (the label holder) trains a net on its own labelled rows, and stands still from then
on. The target T has other columns. Over the rows that both have, T learns where S would put each person (see `lesson`).

    hello         T   -> how many features it has
    hold, level 0 T   gets phi and the lessons c_i, clipped and noised row by row; fits; -> scores of rows held out
    hold, level 1 T   gets phi and the c_i sealed under S's key       -> [K^T C] + mask
    step          T   gets it opened, with noise; takes the mask off, fits -> scores of rows held out

S opens a masked sum: it learns nothing of T's columns but how many they are, and T's scores of the rows held out. T
learns phi, an average over S's table, and at level 0 a noised vector per common row, at level 1 one sum of them per
feature: whoever would solve for single rows has F equations for n unknowns, once.
"""

from dataclasses import dataclass
from math import isfinite

import numpy as np
from blake3 import blake3
from numpy.typing import NDArray

from p2pfl.core.noise import Key
from p2pfl.crypto.packing import Fixed
from p2pfl.crypto.paillier_layer import Product
from p2pfl.errors import ConfigError
from p2pfl.vertical.data.protect import RowGuard
from p2pfl.vertical.latent.lesson import KNOWN
from p2pfl.vertical.split.plan import Plan

LESSONS = Fixed(20, 1.0)
"""Of sealed lessons."""
ROWS_MAX, ROWS_MIN = 1 << 16, 64
"""Common rows trained on. With fewer, sums say too much about single ones."""
FEATURES_MAX = 4096
"""Of the target, with constant and random ones: it inverts a matrix of that size."""
REST_MIN = 100
"""Rows that a source needs to learn from."""

Rows = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Transfer:
    """What a job document says of it. alignment: weight of the pull towards the source. rest_only: the source learns
    from rows that the target does not have, so that a common row's label is in its own lesson alone. Raises
    ConfigError."""

    alignment: float = 0.1
    ridge: float = 0.01
    random_features: int = 0
    rest_only: bool = True

    def __post_init__(self) -> None:
        for name, value in (("alignment", self.alignment), ("ridge", self.ridge)):
            if not (isfinite(value) and 0 < value <= 100):
                raise ConfigError(f"model.{name}: expected a number above 0 and at most 100, got {value:g}")
        if not 0 <= self.random_features < FEATURES_MAX:
            raise ConfigError(f"model.random_features: expected 0 to {FEATURES_MAX - 1}, got {self.random_features}")


@dataclass(frozen=True)
class Rules:
    """The same at both. noise: on each lesson (level 0) or on the sums (level 1), as a multiple of the largest share
    that one row has in it."""

    plan: Plan
    terms: Transfer
    sealed: bool
    noise: float
    key_bits: int = 2048

    def __post_init__(self) -> None:
        if len(self.plan.parties) != 2:
            raise ConfigError(f"expected two parties, a source and a target, got {len(self.plan.parties)}")
        if not ROWS_MIN <= self.plan.schedule.num_train <= ROWS_MAX:
            raise ConfigError(
                f"expected {ROWS_MIN} to {ROWS_MAX} common rows to train on, got {self.plan.schedule.num_train}"
            )

    @property
    def width(self) -> int:
        """d."""
        return self.plan.widths[0]

    @property
    def guard(self) -> RowGuard:
        """Of lessons at level 0."""
        return RowGuard(1.0, 0.0 if self.sealed else self.noise)

    @property
    def product(self) -> Product:
        """Lessons sealed, features known."""
        return Product(LESSONS, KNOWN, ROWS_MAX, self.key_bits)

    @property
    def mask_sums(self) -> int:
        """Slots that the sums of one feature take."""
        slots = self.product.slots
        return slots.packed(self.width) * slots.count

    def split(self) -> tuple[Rows, Rows]:
        """Places of the common rows to train on and of those held out."""
        return self.plan.schedule.split()

    @property
    def key(self) -> Key:
        return self.key_of(self.plan.schedule.seed)

    @staticmethod
    def key_of(seed: int) -> Key:
        """Gives random features and the order of the source's rows: it hides nothing."""
        return Key(blake3(b"p2pfl/transfer\0" + str(seed).encode()).digest())
