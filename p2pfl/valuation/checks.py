"""What an evaluator looks at besides an update's value: copies, and size. Knows vectors; knows nobody's name.

Duplicated data is not looked for: the cosine of two updates cannot tell two holders of the same data from a copy of one
by the other, and Shapley values let them share what the data are worth. A claimed number of samples weighs nothing.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

STALE_COSINE = 0.99
"""From here on an update is called a copy of one that was shown in an earlier window."""
NORM_FACTOR = 4.0
"""An update longer than so many times the usual one is scaled down to that before it is valued."""


def cosine(a: Tensor, b: Tensor) -> float:
    """Of two vectors (P,); 0 if one is zero."""
    a, b = a.to(torch.float64), b.to(torch.float64)
    norms = float(torch.linalg.vector_norm(a) * torch.linalg.vector_norm(b))
    return float(torch.dot(a, b)) / norms if norms > 0 else 0.0


def find_copies(updates: Sequence[Tensor], order: Sequence[int]) -> set[int]:
    """Indices of updates that equal another, up to a factor, whose commit was final earlier.

    `order`: positions of the commits in the log. Zero updates are no copies: they are worth what they are worth.
    """
    found = set()
    for index, update in enumerate(updates):
        earlier = [other for other in range(len(updates)) if order[other] < order[index]]
        if any(cosine(update, updates[other]) > STALE_COSINE for other in earlier):
            found.add(index)
    return found


def is_stale(update: Tensor, earlier: Sequence[Tensor]) -> bool:
    """Whether it is close to one of the updates that others showed in earlier windows."""
    return any(cosine(update, known) > STALE_COSINE for known in earlier)


def scaled(updates: Sequence[Tensor]) -> list[Tensor]:
    """The updates, none longer than NORM_FACTOR times the lower median length of those that are not zero.

    So an update that was blown up counts as one that was not, and cannot make everybody else's look small.
    """
    norms = [float(torch.linalg.vector_norm(update, dtype=torch.float64)) for update in updates]
    known = sorted(norm for norm in norms if norm > 0)
    if not known:
        return list(updates)
    most = NORM_FACTOR * known[(len(known) - 1) // 2]
    return [u if norm <= most else u * (most / norm) for u, norm in zip(updates, norms, strict=True)]
