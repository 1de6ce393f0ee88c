"""Every value, as float32 or float16. Knows no entropy: floats of a model do not compress (4 to 15 % at best)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from p2pfl.compress.codec import Bounds, Packed, check_length
from p2pfl.compress.vectors import FLOAT16_MAX, check_finite, check_size, tiles, to_array
from p2pfl.core.noise import Key
from p2pfl.errors import ConfigError, Reject

FloatName = Literal["float32", "float16"]
WIRE_DTYPES: dict[str, np.dtype[np.floating]] = {"float32": np.dtype("<f4"), "float16": np.dtype("<f2")}

NATIVE = np.dtype(np.float32) == WIRE_DTYPES["float32"]
"""Whether a float32 lies in memory as on the wire."""


def check_dtype(codec: str, dtype: str) -> None:
    if dtype not in WIRE_DTYPES:
        raise ConfigError(f"{codec}: expected dtype float32 or float16, got {dtype!r}")


def through(v: Tensor, dtype: str) -> Tensor:
    """v as it arrives: unchanged for float32, else to the nearest float16, largest magnitude 65504. Zeros become +0."""
    if dtype == "float32":
        return v + 0.0
    return v.clamp(-FLOAT16_MAX, FLOAT16_MAX).half().float() + 0.0


@dataclass(frozen=True, slots=True)
class Dense:
    """All values. Lossless for float32; |v - q| <= max(2^-11 |v|, 2^-25) for float16 within +-65504."""

    dtype: FloatName = "float32"

    def __post_init__(self) -> None:
        check_dtype("dense", self.dtype)

    @property
    def lossless(self) -> bool:
        """Whether q is always v."""
        return self.dtype == "float32"

    def bounds(self, size: int) -> Bounds:
        """No fields; the body is the values, little-endian."""
        return Bounds(0, size * WIRE_DTYPES[self.dtype].itemsize)

    def encode(self, v: Tensor, key: Key, damp: float = 1.0) -> tuple[Packed, Tensor]:
        """See `Codec.encode`. Ignores `key` and `damp`. q and the body may be the same memory."""
        flat = to_array(v)
        check_finite(flat)
        q = np.empty(flat.size, np.float32)
        body = q if self.dtype == "float32" and NATIVE else np.empty(flat.size, WIRE_DTYPES[self.dtype])
        for part in tiles(flat.size):
            if body is q:
                np.add(flat[part], 0.0, out=q[part])
                continue
            q[part] = through(torch.from_numpy(flat[part]), self.dtype).numpy()
            body[part] = q[part]
        return Packed((), body.view(np.uint8).data), torch.from_numpy(q)

    def decode(self, packed: Packed, size: int) -> Tensor:
        """See `Codec.decode`. A copy: the body is the host's again once it is answered (core/party.py)."""
        check_size(size)
        check_length(packed, self.bounds(size))
        values = np.frombuffer(packed.body, WIRE_DTYPES[self.dtype])
        try:
            q = values.astype(np.float32)
            check_finite(q)
        except ValueError as error:
            raise Reject("codec", str(error)) from None
        return torch.from_numpy(q)

    def project(self, v: Tensor, key: Key, damp: float = 1.0) -> Tensor:
        """See `Codec.project`."""
        return through(v, self.dtype)

    def project_rows(self, v: Tensor, keys: Sequence[Key], damp: Tensor) -> Tensor:
        """See `rows.project_rows`."""
        return through(v, self.dtype)


@dataclass(frozen=True, slots=True)
class Half(Dense):
    """`Dense` with two bytes a value."""

    dtype: FloatName = "float16"
