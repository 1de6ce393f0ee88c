"""The dead-zone quantiser, the default codec: one power-of-two step a vector, about two bits a value. Knows vectors.

    s = 2^e,  e = min(ceil(log2(c * damp * rms(d))), floor(log2(max|d| / 0.6))),  clipped to -60..60
    k = sign(d) * floor(|d| / s + 0.4),  clipped to -127..127;   q = k * s

Rounding 0.4 up instead of 0.5 widens the zero bin: fewer bytes for nearly the same error. Steps are powers of two so
that k * s is exact and references can add it up in integers. The second term of e makes the largest value of a vector
that is not 0 always heard (k != 0), which c * rms alone does not: equal magnitudes could stay silent for ever.

Laws: |d - q| <= 0.6 s where |d| <= 127.5 s; |d - q| <= |d| everywhere, at most 2/3 |d| at the largest; so
||d - q||^2 <= (1 - 5/(9 n)) ||d||^2 unless e or k was clipped.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from p2pfl.compress.codec import Bounds, Packed, check_packed, int_field
from p2pfl.compress.frames import expand, frame_bound, squeeze
from p2pfl.compress.layouts import Layout, count_codes, pack, unpack
from p2pfl.compress.rows import peaks, rough_rms
from p2pfl.compress.symbols import CODE_MAX, Codes
from p2pfl.compress.vectors import (
    TILE,
    Floats,
    ceil_log2,
    check_damp,
    check_size,
    exp2_int,
    floor_log2,
    not_finite,
    rms_and_peak,
    tiles,
    to_array,
)
from p2pfl.core.noise import Key
from p2pfl.errors import ConfigError, Reject

EXPONENT_MAX = 60
"""Steps from 2^-60 to 2^60: every k * s and every half of a sum of two is a normal float32."""

ROUND_UP = 0.4
SIGN_BIT = np.uint32(1 << 31)
ROUND_UP_BITS = np.float32(ROUND_UP).view(np.uint32)


@dataclass(frozen=True, slots=True)
class DeadZone:
    """`c` is the step in units of the vector's root mean square, before it is rounded up to a power of two."""

    c: float = 1.0

    def __post_init__(self) -> None:
        if not 0.001 <= self.c <= 16.0:
            raise ConfigError(f"deadzone: expected c from 0.001 to 16, got {self.c}")

    def bounds(self, size: int) -> Bounds:
        """Fields: step exponent, layout, codes apart. Body: at most one byte a value, in a zstd frame."""
        return Bounds(3, frame_bound(size))

    def encode(self, v: Tensor, key: Key, damp: float = 1.0) -> tuple[Packed, Tensor]:
        """See `Codec.encode`. Takes no randomness from `key`."""
        check_damp(damp)
        d = to_array(v)
        rms, peak = rms_and_peak(torch.from_numpy(d))
        if not peak.isfinite():
            raise not_finite(d)
        exponent = int(self._exponent(rms, peak, damp))
        k, q = quantise(d, exponent, float(peak))
        counts = count_codes(k)
        layout = counts.choose()
        apart = counts.apart(layout)
        body = squeeze(*(section.data for section in pack(k, layout))) if counts.nonzero else b""
        return Packed((exponent, int(layout), apart), body), torch.from_numpy(q)

    def decode(self, packed: Packed, size: int) -> Tensor:
        """See `Codec.decode`."""
        check_size(size)
        check_packed(packed, self.bounds(size))
        exponent = int_field(packed, 0, -EXPONENT_MAX, EXPONENT_MAX)
        layout = Layout(int_field(packed, 1, 0, len(Layout) - 1))
        apart = int_field(packed, 2, 0, size)
        if layout is Layout.GAPS and not apart:
            if len(packed.body):
                raise Reject("codec", f"expected no body for zeros, got {len(packed.body)} bytes")
            return torch.zeros(size)
        payload = np.frombuffer(expand(packed.body, 1, size), np.uint8)
        return torch.from_numpy(dequantise(unpack(payload, layout, apart, size), exponent))

    def project(self, v: Tensor, key: Key, damp: float = 1.0) -> Tensor:
        """See `Codec.project`."""
        check_damp(damp)
        exponent = self._exponent(*rms_and_peak(v), damp).unsqueeze(-1)
        t = v * exp2_int(-exponent)
        t = t + torch.copysign(torch.tensor(ROUND_UP, dtype=torch.float32, device=v.device), t)
        return (t.clamp(-CODE_MAX, CODE_MAX).trunc() + 0.0) * exp2_int(exponent)

    def project_rows(self, v: Tensor, keys: Sequence[Key], damp: Tensor | float) -> Tensor:
        """See `rows.project_rows`."""
        peak = peaks(v)
        exponent = self._exponents(v, peak, damp).unsqueeze(-1)
        t = v * exp2_int(-exponent)
        t += torch.copysign(torch.tensor(ROUND_UP, dtype=torch.float32, device=v.device), t)
        if not bool((peak * torch.exp2(-exponent.squeeze(-1).double()) < CODE_MAX).all()):
            t.clamp_(-CODE_MAX, CODE_MAX)
        t.trunc_()
        t += 0.0
        t *= exp2_int(exponent)
        return t

    def _exponents(self, v: Tensor, peak: Tensor, damp: Tensor | float) -> Tensor:
        """`_exponent` of each row of v (n, P). A step is a power of two, so a rough root mean square nearly always
        tells which; where it is near the border between two, the exact one does."""
        low, high = rough_rms(v)
        found = self._exponent(low, peak, damp)
        open_ = found != self._exponent(high, peak, damp)
        open_ |= ~(low > 0)
        if bool(open_.any()):
            rows = open_.nonzero().squeeze(-1)
            rms, _ = rms_and_peak(v[rows])
            found[rows] = self._exponent(rms, peak[rows], damp[rows] if isinstance(damp, Tensor) else damp)
        return found

    def _exponent(self, rms: Tensor, peak: Tensor, damp: Tensor | float) -> Tensor:
        wanted = ceil_log2(rms * (self.c * damp))
        heard = floor_log2(peak / (1.0 - ROUND_UP))
        return torch.minimum(wanted, heard).clamp(-EXPONENT_MAX, EXPONENT_MAX)


