"""Powers modulo a number, many at a time: of one base, or products over many bases. Knows numbers; no scheme.

`FixedBase` spends memory once to make each later power a product (Brickell, Gordon, McCurley, Wilson 1992).
`products_of_powers` shares work between the factors of a product and between the products:
  Straus 1964    a table of small powers of each base, shared by all products: few bases, many products.
  Pippenger 1976 bases of equal digit are multiplied first: many bases, few products.
Which is cheaper is counted beforehand, in multiplications.

Legend: d bases, O products; exponents are an (d, O) array of signed numbers below 2^62.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from p2pfl.crypto.paillier_numbers import big, invert, powmod

MAX_EXPONENT_BITS = 62


class FixedBase:
    """Powers of one base modulo one number, with exponents of a fixed number of bytes: one multiplication a byte.

    Memory: 256 numbers of the modulus' size for each byte of exponent (17 MB for 128 bytes modulo 4096 bits).
    """

    def __init__(self, base: int, modulus: int, exponent_bytes: int) -> None:
        self.exponent_bytes = exponent_bytes
        self._modulus = big(modulus)
        self._rows = []
        step = big(base) % self._modulus
        for _ in range(exponent_bytes):
            row = [big(1)]
            for _ in range(255):
                row.append(row[-1] * step % self._modulus)
            self._rows.append(row)
            step = row[-1] * step % self._modulus

    def power(self, exponent: bytes) -> int:
        """base^exponent; the exponent is `exponent_bytes` long, little-endian."""
        modulus = self._modulus
        result = self._rows[0][exponent[0]]
        for row, digit in zip(self._rows[1:], exponent[1:], strict=True):
            result = result * row[digit] % modulus
        return result


def products_of_powers(bases: Sequence[int], exponents: NDArray[np.int64], modulus: int) -> list[int]:
    """[prod_j bases_j^exponents_jo mod modulus for o in 0..O-1]. The bases are units modulo the modulus.

    Negative exponents cost one inversion for all: with s a power of two above them all, prod b^e is
    prod b^(e + s) * (prod b)^-s.
    """
    d, outputs = exponents.shape
    if d != len(bases):
        raise ValueError(f"expected an exponent for each of {len(bases)} bases, got {d}")
    m = big(modulus)
    if not d or not outputs:
        return [big(1)] * outputs
    units = [big(b) for b in bases]
    shift = _shift(exponents)
    digits = exponents + shift
    bits = max(int(digits.max()).bit_length(), 1)
    results = _cheapest(units, digits, bits, m)
    if shift:
        back = invert(powmod(_product(units, m), shift, m), m)
        results = [r * back % m for r in results]
    return results


def _shift(exponents: NDArray[np.int64]) -> int:
    """0 if no exponent is negative, else the least power of two that makes none so."""
    low, high = int(exponents.min()), int(exponents.max())
    if max(-low, high) >> MAX_EXPONENT_BITS:
        raise ValueError(
            f"expected exponents below 2^{MAX_EXPONENT_BITS}, got one of {max(-low, high).bit_length()} bits"
        )
    return 1 << (-low - 1).bit_length() if low < 0 else 0


def _cheapest(units: list[int], digits: NDArray[np.int64], bits: int, m: int) -> list[int]:
    d, outputs = digits.shape
    costs: dict[tuple[bool, int], int] = {}
    for width in range(1, 17):
        places = -(-bits // width)
        costs[False, width] = d * ((1 << min(width, 12)) - 2) + outputs * (bits + d * places) + (width > 12) * (1 << 60)
        costs[True, width] = outputs * (bits + places * (d + (2 << width)))
    pippenger, width = min(costs, key=lambda key: costs[key])
    if pippenger:
        return [_pippenger(units, column, bits, width, m) for column in digits.T]
    tables = [_small_powers(unit, width, m) for unit in units]
    return [_straus(tables, column, bits, width, m) for column in digits.T]


def _small_powers(unit: int, width: int, m: int) -> list[int]:
    row = [big(1), unit]
    for _ in range((1 << width) - 2):
        row.append(row[-1] * unit % m)
    return row


def _places(column: NDArray[np.int64], bits: int, width: int) -> list[list[int]]:
    """The digits of all exponents, of `width` bits each, the highest place first."""
    mask = (1 << width) - 1
    return [(column >> at & mask).tolist() for at in range((bits - 1) // width * width, -1, -width)]


def _straus(tables: list[list[int]], column: NDArray[np.int64], bits: int, width: int, m: int) -> int:
    result = big(1)
    for place in _places(column, bits, width):
        result = _squared(result, width, m)
        for table, digit in zip(tables, place, strict=True):
            if digit:
                result = result * table[digit] % m
    return result


def _pippenger(units: list[int], column: NDArray[np.int64], bits: int, width: int, m: int) -> int:
    result = big(1)
    for place in _places(column, bits, width):
        result = _squared(result, width, m)
        buckets: list[int | None] = [None] * (1 << width)
        for unit, digit in zip(units, place, strict=True):
            held = buckets[digit]
            buckets[digit] = unit if held is None else held * unit % m
        result = result * _weighted(buckets, m) % m
    return result


def _weighted(buckets: list[int | None], m: int) -> int:
    """prod_k buckets_k^k, by running products from the highest."""
    running, total = big(1), big(1)
    for bucket in buckets[:0:-1]:
        if bucket is not None:
            running = running * bucket % m
        total = total * running % m
    return total


def _squared(value: int, times: int, m: int) -> int:
    if value == 1:
        return value
    for _ in range(times):
        value = value * value % m
    return value


def _product(units: list[int], m: int) -> int:
    result = big(1)
    for unit in units:
        result = result * unit % m
    return result
