"""Many fractions in one integer: fixed point, slots, masks. Knows numbers of 64 bits and slots; knows no cipher.

A fraction x is the integer round(x 2^f), f public and fixed, so no exponent tells how large a value is. A slot is 64 to
96 bits of an integer; slot k holds a signed v_k as v_k 2^(k bits), so sums and known multiples of packed integers
are those of every slot, as long as none leaves its slot. Bounds are checked before anything is encrypted: nothing
overflows. A mask is uniform in 2^(b + 40) for values below 2^b: what comes out is within 2^-40 (statistical distance)
of the same for every value.

Legend: N values, P packed integers of S slots each, P = ceil(N / S); unused slots are zero.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from p2pfl.crypto.paillier_numbers import big_from_bytes
from p2pfl.errors import ConfigError, Reject

SECURITY_BITS = 40
"""A masked value is within 2^-40 of uniform."""

MASK_ROOM_BITS = 2
"""Above the mask: a masked slot is below 2^(bits + 40) + 2^(bits + 2), and a slot holds less than half of its range."""

SLOT_BITS = (64, 72, 80, 88, 96)

_VALUE_BITS = 62  # of what comes out of a slot


@dataclass(frozen=True, slots=True)
class Fixed:
    """Fixed point: `bits` binary places, for values within [-bound, bound]."""

    bits: int
    bound: float

    def __post_init__(self) -> None:
        if not 0 <= self.bits <= 52 or not 0 < self.bound * 2.0**self.bits <= 2.0**52:
            raise ConfigError(f"expected a fixed point of 52 bits at most, got {self.bits} bits for {self.bound}")

    @property
    def magnitude_bits(self) -> int:
        """The encoded are at most 2^this."""
        return int(np.ceil(np.log2(self.bound * 2.0**self.bits)))

    def encode(self, values: ArrayLike, what: str = "values") -> NDArray[np.int64]:
        """Nearest. Raises ConfigError, naming the bound, if one is larger or not finite."""
        given = np.asarray(values, np.float64)
        largest = float(np.abs(given).max(initial=0.0))
        if not largest <= self.bound:  # also if not a number
            raise ConfigError(
                f"expected {what} within {self.bound:g} of 0 (what encryption has room for), got {largest:g}"
            )
        return np.rint(given * 2.0**self.bits).astype(np.int64)

    def clip(self, values: ArrayLike) -> NDArray[np.float64]:
        """The nearest values that can be encoded. A value that is not a number stays one."""
        return np.clip(np.asarray(values, np.float64), -self.bound, self.bound)


def decode(values: NDArray[np.int64], bits: int) -> NDArray[np.float64]:
    """Fractions of `bits` binary places."""
    return np.ldexp(values.astype(np.float64), -bits)


@dataclass(frozen=True, slots=True)
class Slots:
    """Slots of `width` bits, whole bytes, in integers below n/2, n of `key_bits` bits. Raises ConfigError."""

    width: int
    key_bits: int

    def __post_init__(self) -> None:
        if self.width not in SLOT_BITS:
            raise ConfigError(f"expected slots of {', '.join(map(str, SLOT_BITS))} bits, got {self.width}")

    @property
    def count(self) -> int:
        """S: 31, 23 or 21 slots of 64, 88 or 96 bits at 2048 bits; 47, 34 or 31 at 3072."""
        return (self.key_bits - 2) // self.width

    def packed(self, num: int) -> int:
        """P for N values."""
        return -(-num // self.count)

    def pack(self, values: NDArray[np.int64]) -> list[int]:
        """(N,) values below 2^62 as P integers."""
        rows = np.zeros((self.packed(len(values)), self.count), np.int64)
        rows.reshape(-1)[: len(values)] = values
        if np.abs(rows).max(initial=0) >> _VALUE_BITS:
            raise ValueError(f"expected values below 2^{_VALUE_BITS} to pack")
        return [_number(row) - self._bias() for row in self._biased(rows)]

    def unpack(self, packed: Sequence[int], num: int, bits: int = _VALUE_BITS) -> NDArray[np.int64]:
        """(N,) values below 2^bits, bits <= 62. Reject if one is larger: it was not made by the rules."""
        if len(packed) != self.packed(num):
            raise ValueError(f"expected {self.packed(num)} packed integers for {num} values, got {len(packed)}")
        size, bias = self.count * self.width // 8, self._bias()
        biased = [v + bias for v in packed]
        if any(b < 0 or b.bit_length() > 8 * size for b in biased):
            raise Reject("packing-range", "expected packed values of the agreed width, got a larger integer")
        blob = b"".join(int(b).to_bytes(size, "little") for b in biased)
        values = self._values(blob)
        high = values >> bits  # 0 or -1 where |value| <= 2^bits
        if values[num:].any() or not bool(((high == 0) | (high == -1)).all()):
            raise Reject("packing-range", f"expected {num} values below 2^{bits}, got a larger one or more of them")
        return values[:num]

    def masks(self, num: int, bits: int, entropy: Callable[[int], bytes]) -> list[int]:
        """P integers that hide values below 2^bits in every slot, used or not, and keep what they hide positive.

        Each slot is uniform in [2^(bits + 1), 2^(bits + 1) + 2^(bits + 40)), and with what it hides stays in its slot.
        """
        hidden = bits + SECURITY_BITS
        if hidden + MASK_ROOM_BITS > self.width:
            raise ConfigError(
                f"expected {self.width - SECURITY_BITS - MASK_ROOM_BITS} bits at most to mask, got {bits}"
            )
        start = _number(self._repeated(1 << (bits + 1)))
        keep = _number(self._repeated((1 << hidden) - 1))
        size = self.count * self.width // 8
        return [start + (big_from_bytes(entropy(size), "little") & keep) for _ in range(self.packed(num))]

    def to_bytes(self, packed: Sequence[int]) -> bytes:
        """Masked integers as they travel: none is negative."""
        return b"".join(int(v).to_bytes(self.key_bits // 8, "big") for v in packed)

    def from_bytes(self, blob: bytes, num: int) -> list[int]:
        """The P integers of N values. Reject another number of bytes."""
        size = self.key_bits // 8
        if len(blob) != size * self.packed(num):
            raise Reject("packing-size", f"expected {self.packed(num)} integers of {size} bytes, got {len(blob)} bytes")
        return [big_from_bytes(blob[at : at + size], "big") for at in range(0, len(blob), size)]

    def _bias(self) -> int:
        """Half a slot in every slot: with it no digit is negative and nothing is borrowed."""
        return _number(self._repeated(1 << (self.width - 1)))

    def _repeated(self, digit: int) -> bytes:
        return digit.to_bytes(self.width // 8, "little") * self.count

    def _biased(self, rows: NDArray[np.int64]) -> list[bytes]:
        """Little-endian digits of v + 2^(width - 1): its low 64 bits are those of v, if the slot is wider than they."""
        if self.width == 64:
            return [row.tobytes() for row in rows.view(np.uint64) ^ np.uint64(1 << 63)]
        words = np.empty((*rows.shape, 3), "<u4")
        words[..., :2] = np.ascontiguousarray(rows).view("<u4").reshape(*rows.shape, 2)
        words[..., 2] = self._high(rows)
        return [row.tobytes() for row in words.view(np.uint8)[..., : self.width // 8]]

    def _values(self, blob: bytes) -> NDArray[np.int64]:
        """All slots of biased integers. Reject what a wide slot holds and 64 bits do not."""
        if self.width == 64:
            return (np.frombuffer(blob, "<u8") ^ np.uint64(1 << 63)).view(np.int64)
        digits = np.frombuffer(blob, np.uint8).reshape(-1, self.width // 8)
        words = np.pad(digits, ((0, 0), (0, 12 - self.width // 8))).view("<u4")
        values = np.ascontiguousarray(words[:, :2]).view("<i8").reshape(-1).astype(np.int64)
        if not bool((words[:, 2] == self._high(values)).all()):
            raise Reject("packing-range", "expected values below 2^63 in every slot, got a larger one")
        return values

    def _high(self, values: NDArray[np.int64]) -> NDArray[np.int64]:
        """What stands above the low 64 bits of a biased slot."""
        half = 1 << (self.width - 65)
        return np.where(values < 0, half - 1, half)


def _number(digits: bytes) -> int:
    return big_from_bytes(digits, "little")
