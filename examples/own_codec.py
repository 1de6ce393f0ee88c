"""A codec of one's own: one byte a value, as a float with 4 bits of exponent and 3 of mantissa (e4m3), and one power of
two for the whole vector, so that its largest value uses the range.

    [compress]
    codec = "own_codec.py:Byte"
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from p2pfl.compress import Bounds, Packed
from p2pfl.core.noise import Key
from p2pfl.errors import Reject

LARGEST = 448.0  # of e4m3
EXPONENTS = (-120, 120)


@dataclass(frozen=True)
class Byte:
    """Fields of the class would be its parameters, other keys of [compress]."""

    def bounds(self, size: int) -> Bounds:
        """What an honest encoder may need at most. A receiver refuses more before it allocates anything."""
        return Bounds(num_fields=1, body_bytes=size)

    def encode(self, v: Tensor, key: Key, damp: float = 1.0) -> tuple[Packed, Tensor]:
        """v (n,) float32 -> what travels, and q (n,), exactly as `decode` gives it."""
        v = v.detach().float()
        if not bool(v.isfinite().all()):
            raise ValueError("expected finite values only")
        exponent = self._exponent(v)
        codes = self._codes(v, exponent)
        body = codes.view(torch.uint8).numpy().tobytes()
        return Packed((int(exponent),), body), self._values(codes, exponent)

    def decode(self, packed: Packed, size: int) -> Tensor:
        """What a stranger sent is either a vector or a Reject, never another error and never a NaN."""
        if len(packed.fields) != 1 or len(packed.body) != size:
            raise Reject("codec", f"expected 1 field and {size} bytes, got {len(packed.fields)}, {len(packed.body)}")
        exponent = packed.fields[0]
        if type(exponent) is not int or not EXPONENTS[0] <= exponent <= EXPONENTS[1]:
            raise Reject("codec", "expected an integer from -120 to 120 as the exponent")
        raw = np.frombuffer(packed.body, np.uint8)
        if (raw & 0x7F == 0x7F).any():
            raise Reject("codec", "a value that is not a number")
        return self._values(torch.from_numpy(raw.copy()).view(torch.float8_e4m3fn), torch.tensor(exponent))

    def project(self, v: Tensor, key: Key, damp: float = 1.0) -> Tensor:
        """encode's q alone, bit for bit, without shapes that depend on values: simulators map it over all nodes."""
        exponent = self._exponent(v)
        return self._values(self._codes(v, exponent), exponent)

    def _exponent(self, v: Tensor) -> Tensor:
        # frexp is exact; a logarithm could round to the other side on another machine.
        return torch.frexp(v.abs().amax(-1) / LARGEST).exponent.clamp(*EXPONENTS)

    def _codes(self, v: Tensor, exponent: Tensor) -> Tensor:
        return (v.double() * _power(-exponent)).float().clamp(-LARGEST, LARGEST).to(torch.float8_e4m3fn)

    def _values(self, codes: Tensor, exponent: Tensor) -> Tensor:
        largest = torch.finfo(torch.float32).max
        return (codes.double() * _power(exponent)).clamp(-largest, largest).float() + 0.0  # -0 becomes 0


def _power(exponent: Tensor) -> Tensor:
    """2^exponent in float64, exact."""
    return torch.ldexp(torch.ones((), dtype=torch.float64), exponent)
