"""What many nodes' codes would be decoded to, at once. Knows no codec.

A codec may offer `project_rows(v, keys, damp)` beside `project`: the same over a leading node axis, bit for bit.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from p2pfl.compress.codec import Codec
from p2pfl.core.noise import Key


def project_rows(codec: Codec, v: Tensor, keys: Sequence[Key], damp: Tensor) -> Tensor:
    """v (n, P) float32, a key and a damp (n,) float64 for each row -> q (n, P)."""
    at_once: Any = getattr(codec, "project_rows", None)
    if at_once is not None:
        found: Tensor = at_once(v, keys, damp)
        return found
    each = zip(v, keys, damp.tolist(), strict=True)
    return torch.stack([codec.project(row, key, share) for row, key, share in each])


def mapped(codec: Codec, v: Tensor) -> Tensor:
    """`project_rows` of a codec that asks for no key and heeds no damp."""
    found: Tensor = torch.func.vmap(lambda row: codec.project(row, NO_KEY))(v)
    return found


ROUGH_MIN, ROUGH_MAX = 2.0**-40, 2.0**40
ROUGH_SLACK = 0.005
"""Root mean squares, and errors of them, that `rough_rms` speaks for."""

NO_KEY = Key(bytes(32))


def peaks(v: Tensor) -> Tensor:
    """max|v| of each row of v (n, P), float64 (n,)."""
    return torch.maximum(v.amax(-1), -v.amin(-1)).double()


def rough_rms(v: Tensor) -> tuple[Tensor, Tensor]:
    """Bounds, float64 (n,), of the root mean square of each row of v (n, P) float32: within 1 % of each other, in the
    time of one pass. Zeros where that cannot be promised.

    A sum of P squares in float32, in whatever order, is within about P 2^-24 of the exact one (Higham 2002, section
    4.2), its root within half of that; what squares lose by underflow is nothing beside it above `ROUGH_MIN`.
    """
    size = v.shape[-1]
    slack = size * 2.0**-24
    rough = torch.linalg.vector_norm(v, dim=-1).double() / size**0.5
    sure = (rough > ROUGH_MIN) & (rough < ROUGH_MAX) & (slack < ROUGH_SLACK)
    rough = torch.where(sure, rough, 0.0)
    return rough * (1 - slack), rough * (1 + slack)
