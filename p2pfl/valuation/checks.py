"""What an evaluator looks at besides an update's value: copies, and size. Knows vectors; knows nobody's name.

Duplicated data is not looked for: the cosine of two updates cannot tell two holders of the same data from a copy of one
by the other, and Shapley values let them share what the data are worth. A claimed number of samples weighs nothing.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

STALE_COSINE = 0.99
"""From here on an update is called a copy of one that was shown in an earlier window."""


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
    """The updates, none longer than the lower quartile of the lengths of those that are not zero, or half their lower
    median if that is more: many who claim next to nothing do not make everybody small.

    How long an update is says little of what it is worth: mostly how far its author's data pull away from where all go,
    and that is farther the fewer they are. In the mean over the nodes these parts cancel. So lengths count only where
    they are short of the usual, and blowing an update up is in vain.
    """
    norms = [float(torch.linalg.vector_norm(update, dtype=torch.float64)) for update in updates]
    known = sorted(norm for norm in norms if norm > 0)
    if not known:
        return list(updates)
    most = max(known[len(known) // 4], known[(len(known) - 1) // 2] / 2)
    return [u if norm <= most else u * (most / norm) for u, norm in zip(updates, norms, strict=True)]
