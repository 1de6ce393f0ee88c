"""Regression over split columns as a coordinated job: what all agree on. Knows rules and rows; no key, no party.

Theory of operation. The gradient of a batch is X^T d with d = sum_q s_q (see `linear`). Party q has X_q, the others
have the rest of d: so q seals its columns once, before the first step, and in each step every other party r multiplies
them by its own s_r and sends the sums, fresh. The label holder adds these up for each q and passes the total on.

    hello    all            -> own public key and number of columns
    keys     feature holder -> X_q sealed                    (one ciphertext for some twenty values of a row)
    hold     feature holder    keeps the X_r of the others
    step b   feature holder    learns from the total of batch b - 1, then -> [X_r^T s_q] of batch b for each other r
    test j   feature holder    the same, then -> [s_q] of rows held out, for which the label holder gets the sum
    open     who opens      -> masked sums

Without a third party X_q is sealed under q's own key: q opens its gradient, and nobody else can open anything of it.
With one (K), all is sealed under K's key; a party adds a mask to its total before K opens it, and takes it off.
The loss is a sum of squares, sum_i d_i^2 = sum_q s_q . d: each party knows its own term once it has learned, seals it
for the opener (K, or the first feature holder), and the label holder opens only the masked sum of all. It stops where
the loss of an epoch is not `tolerance` below that of the epoch before.

Source: Hardy et al. 2017 (arXiv 1711.10677), Yang et al. 2019, section 3.1.2: same gradients, same loss, same views
(each party its own gradient, the label holder the loss). Differs in what is sealed: columns once instead of residuals
in each step, so a step needs no encryption of rows, and rows share ciphertexts with columns.
"""

from dataclasses import dataclass
from math import isfinite

import numpy as np
from blake3 import blake3
from numpy.typing import NDArray

from p2pfl.core.noise import Key, derive, generator
from p2pfl.crypto.packing import Fixed
from p2pfl.crypto.paillier_layer import Product
from p2pfl.errors import ConfigError
from p2pfl.vertical.hetero.linear import ROWS_MAX, ROWS_MIN, Floats, Regression
from p2pfl.vertical.turns.messages import INDEX_MAX, Accord
from p2pfl.wire import canonical

FEATURES = Fixed(12, 16.0)
SCORES = Fixed(10, 16.0)
"""Short exponents: their rounding is a tenth of what activations may be off by, and they are most of the work."""

Rows = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Rules:
    """The same at every party. `rows` of the common order; `tolerance` of the convergence check (0: all epochs).
    `exponent_bits`: None for half of the key's; 256 is faster and rests on a stronger assumption."""

    spec: Regression
    rows: int
    batch: int
    epochs: int
    test_fraction: float = 0.2
    seed: int = 0
    tolerance: float = 0.0
    exponent_bits: int | None = None

    def __post_init__(self) -> None:
        if not ROWS_MIN <= self.batch <= ROWS_MAX:
            raise ConfigError(f"batch: expected {ROWS_MIN} to {ROWS_MAX} rows, got {self.batch}")
        if not 0 < self.test_fraction < 1 or self.num_test < 1:
            raise ConfigError(f"test_fraction: expected some rows held out, got {self.test_fraction} of {self.rows}")
        if self.num_train // self.per_epoch < ROWS_MIN:
            raise ConfigError(
                f"expected batches of at least {ROWS_MIN} rows, got {self.num_train} rows in {self.per_epoch} batches: "
                "use larger batches or more rows"
            )
        if not 1 <= self.epochs <= 10_000 or self.num_steps >= INDEX_MAX:
            raise ConfigError(f"epochs: expected 1 to 10000, got {self.epochs}")
        if not isfinite(self.tolerance) or self.tolerance < 0:
            raise ConfigError(f"tolerance: expected at least 0, got {self.tolerance}")

    @property
    def num_test(self) -> int:
        return round(self.rows * self.test_fraction)

    @property
    def num_train(self) -> int:
        return self.rows - self.num_test

    @property
    def per_epoch(self) -> int:
        return max(1, -(-self.num_train // self.batch))

    @property
    def num_steps(self) -> int:
        return self.epochs * self.per_epoch

    @property
    def num_tests(self) -> int:
        return -(-self.num_test // ROWS_MAX)

    @property
    def product(self) -> Product:
        """Sums over a batch: columns sealed, scores known."""
        return Product(FEATURES, SCORES, ROWS_MAX, self.spec.key_bits)

    @property
    def digest(self) -> bytes:
        s = self.spec
        spec = [s.kind, float(s.rate), float(s.decay), float(s.clip), s.key_bits]
        order = [self.rows, self.batch, self.epochs, float(self.test_fraction), self.seed, float(self.tolerance)]
        return blake3(canonical.packb(["p2pfl/hetero/1", spec, order, self.exponent_bits or 0])).digest()


class Batches:
    """The rows of each step, alike at every party: batches of an epoch differ by one row at most."""

    def __init__(self, rules: Rules) -> None:
        self.rules = rules
        self._key = Key(blake3(b"p2pfl/hetero-order\0" + str(rules.seed).encode()).digest())
        order = generator(derive(self._key, "split")).permutation(rules.rows)
        self.test: Rows = np.sort(order[: rules.num_test])
        self.train: Rows = np.sort(order[rules.num_test :])
        self._epoch, self._parts = -1, [self.train]

    def places(self, step: int) -> Rows:
        """Places in `train` of the rows of a step."""
        epoch, index = divmod(step, self.rules.per_epoch)
        if epoch != self._epoch:
            mixed = generator(derive(self._key, "epoch", epoch)).permutation(len(self.train))
            self._epoch, self._parts = epoch, np.array_split(mixed, self.rules.per_epoch)
        return self._parts[index]

    def held_out(self, index: int) -> Rows:
        """Rows of the common order."""
        return self.test[index * ROWS_MAX : (index + 1) * ROWS_MAX]


def key_of(accord: Accord, party: int) -> int:
    """Whose key seals this party's columns."""
    return party if accord.holder is None else accord.holder


def opener_of(accord: Accord) -> int:
    """Who opens masked losses and scores."""
    return 1 if accord.holder is None else accord.holder


def standardised(x: Floats, train: Rows) -> Floats:
    """Columns with mean 0 and deviation 1 over the rows trained on. Raises ConfigError unless they are numbers."""
    if x.ndim != 2 or not np.isfinite(x).all():
        raise ConfigError("expected finite numbers in every column")
    spread = x[train].std(axis=0)
    found: Floats = (x - x[train].mean(axis=0)) / np.where(spread > 0, spread, 1.0)
    return found
