"""How well two lists of numbers agree on who comes first. Pure."""

from collections.abc import Sequence


def spearman(a: Sequence[float], b: Sequence[float]) -> float | None:
    """Spearman's rank correlation, equal values sharing their ranks' mean; None if a list has one value only."""
    if len(a) != len(b):
        raise ValueError(f"expected two lists of one length, got {len(a)} and {len(b)}")
    x, y = _centred(_ranks(a)), _centred(_ranks(b))
    norms = sum(v * v for v in x) * sum(v * v for v in y)
    return sum(v * w for v, w in zip(x, y, strict=True)) / norms**0.5 if norms else None


def shares(values: Sequence[float]) -> list[float]:
    """Each value's part of the sum of those above 0; what is below 0 has no part."""
    kept = [max(value, 0.0) for value in values]
    total = sum(kept)
    return [value / total if total else 0.0 for value in kept]


def _ranks(values: Sequence[float]) -> list[float]:
    ordered = sorted(values)
    return [ordered.index(value) + (ordered.count(value) - 1) / 2 for value in values]


def _centred(values: Sequence[float]) -> list[float]:
    middle = sum(values) / max(len(values), 1)
    return [value - middle for value in values]
