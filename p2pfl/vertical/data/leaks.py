"""What a run's messages gave away, measured by attacking them. Knows arrays and attacks; knows no model and no party.

Labels, from cut gradients, as the feature holder sees them (Li et al. 2022, "Label leakage and protection in two-party
split learning", sections 3.1 and 3.2):
  norm       examples of the rarer class have longer gradients: rank by length
  direction  gradients of one class point one way: rank by the cosine with one positive that the attacker knows, or by
             the first principal direction where it knows none
Both are told as a leak AUC: 0.5 is nothing, 1 everything (an attacker that is wrong all the time is as good as one that
is right). Ranks are taken inside one batch, as the model changes between batches, and averaged over pairs.

Features, from embeddings, as the label holder sees them: it knows the features of a few rows (its own customers told
it), fits embeddings to features on these by ridge regression, and reads all others: the R^2 of each feature there.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from p2pfl.vertical.data.metrics import auc

RIDGE = 1e-3
"""The ridge as a share of the mean variance of the embeddings."""

Floats = NDArray[np.float64]
Labels = NDArray[np.int64]


def norm_attack(gradients: Floats, labels: Labels) -> float:
    """gradients (n, d) of one batch, labels 0 and 1 (n,), both there: the leak AUC."""
    return _either_way(auc(labels, _lengths(gradients)))


def direction_attack(gradients: Floats, labels: Labels, known: int | None = None) -> float:
    """The same by direction. `known`: the row of one positive that the attacker knows, left out of the score."""
    if known is not None:
        rest = np.arange(len(labels)) != known
        if labels[known] != 1:
            raise ValueError(f"expected a positive in row {known}, got label {labels[known]}")
        return _either_way(auc(labels[rest], (_directions(gradients) @ _directions(gradients)[known])[rest]))
    centred = gradients - gradients.mean(axis=0)
    _, _, axes = np.linalg.svd(centred, full_matrices=False)
    return _either_way(auc(labels, centred @ axes[0]))


@dataclass(frozen=True, slots=True)
class LabelLeak:
    """Leak AUCs over all batches in which both classes were there."""

    norm: float
    direction: float
    known_direction: float | None
    batches: int

    @property
    def worst(self) -> float:
        return max(self.norm, self.direction, self.known_direction or 0.0)


@dataclass(slots=True)
class LabelLeakMeter:
    """Collects the attacks' success batch by batch. The label holder runs it on what it is about to send."""

    _sums: list[float] = field(default_factory=lambda: [0.0, 0.0, 0.0])
    _pairs: list[int] = field(default_factory=lambda: [0, 0])
    _batches: int = 0

    def add(self, gradients: Floats, labels: Labels) -> None:
        """gradients (n, d) as sent to one feature holder, labels (n,) 0 and 1."""
        gradients = np.asarray(gradients, np.float64).reshape(len(labels), -1)
        positives = np.flatnonzero(labels == 1)
        pairs = len(positives) * (len(labels) - len(positives))
        if not pairs:
            return
        self._batches += 1
        self._pairs[0] += pairs
        self._sums[0] += pairs * norm_attack(gradients, labels)
        self._sums[1] += pairs * direction_attack(gradients, labels)
        if len(positives) > 1:
            self._pairs[1] += pairs
            self._sums[2] += pairs * direction_attack(gradients, labels, int(positives[0]))

    def report(self) -> LabelLeak | None:
        """None if no batch had both classes."""
        if not self._batches:
            return None
        known = self._sums[2] / self._pairs[1] if self._pairs[1] else None
        return LabelLeak(self._sums[0] / self._pairs[0], self._sums[1] / self._pairs[0], known, self._batches)


@dataclass(frozen=True, slots=True)
class FeatureLeak:
    """R^2 of each feature from the embeddings on rows the attacker does not know, at least 0; `known` rows it knows.

    invertible: the embedding has at least as many numbers as there are features, so a linear bottom whose weights are
    known can be undone.
    """

    r2: tuple[float, ...]
    known: int
    invertible: bool

    @property
    def mean(self) -> float:
        return float(np.mean(self.r2))

    @property
    def worst(self) -> tuple[int, float]:
        """The feature that shows most, and its R^2."""
        place = int(np.argmax(self.r2))
        return place, self.r2[place]


def feature_attack(embeddings: Floats, features: Floats, known: Sequence[int] | NDArray[np.int64]) -> FeatureLeak:
    """embeddings (n, e) as sent, features (n, f): run by their owner, who alone has both. `known` are row numbers."""
    is_known = np.zeros(len(features), bool)
    is_known[np.asarray(known, np.int64)] = True
    if not is_known.any() or is_known.all():
        raise ValueError(f"expected some known rows and some others of {len(features)}, got {int(is_known.sum())}")
    centre, spread = embeddings[is_known].mean(axis=0), float(embeddings[is_known].var(axis=0).mean())
    x, means = embeddings[is_known] - centre, features[is_known].mean(axis=0)
    ridge = (RIDGE * spread * len(x) + np.finfo(np.float64).tiny) * np.eye(x.shape[1])
    weights = np.linalg.lstsq(x.T @ x + ridge, x.T @ (features[is_known] - means), rcond=None)[0]
    rest = features[~is_known]
    missed = np.square(rest - means - (embeddings[~is_known] - centre) @ weights).sum(axis=0)
    total = np.square(rest - rest.mean(axis=0)).sum(axis=0)
    r2 = np.where(total > 0, 1.0 - missed / np.where(total > 0, total, 1.0), 0.0)
    invertible = embeddings.shape[1] >= features.shape[1]
    return FeatureLeak(tuple(float(v) for v in np.clip(r2, 0.0, 1.0)), int(is_known.sum()), invertible)


def _either_way(value: float) -> float:
    return max(value, 1.0 - value)


def _lengths(gradients: Floats) -> Floats:
    lengths: Floats = np.linalg.norm(gradients, axis=1)
    return lengths


def _directions(gradients: Floats) -> Floats:
    """Unit rows; a row of zeros stays."""
    lengths = _lengths(gradients)[:, None]
    found: Floats = gradients / np.where(lengths > 0, lengths, 1.0)
    return found
