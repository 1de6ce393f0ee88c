"""How good predictions are, alike for central, joined and federated runs. Knows arrays; no model and no party.

Legend: n samples, C classes. Labels are 0 and 1 (n,), or class numbers for probabilities (n, C). Exact: ties count half
in AUC (Mann and Whitney 1947), and all are float64.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray

EPS = float(np.finfo(np.float64).eps)
"""Probabilities are kept this far from 0 and 1 in the log loss."""

Floats = NDArray[np.float64]
Labels = NDArray[np.int64]


def auc(labels: ArrayLike, scores: ArrayLike) -> float:
    """The chance that a random positive scores above a random negative. ValueError unless both are there."""
    y, s = _binary(labels, scores)
    positives = int(y.sum())
    ranks = _ranks(s)
    wins = float(ranks[y == 1].sum()) - positives * (positives + 1) / 2
    return wins / (positives * (len(y) - positives))


def ks(labels: ArrayLike, scores: ArrayLike) -> float:
    """Kolmogorov and Smirnov's distance between the scores of the positives and of the negatives: max |TPR - FPR|."""
    y, s = _binary(labels, scores)
    order = np.argsort(s, kind="stable")
    ends = np.flatnonzero(np.append(np.diff(s[order]) > 0, True))  # where a group of equal scores ends
    positives = np.cumsum(y[order])[ends]
    negatives = (ends + 1) - positives
    return float(np.abs(positives / positives[-1] - negatives / negatives[-1]).max())


def log_loss(labels: ArrayLike, probabilities: ArrayLike) -> float:
    """Mean of -log of the probability given to what was true. Probabilities (n,) of class 1, or (n, C)."""
    y, p = _labels(labels), _finite(probabilities)
    _check_lengths(y, p)
    if p.ndim == 1:
        p = np.stack([1.0 - p, p], axis=1)
    if y.max() >= p.shape[1]:
        raise ValueError(f"expected labels below {p.shape[1]}, got {y.max()}")
    true = p[np.arange(len(y)), y]
    return float(-np.log(np.clip(true, EPS, 1.0 - EPS)).mean())


def accuracy(labels: ArrayLike, probabilities: ArrayLike, threshold: float = 0.5) -> float:
    """The share of right decisions: above the threshold is 1; of C classes the likeliest, the first of equals."""
    y, p = _labels(labels), _finite(probabilities)
    _check_lengths(y, p)
    decided = p.argmax(axis=1) if p.ndim == 2 else p > threshold
    return float((decided == y).mean())


def rmse(targets: ArrayLike, predictions: ArrayLike) -> float:
    """The root of the mean squared error."""
    t, p = _finite(targets), _finite(predictions)
    _check_lengths(t, p)
    if t.shape != p.shape:
        raise ValueError(f"expected predictions of shape {t.shape}, got {p.shape}")
    return float(np.sqrt(np.square(t - p).mean()))


BINARY: dict[str, Callable[[ArrayLike, ArrayLike], float]] = {
    "auc": auc,
    "ks": ks,
    "log_loss": log_loss,
    "accuracy": accuracy,
}


def binary_metrics(labels: ArrayLike, probabilities: ArrayLike) -> dict[str, float | None]:
    """All of a two-class problem, by name; None for those that need both classes where only one is there."""
    both = len(np.unique(_labels(labels))) == 2
    return {name: f(labels, probabilities) if both or f not in (auc, ks) else None for name, f in BINARY.items()}


def class_metrics(labels: ArrayLike, probabilities: ArrayLike) -> dict[str, float | None]:
    """Those of C classes, by name. Probabilities (n, C)."""
    return {"log_loss": log_loss(labels, probabilities), "accuracy": accuracy(labels, probabilities)}


def number_metrics(targets: ArrayLike, predictions: ArrayLike) -> dict[str, float | None]:
    """Those of a regression, by name."""
    return {"rmse": rmse(targets, predictions)}


def _ranks(values: Floats) -> Floats:
    """1 for the smallest; equal values share the mean of their ranks."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    mean: Floats = (last - (counts - 1) / 2)[inverse]
    return mean


def _binary(labels: ArrayLike, scores: ArrayLike) -> tuple[Labels, Floats]:
    y, s = _labels(labels), _finite(scores)
    _check_lengths(y, s)
    if s.ndim != 1 or not set(np.unique(y)) == {0, 1}:
        raise ValueError(f"expected one score a sample and labels 0 and 1, both there, got {np.unique(y)[:4].tolist()}")
    return y, s


def _labels(labels: ArrayLike) -> Labels:
    raw = np.asarray(labels)
    y = raw.astype(np.int64)
    if y.ndim != 1 or not len(y) or (y != raw).any() or y.min() < 0:
        raise ValueError("expected class numbers, one a sample and at least one")
    return y


def _finite(values: ArrayLike) -> Floats:
    found = np.asarray(values, np.float64)
    if found.ndim not in (1, 2) or not len(found) or not np.isfinite(found).all():
        raise ValueError("expected finite numbers, at least one")
    return found


def _check_lengths(y: NDArray[np.generic], p: NDArray[np.generic]) -> None:
    if len(y) != len(p):
        raise ValueError(f"expected as many predictions as samples, got {len(p)} and {len(y)}")
