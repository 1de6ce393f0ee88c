"""A lower bound on epsilon from guesses: whether a promise can be true. Knows counts; knows no model.

A mechanism runs many times, half of them with one unit and half without. Somebody who sees what came out guesses which
it was. If it is (epsilon, delta)-private, then for every rule of guessing  TPR <= e^epsilon FPR + delta  and
1 - FPR <= e^epsilon (1 - TPR) + delta  (Kairouz, Oh, Viswanath 2015). So rates that were seen, with their confidence
bounds (Clopper, Pearson 1934), bound epsilon from below: an accountant, a clip or a sampler that is broken is found out
by one that lies above the claim. Source: Jagielski, Ullman, Oprea 2020; Nasr et al. 2021.
"""

from collections.abc import Sequence
from math import log

CONFIDENCE = 0.95


def epsilon_seen(
    with_unit: Sequence[float], without: Sequence[float], delta: float, confidence: float = CONFIDENCE
) -> float:
    """The epsilon below which the mechanism cannot be, at this confidence; 0 if nothing was learnt.

    Scores are larger where the unit is guessed to be in. The threshold is chosen on the first half of each list and
    judged on the second, so that choosing it costs no confidence.
    """
    half_in, half_out = len(with_unit) // 2, len(without) // 2
    if not (half_in and half_out):
        raise ValueError(f"expected at least two scores each, got {len(with_unit)} and {len(without)}")
    first_in, first_out = with_unit[:half_in], without[:half_out]
    second_in, second_out = with_unit[half_in:], without[half_out:]
    candidates = sorted({*first_in, *first_out})
    best = max(candidates, key=lambda t: _bound(first_in, first_out, t, delta, confidence))
    return _bound(second_in, second_out, best, delta, confidence)


def epsilon_of_means(
    with_unit: Sequence[float], without: Sequence[float], delta: float, confidence: float = CONFIDENCE
) -> float:
    """The same for scores that are normal with equal deviation, as sums with Gaussian noise are: far sharper.

    The distance of the means over the deviation bounds mu of Gaussian differential privacy from below, and epsilon
    follows in closed form (accountant.py). Source: Nasr et al. 2023, section 4.
    """
    from statistics import NormalDist, fmean, variance

    from p2pfl.privacy.accountant import epsilon_at

    pooled = (variance(with_unit) + variance(without)) / 2
    slack = NormalDist().inv_cdf(confidence) * (pooled * (1 / len(with_unit) + 1 / len(without))) ** 0.5
    mu = (fmean(with_unit) - fmean(without) - slack) / pooled**0.5
    return epsilon_at(delta, mu) if mu > 0 else 0.0


def _bound(
    inside: Sequence[float], outside: Sequence[float], threshold: float, delta: float, confidence: float
) -> float:
    hits, false = sum(s >= threshold for s in inside), sum(s >= threshold for s in outside)
    level = 1 - (1 - confidence) / 2  # two rates, each at half the error
    tpr_low, tnr_low = lower(hits, len(inside), level), lower(len(outside) - false, len(outside), level)
    fpr_high, fnr_high = 1 - tnr_low, 1 - tpr_low
    found = [0.0]
    if tpr_low > delta and fpr_high > 0:
        found.append(log((tpr_low - delta) / fpr_high))
    if tnr_low > delta and fnr_high > 0:
        found.append(log((tnr_low - delta) / fnr_high))
    return max(found)


def lower(hits: int, of: int, level: float) -> float:
    """Clopper and Pearson's lower bound of a rate: the p at which `hits` or more of `of` have chance 1 - level."""
    if not hits:
        return 0.0
    from scipy.stats import beta

    return float(beta.ppf(1 - level, hits, of - hits + 1))
