"""How the values that a sparse code picks travel: as floats, or quantised in blocks. Knows values, not their places.

The values of one message are a vector of their own: k values in the order of their positions, coded by `fp32`,
`fp16`, `int8` or `int4` with its default block. So the bytes are those of that codec, and so is the error bound.
"""

from typing import Literal

import numpy as np
import torch
from torch import Tensor

from p2pfl.compress.codec import Codec, Packed
from p2pfl.compress.dense import Dense, Half
from p2pfl.compress.int4 import Int4
from p2pfl.compress.int8 import Int8
from p2pfl.compress.vectors import Floats
from p2pfl.core.noise import Key
from p2pfl.core.party import Buffer
from p2pfl.errors import ConfigError

ValueName = Literal["float32", "float16", "int8", "int4"]

VALUES: dict[str, Codec] = {"float32": Dense(), "float16": Half(), "int8": Int8(), "int4": Int4()}
ELEMENTWISE = {"float32", "float16"}
"""Here a value's code depends on that value alone."""

_NO_KEY = Key(bytes(32))
"""None of these codecs draws anything."""


def check_dtype(codec: str, dtype: str) -> None:
    if dtype not in VALUES:
        raise ConfigError(f"{codec}: expected dtype {', '.join(VALUES)}, got {dtype!r}")


def count_bytes(count: int, dtype: str) -> int:
    """Exactly how many bytes `count` values take."""
    return VALUES[dtype].bounds(count).body_bytes if count else 0


def pack_values(values: Floats, dtype: str) -> tuple[bytes, Floats]:
    """Finite values (k,) -> their bytes, and the values (k,) as they arrive."""
    if not values.size:
        return b"", values
    packed, q = VALUES[dtype].encode(torch.from_numpy(values), _NO_KEY)
    return bytes(packed.body), q.numpy()


def unpack_values(raw: Buffer, count: int, dtype: str) -> Floats:
    """The `count` values of `raw`. Raises Reject if `pack_values` cannot have made it."""
    if not count:
        return np.empty(0, np.float32)
    values: Floats = VALUES[dtype].decode(Packed((), raw), count).numpy()
    return values


def project_values(values: Tensor, dtype: str) -> Tensor:
    """Values (k,) as they arrive, as operations that map over a node axis. Zeros behind the last change nothing."""
    return VALUES[dtype].project(values, _NO_KEY)
