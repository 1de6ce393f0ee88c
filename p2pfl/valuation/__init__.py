"""What one update among several is worth to a model. Knows games, vectors and digests; knows no node, message or entry.

Public: `estimate` and its estimators (shapley), `Game` (game), what evaluators say together (combine), what is looked
at beside the value (checks, felt), and what a commit hides (opening).
"""

from p2pfl.valuation.checks import cosine, find_copies, is_stale, scaled
from p2pfl.valuation.combine import lower_median, trimmed_mean
from p2pfl.valuation.felt import Account, Sketcher, account_of, is_felt, sketch_of, usual_length
from p2pfl.valuation.game import Game, best_step
from p2pfl.valuation.opening import Opening, digest_of
from p2pfl.valuation.ranks import shares, spearman
from p2pfl.valuation.shapley import EXACT_MAX, Estimate, estimate, estimator_of, exact, gtg, leave_one_out, permutations

__all__ = [
    "EXACT_MAX",
    "Account",
    "Estimate",
    "Game",
    "Opening",
    "Sketcher",
    "account_of",
    "best_step",
    "cosine",
    "digest_of",
    "estimate",
    "estimator_of",
    "exact",
    "find_copies",
    "gtg",
    "is_felt",
    "is_stale",
    "leave_one_out",
    "lower_median",
    "permutations",
    "scaled",
    "shares",
    "sketch_of",
    "spearman",
    "trimmed_mean",
    "usual_length",
]
