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
        """See `Codec.encode`. Ignores `key` and `damp`."""
        flat = to_array(v)
        check_finite(flat)
        q, body = np.empty(flat.size, np.float32), np.empty(flat.size, WIRE_DTYPES[self.dtype])
        for part in tiles(flat.size):
            sent = through(torch.from_numpy(flat[part]), self.dtype).numpy()
            q[part] = sent
            body[part] = sent
        return Packed((), body.view(np.uint8).data), torch.from_numpy(q)

    def decode(self, packed: Packed, size: int) -> Tensor:
        """See `Codec.decode`."""
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
