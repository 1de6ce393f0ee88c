"""Whether a node's neighbours felt the work that it claims. Knows vectors and sketches of them; no node, no message.

Let u be the local work that a node claims for a window, and M what its neighbours did to its model meanwhile: what
their exchanges moved it by, and the drift correction that they had it take off. Together they are the way the model
went, c = u + M. Who works on data of its own pulls, and is held back: with u = c + e, where e is what its data want
beyond where all go, M = -e and <u, M> = -|e|^2 - <c, e>. So M is short, or points against u. Who trains nothing is only
moved: if it claims that as its work, M points along u. Who sends its neighbours something else than its work is held
back against that, and M has nothing to do with u.

Each neighbour knows its part of M, as an exchange moves both ends by opposite vectors and changes their drift
corrections by opposite ones. It says it as a CountSketch (Charikar, Chen, Farach-Colton 2002), which is linear: the sum
of the parts' sketches is a sketch of the sum. Key of the sketch is the seed of the draw, which nobody knew when u was
committed to: for a given key many vectors have the sketch that one wants.

No neighbour's word counts more than the usual one's: of the parts none is longer than twice the lower median.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from blake3 import blake3
from numpy.typing import NDArray
from torch import Tensor

from p2pfl.valuation.checks import cosine

BUCKETS = 128
"""An angle between two sketches strays by 1 / sqrt(BUCKETS) = 0.09 (standard deviation, of orthogonal vectors)."""
PARTS_MIN = 2
"""Of fewer neighbours nothing follows."""
PART_FACTOR = 2.0
AGAINST = -0.2
"""Cosine of u and M. Whoever worked had -0.33 at most in trials, free-riders and wire-cheats -0.1 at least."""
SHORT, ALONG = 0.3, 0.3
"""Of an M that is shorter than this part of u only the other sign tells: data that all have alike pull nobody away."""
DOUBT = 0.5
"""Of a usual part: what a neighbour that says nothing may have done."""
NOTHING = 1e-3
"""Of the usual length: who claims less claims nothing."""
SCALE_MIN, SCALE_MAX = 1e-30, 1e30
"""A sketch beyond these is sent as nothing."""
DOMAIN = b"p2pfl/felt/v1\0"


class Account(NamedTuple):
    """A sketch as it is sent: values[i] * scale, signed bytes."""

    scale: float
    values: bytes


class Sketcher:
    """CountSketches of vectors (P,) under one key.

    Byte i of BLAKE3's stream over the key: its low seven bits are the bucket of x[i], the highest its sign.
    """

    def __init__(self, key: bytes, size: int) -> None:
        drawn = np.frombuffer(blake3(DOMAIN + key).digest(length=size), np.uint8)
        self._buckets: NDArray[np.intp] = (drawn & (BUCKETS - 1)).astype(np.intp)
        self._signs = 1.0 - 2.0 * (drawn >> 7)

    def __call__(self, x: Tensor) -> Tensor:
        """(BUCKETS,) float64."""
        values = x.detach().to("cpu", torch.float64).numpy() * self._signs
        return torch.from_numpy(np.bincount(self._buckets, values, BUCKETS))


def account_of(sketch: Tensor) -> Account:
    """Rounded to 127 steps of its largest value."""
    scale = float(sketch.abs().max()) / 127
    if not SCALE_MIN < scale < SCALE_MAX:
        return Account(0.0, bytes(BUCKETS))
    return Account(scale, (sketch / scale).round().to(torch.int8).numpy().tobytes())


def sketch_of(account: Account) -> Tensor:
    """(BUCKETS,) float64."""
    return torch.from_numpy(np.frombuffer(account.values, np.int8).astype(np.float64)) * account.scale


def together(parts: Sequence[Tensor]) -> Tensor:
    """The sum of what neighbours say, none longer than twice the lower median of those that say anything."""
    norms = [float(torch.linalg.vector_norm(part)) for part in parts]
    known = sorted(norm for norm in norms if norm > 0)
    if not known:
        return torch.zeros(BUCKETS, dtype=torch.float64)
    most = PART_FACTOR * known[(len(known) - 1) // 2]
    held = [part * min(1.0, most / norm) for part, norm in zip(parts, norms, strict=True) if norm > 0]
    return torch.stack(held).sum(0)


def is_felt(update: Tensor, parts: Sequence[Tensor], usual: float, missing: int = 0) -> bool:
    """Whether neighbours had to hold back what is claimed. update: its sketch; usual: length of a window's work;
    missing: neighbours that said nothing.

    True also if nothing follows from what is known. Much of what neighbours do cancels in their sum, so one that is
    missing may have turned it: by half of a usual part, in whatever direction is best for the claim.
    """
    if len(parts) < PARTS_MIN:
        return True
    length, against = float(torch.linalg.vector_norm(update)), together(parts)
    if length <= NOTHING * usual:
        return True
    size, unknown = float(torch.linalg.vector_norm(against)), DOUBT * missing**0.5 * usual_length(parts)
    limit = ALONG if size < SHORT * length else AGAINST
    return bool((cosine(update, against) - limit) * size <= unknown)


def usual_length(updates: Iterable[Tensor]) -> float:
    """The lower median of the lengths of those that are not zero; 0 if all are."""
    known = sorted(norm for u in updates if (norm := float(torch.linalg.vector_norm(u, dtype=torch.float64))) > 0)
    return known[(len(known) - 1) // 2] if known else 0.0
