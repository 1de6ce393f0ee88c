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


NO_KEY = Key(bytes(32))
