"""How fast a graph averages: weights, spectral gap, rounds. Knows numbered nodes only.

One round of gossip with weights W is x' = W x. If W is symmetric and its rows sum to 1, the mean stays, and the
distance to it shrinks at least by rho = max |eigenvalue of W - J|, J = 11'/n (Xiao and Boyd 2004, "Fast linear
iterations for distributed averaging"). The spectral gap is 1 - rho.
"""

from collections.abc import Sequence
from math import ceil, log
from typing import Any, Literal

import numpy as np

Pair = tuple[int, int]
WeightRule = Literal["metropolis-hastings", "max-degree"]

DENSE_MAX = 1024
"""Up to so many nodes all eigenvalues are computed; above, only the extreme ones, by Lanczos."""

ZERO = 1e-9
"""A contraction below this is rounding: the round averages exactly."""


def edge_weights(n: int, pairs: Sequence[Pair], rule: WeightRule) -> list[float]:
    """One weight per edge. Symmetric, and at every node they sum to less than 1.

    metropolis-hastings: 1 / (1 + max(d_i, d_j)), needs to know only neighbours (Xiao, Boyd, Kim 2007);
    max-degree: 1 / (1 + D) on every edge.
    """
    degrees = [0] * n
    for u, v in pairs:
        degrees[u] += 1
        degrees[v] += 1
    if rule == "max-degree":
        return [1 / (1 + max(degrees, default=0))] * len(pairs)
    return [1 / (1 + max(degrees[u], degrees[v])) for u, v in pairs]


def weight_matrix(n: int, pairs: Sequence[Pair], weights: Sequence[float]) -> Any:
    """W (n, n), a scipy sparse array of float64: symmetric, non-negative, rows sum to 1. weights: one per pair."""
    from scipy.sparse import coo_array

    w = np.asarray(weights, dtype=np.float64)
    ends = np.asarray(pairs, dtype=np.intp).reshape(-1, 2)
    own = 1 - np.bincount(ends.ravel(), weights=np.repeat(w, 2), minlength=n)
    rows = np.concatenate([ends[:, 0], ends[:, 1], np.arange(n)])
    columns = np.concatenate([ends[:, 1], ends[:, 0], np.arange(n)])
    return coo_array((np.concatenate([w, w, own]), (rows, columns)), shape=(n, n)).tocsr()


def compute_contraction(matrices: Sequence[Any]) -> float:
    """rho of one pass through `matrices` (each symmetric, rows sum to 1): the largest factor left on any disagreement.

    For several matrices it is the spectral norm of their product less J; it is 0 if the pass averages exactly.
    """
    n = matrices[0].shape[0]
    if n == 1:
        return 0.0
    rho = _dense(matrices, n) if n <= DENSE_MAX else _sparse(matrices, n)
    return 0.0 if rho < ZERO else min(rho, 1.0)


def compute_rounds(contraction: float, period: int, wanted: float) -> int | None:
    """Rounds after which the disagreement is at most `wanted` times the first one; None if it never shrinks."""
    if contraction > 1 - 1e-12:
        return None
    if contraction <= wanted:
        return period
    return period * ceil(log(wanted) / log(contraction))


def _dense(matrices: Sequence[Any], n: int) -> float:
    if len(matrices) == 1:
        values = np.linalg.eigvalsh(matrices[0].toarray() - 1 / n)
        return float(max(-values[0], values[-1]))
    product = np.eye(n)
    for matrix in matrices:
        product = matrix @ product
    return float(np.linalg.norm(product - 1 / n, 2))


def _sparse(matrices: Sequence[Any], n: int) -> float:
    from scipy.sparse.linalg import ArpackNoConvergence, LinearOperator, eigsh

    passes = [*matrices, *reversed(matrices)] if len(matrices) > 1 else list(matrices)

    def apply(x: Any) -> Any:
        y = x - x.mean()
        for matrix in passes:
            y = matrix @ y
        return y - y.mean()

    start = np.cos(np.arange(n, dtype=np.float64) ** 2)  # fixed, and in no eigenvector's null space
    if np.linalg.norm(apply(start)) < ZERO**2 * n:
        return 0.0
    operator = LinearOperator((n, n), matvec=apply, dtype=np.float64)
    try:
        value = float(abs(eigsh(operator, k=1, which="LM", v0=start, maxiter=300, return_eigenvectors=False)[0]))
    except ArpackNoConvergence:
        if len(matrices) > 1:
            return _dense(matrices, n)
        value = _near_one(matrices[0], start)
    return value**0.5 if len(matrices) > 1 else value


def _near_one(matrix: Any, start: Any) -> float:
    """The second largest eigenvalue when many crowd below 1. Such graphs have small cuts, so factorising is cheap."""
    from scipy.sparse import eye_array
    from scipy.sparse.linalg import eigsh

    laplacian = (eye_array(matrix.shape[0]) - matrix).tocsc()
    values = eigsh(laplacian, k=2, sigma=-1e-7, which="LM", v0=start, return_eigenvectors=False)
    return 1 - float(max(values))
