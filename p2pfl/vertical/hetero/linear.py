"""Logistic and linear regression over split columns: the arithmetic. Knows residuals; no party, key or message.

The gradient of one batch is X^T d / B + lambda w with a residual d that is a sum over the parties, d = sum_q s_q, so it
can be made by adding ciphertexts. For logistic regression that takes the second-order Taylor form of the loss at 0:
log 2 - y z / 2 + z^2 / 8, y in {-1, 1}, whose residual is d = z / 4 - y / 2. Both losses are then squares of d:

    logistic   s_q = x_q w_q / 4, the label holder's minus y / 2    loss = log 2 - 1/2 + 2 mean(d^2)
    linear     s_q = x_q w_q,     the label holder's minus y        loss = mean(d^2) / 2

and sum_i d_i^2 = sum_q s_q . d needs no ciphertext but those of d.
Source: Hardy et al. 2017 (arXiv 1711.10677), sections 3 and 4; Yang et al. 2019, section 3.1.2 (linear).
Differs in: the loss as the square of the residual, so its cross terms cost one column; more than two parties.

The form holds near z = 0: columns must be standardised, and far outliers are clipped (`clip` standard
deviations): both matter more than with the exact loss.
Legend: B rows of a batch, F columns of one party.
"""

from dataclasses import dataclass
from math import log
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from p2pfl.crypto.packing import Fixed
from p2pfl.crypto.paillier_layer import Product
from p2pfl.errors import ConfigError

Floats: TypeAlias = NDArray[np.float64]

ROWS_MAX = 1024
ROWS_MIN = 64
"""In smaller batches a gradient tells too much about single rows."""

COLUMNS_MIN = 2
"""With one column its gradient tells the sum of the others' scores."""

_FEATURES = Fixed(12, 16.0)
_RESIDUALS = Fixed(20, 16.0)


@dataclass(frozen=True, slots=True)
class Regression:
    """What all parties of one job agree on. Raises ConfigError."""

    kind: Literal["logistic", "linear"] = "logistic"
    rate: float = 0.15
    decay: float = 0.0
    clip: float = 3.0
    key_bits: int = 2048

    def __post_init__(self) -> None:
        if self.kind not in ("logistic", "linear"):
            raise ConfigError(f"expected the kind logistic or linear, got {self.kind!r}")
        if not 0 < self.rate <= 100 or not 0 <= self.decay <= 100:
            raise ConfigError(f"expected 0 < rate <= 100, 0 <= decay <= 100, got {self.rate:g} and {self.decay:g}")
        if not 0 < self.clip <= _FEATURES.bound:
            raise ConfigError(f"expected 0 < clip <= {_FEATURES.bound:g} standard deviations, got {self.clip:g}")

    @property
    def product(self) -> Product:
        """Sums over a batch: residuals hidden, features known."""
        return Product(_RESIDUALS, _FEATURES, ROWS_MAX, self.key_bits)

    @property
    def slope(self) -> float:
        """ds/dz: 1/4 by Taylor for logistic regression."""
        return 0.25 if self.kind == "logistic" else 1.0

    def score(self, x: Floats, w: Floats) -> Floats:
        """s_q of a feature holder: (B,)."""
        return self.slope * (x @ w)

    def target(self, y: Floats) -> Floats:
        """What the label holder takes off its own s: y is 0 or 1 for logistic regression, any number for linear."""
        return y - 0.5 if self.kind == "logistic" else y

    def loss(self, square: float, rows: int) -> float:
        """The mean loss from sum(d^2)."""
        mean = square / rows
        return log(2.0) - 0.5 + 2.0 * mean if self.kind == "logistic" else mean / 2.0

    def step(self, w: Floats, sums: Floats, rows: int) -> Floats:
        """The next weights from X^T d."""
        return w - self.rate * (sums / rows + self.decay * w)


def prepared(x: Floats, clip: float) -> Floats:
    """Standardised columns, clipped, on the grid of the fixed point: what is trained on, everywhere.

    Raises ConfigError unless they are numbers, and at least `COLUMNS_MIN`.
    """
    if x.ndim != 2 or x.shape[1] < COLUMNS_MIN:
        raise ConfigError(f"expected at least {COLUMNS_MIN} columns at every party, got shape {x.shape}")
    clipped = np.clip(x, -clip, clip)
    return _FEATURES.encode(clipped, "features").astype(np.float64) / 2.0**_FEATURES.bits


def check_rows(rows: int) -> None:
    if not ROWS_MIN <= rows <= ROWS_MAX:
        raise ConfigError(f"expected batches of {ROWS_MIN} to {ROWS_MAX} rows, got {rows}")


def plain_step(spec: Regression, w: Floats, x: Floats, y: Floats) -> tuple[Floats, float]:
    """The same step where all columns lie in one place: next weights, and the loss before the step."""
    d = spec.score(x, w) - spec.target(y)
    return spec.step(w, x.T @ d, len(x)), spec.loss(float(d @ d), len(x))
