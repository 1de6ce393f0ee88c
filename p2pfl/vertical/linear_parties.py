"""Encrypted regression, the three roles as machines that take and return bytes. Knows a step's order; no peer, no file.

One step over one batch. Without a third party, key A is the label holder's (L) and key B the first feature holder's
(P1); with one (K), both are K's, and K has no data.

    1  L        start          -> P1     [d_L] under A
    2  each P   extend         -> next P [.. + s_q] under A, the last to all P (with K also to L): [d]
    3  each P   ask            -> A's    [X_q^T d + r]
    4  A's      answer         -> P      X_q^T d + r
    5  each P   learn, then contribute -> L  [s_q] and [s_q . d] under B   (with K only the second)
    6  L        ask            -> B's    [X_L^T d + r | sum d^2 + r']
    7  B's      answer         -> L
    8  L        learn          loss; stops where it no longer falls

Who opens sees sums under masks; each party gets its own gradient, L also the loss. Without K, P1 must not get [d_L] or
anyone's [s_q] under B, and L nothing of step 2: the caller sends as above. Remote bytes raise Reject.
Source: Hardy et al. 2017, section 4, and Yang et al. 2019, table 1; see `linear` for what differs.
"""

from dataclasses import dataclass, field

import numpy as np

from p2pfl.crypto import paillier_columns as columns
from p2pfl.crypto import paillier_layer as layer
from p2pfl.crypto.paillier import Encryptor, to_bytes
from p2pfl.crypto.paillier_keys import Entropy, PrivateKey
from p2pfl.errors import ConfigError, Reject
from p2pfl.vertical.linear import Floats, Regression, check_rows, prepared


@dataclass
class Opener:
    """Whoever holds a private key: decrypts masked sums, and nothing else."""

    spec: Regression
    key: PrivateKey

    def answer(self, blob: bytes, num: int) -> bytes:
        """Masked sums of `num` columns, opened."""
        return layer.open_masked(self.key, self.spec.product, blob, (1, num))


@dataclass
class FeatureHolder:
    """Columns without labels. `a` and `b` encrypt under keys A and B (the same with a third party)."""

    spec: Regression
    x: Floats
    a: Encryptor
    b: Encryptor
    entropy: Entropy
    w: Floats = field(default_factory=lambda: np.zeros(0))
    _rows: Floats = field(default_factory=lambda: np.zeros((0, 0)))
    _residual: list[int] = field(default_factory=list)
    _masks: layer.Masks | None = None
    _square: float = 0.0

    def __post_init__(self) -> None:
        self.x = prepared(self.x, self.spec.clip)
        if not len(self.w):
            self.w = np.zeros(self.x.shape[1])

    def begin(self, batch: np.ndarray[tuple[int], np.dtype[np.int64]]) -> None:
        """The rows of the next step, by number."""
        check_rows(len(batch))
        self._rows = self.x[batch]

    def extend(self, blob: bytes) -> bytes:
        """Step 2: [.. + s_q], fresh."""
        column = columns.read_column(self.a.public, blob, len(self._rows))
        more = columns.add_column(self.a, self.spec.product, column, self.spec.score(self._rows, self.w))
        return to_bytes(self.a.public, more)

    def ask(self, blob: bytes) -> bytes:
        """Step 3: the masked sums to be opened, from [d]."""
        self._residual = columns.read_column(self.a.public, blob, len(self._rows))
        asked, self._masks = columns.multiply_columns(
            self.a, self.spec.product, self._residual, self._rows, self.entropy
        )
        return asked

    def score(self) -> bytes:
        """Step 5, without a third party: [s_q] under B."""
        return columns.encrypt_column(self.b, self.spec.product, self.spec.score(self._rows, self.w))

    def learn(self, blob: bytes) -> bytes:
        """Step 5: take the mask off, move the weights; returns [s_q . d] under B, of the weights before the move."""
        sums = _unmasked(self.spec, blob, self._masks, len(self.w))
        self._masks = None
        square = self.spec.slope * float(self.w @ sums)
        self.w = self.spec.step(self.w, sums, len(self._rows))
        return columns.encrypt_sum(self.b, self.spec.product, square)


