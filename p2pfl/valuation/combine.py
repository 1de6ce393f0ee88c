"""One number out of what several evaluators say, some of whom may lie. Pure, in whole numbers; knows no evaluator."""

from collections.abc import Sequence

from p2pfl.ledger.outcome.scores import lower_median

__all__ = ["lower_median", "trimmed_mean"]


def trimmed_mean(values: Sequence[int], share: int = 3) -> int:
    """The mean, rounded down, without the smallest and the largest 1 / share of the values.

    For comparison (bench/incentives.py): beyond that share of liars it follows them, where the median does not.
    """
    if not values:
        raise ValueError("expected at least one value")
    cut = (len(values) - 1) // share
    kept = sorted(values)[cut : len(values) - cut]
    return sum(kept) // len(kept)