def quantise(d: Floats, exponent: int, peak: float) -> tuple[Codes, Floats]:
    """Codes k (n,) and values q (n,) of d (n,), max|d| = peak. The same arithmetic as `project`, bit for bit."""
    k, q = np.empty(d.size, np.int8), np.empty(d.size, np.float32)
    inverse, step = np.float32(2.0**-exponent), np.float32(2.0**exponent)
    beyond = peak * 2.0**-exponent > CODE_MAX
    scratch, rounding = np.empty(TILE, np.float32), np.empty(TILE, np.uint32)
    for part in tiles(d.size):
        t, r = scratch[: part.stop - part.start], rounding[: part.stop - part.start]
        with np.errstate(over="ignore"):  # infinite is clipped like every value beyond the range
            np.multiply(d[part], inverse, out=t)
        # r = copysign(0.4, t), by its bits: four times as fast.
        np.bitwise_and(t.view(np.uint32), SIGN_BIT, out=r)
        np.bitwise_or(r, ROUND_UP_BITS, out=r)
        np.add(t, r.view(np.float32), out=t)
        if beyond:
            np.clip(t, -CODE_MAX, CODE_MAX, out=t)
        np.copyto(k[part], t, casting="unsafe")  # towards 0
        np.copyto(t, k[part])
        np.multiply(t, step, out=t)
        np.copyto(q[part], t)  # multiplying straight into main memory takes longer
    return k, q


def dequantise(k: Codes, exponent: int) -> Floats:
    """q = k * 2^exponent (n,), exact."""
    q, step = np.empty(k.size, np.float32), np.float32(2.0**exponent)
    for part in tiles(k.size):
        np.copyto(q[part], k[part])
        np.multiply(q[part], step, out=q[part])
    return q