@dataclass
class LabelHolder:
    """Labels, and columns (with a constant one for the intercept). y is 0 or 1 for logistic regression."""

    spec: Regression
    x: Floats
    y: Floats
    a: Encryptor
    b: Encryptor
    entropy: Entropy
    tolerance: float = 0.0
    w: Floats = field(default_factory=lambda: np.zeros(0))
    losses: list[float] = field(default_factory=list)
    _own: Floats = field(default_factory=lambda: np.zeros(0))
    _rows: Floats = field(default_factory=lambda: np.zeros((0, 0)))
    _masks: layer.Masks | None = None

    def __post_init__(self) -> None:
        self.x = prepared(np.column_stack([self.x, np.ones(len(self.y))]), self.spec.clip)
        if self.spec.kind == "logistic" and not np.isin(self.y, (0.0, 1.0)).all():
            raise ConfigError("expected labels 0 and 1 for logistic regression")
        if not len(self.w):
            self.w = np.zeros(self.x.shape[1])

    def begin(self, batch: np.ndarray[tuple[int], np.dtype[np.int64]]) -> None:
        check_rows(len(batch))
        self._rows = self.x[batch]
        self._own = self.spec.score(self._rows, self.w) - self.spec.target(self.y[batch])

    def start(self) -> bytes:
        """Step 1: [d_L] under A."""
        return columns.encrypt_column(self.a, self.spec.product, self._own)

    def ask(self, residual: bytes, squares: list[bytes]) -> bytes:
        """Step 6 with a third party: from [d], and the [s_q . d] of all feature holders."""
        column = columns.read_column(self.b.public, residual, len(self._rows))
        return self._ask(column, squares)

    def ask_from_scores(self, scores: list[bytes], squares: list[bytes]) -> bytes:
        """Step 6 without: from the [s_q] of all feature holders under B."""
        column = columns.read_column(self.b.public, scores[0], len(self._rows))
        for more in scores[1:]:
            column = columns.add_columns(
                self.b.public, column, columns.read_column(self.b.public, more, len(self._rows))
            )
        return self._ask(columns.add_column(self.b, self.spec.product, column, self._own), squares)

    def learn(self, blob: bytes) -> float:
        """Step 8: move the weights. Returns the mean loss of the batch before the move."""
        sums = _unmasked(self.spec, blob, self._masks, len(self.w) + 1)
        self._masks = None
        rows = len(self._rows)
        loss = self.spec.loss(float(sums[-1]), rows)
        if sums[-1] < -1e-3 * rows:  # a sum of squares, but for rounding
            raise Reject("regression-loss", f"expected a sum of squares, got {sums[-1]:g}")
        self.w = self.spec.step(self.w, sums[:-1], rows)
        self.losses.append(loss)
        return loss

    def converged(self, steps: int) -> bool:
        """Whether the mean loss of the last `steps` fell by less than `tolerance` below that of the `steps` before."""
        if len(self.losses) < 2 * steps:
            return False
        before, last = self.losses[-2 * steps : -steps], self.losses[-steps:]
        return float(np.mean(before)) - float(np.mean(last)) < self.tolerance

    def _ask(self, column: list[int], squares: list[bytes]) -> bytes:
        known = np.column_stack([self._rows, self._own])
        last = [columns.read_column(self.b.public, one, 1)[0] for one in squares]
        asked, self._masks = columns.multiply_columns(self.b, self.spec.product, column, known, self.entropy, last)
        return asked


def _unmasked(spec: Regression, blob: bytes, masks: layer.Masks | None, num: int) -> Floats:
    """X^T d, (num,). Reject what was not asked for."""
    if masks is None:
        raise Reject("regression-answer", "expected no opened sums now: none were asked for")
    product = spec.product
    packed = product.slots.from_bytes(blob, num)
    plain = [v - m for v, m in zip(packed, masks.rows, strict=True)]
    sums: Floats = layer.fractions(product, plain, (1, num))[0]
    return sums
