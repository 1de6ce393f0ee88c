"""Small integers as bytes that zstd can squeeze: four layouts for codes from -127 to 127. Knows codes, not their step.

No layout is best for all data. Which one is chosen follows from the counts of the codes; the receiver needs only the
layout's number and how many codes stand apart. A payload is a few sections, one after another:

GAPS     with c non-zero codes, all of them apart: |k| - 1 as two-bit symbols (symbols.py); c bits, 1 for a negative
         code; the |k| - 1 beyond 1, a byte each; gap bytes of the positions (gaps.py).
CRUMBS   two-bit symbols of all codes; the codes apart, beyond 1 in magnitude, as int8.
NIBBLES  four-bit symbols of all codes; the codes apart, beyond 7 in magnitude, as int8.
BYTES    all codes as int8; none stands apart.

The payload of n codes has at most n bytes. Signs lie by themselves because they are noise, and would spoil the
statistics of anything they are mixed with.
"""

from dataclasses import dataclass
from enum import IntEnum

import numpy as np

from p2pfl.compress.gaps import decode_gaps, encode_gaps
from p2pfl.compress.symbols import (
    CODE_MAX,
    Bits,
    Bytes,
    Codes,
    check_codes,
    count_escapes,
    expect,
    fill_apart,
    num_symbol_bytes,
    pack_symbols,
    unpack_symbols,
)
from p2pfl.compress.vectors import TILE, tiles


class Layout(IntEnum):
    GAPS = 0
    CRUMBS = 1
    NIBBLES = 2
    BYTES = 3


GAPS_SHARE_MAX = 0.19
"""More non-zero codes than this are never sent as gaps (their positions would take the memory of all values)."""

GAPS_SHARE_CLUSTERED = 0.10
CRUMBS_SHARE_MAX = 0.45
NIBBLES_APART_MAX = 0.25


@dataclass(frozen=True, slots=True)
class Counts:
    """How many of `size` codes are not 0, beyond 1, beyond 7 in magnitude; how many aligned fours are not all 0."""

    size: int
    nonzero: int
    beyond_1: int
    beyond_7: int
    fours: int

    def choose(self) -> Layout:
        """The layout that is smallest after zstd on gauss, laplace and layered data (bench/codec.py prints sizes)."""
        share = self.nonzero / self.size
        # Non-zero codes that keep to themselves leave whole bytes of zeros, which zstd likes better than gaps.
        clustered = self.fours < 0.85 * (1.0 - (1.0 - share) ** 4) * (self.size // 4)
        if share <= (GAPS_SHARE_CLUSTERED if clustered else GAPS_SHARE_MAX):
            return Layout.GAPS
        if share <= CRUMBS_SHARE_MAX:
            return Layout.CRUMBS
        return Layout.NIBBLES if self.beyond_7 <= NIBBLES_APART_MAX * self.size else Layout.BYTES

    def apart(self, layout: Layout) -> int:
        """How many codes stand apart in `layout`."""
        by = {Layout.GAPS: self.nonzero, Layout.CRUMBS: self.beyond_1, Layout.NIBBLES: self.beyond_7, Layout.BYTES: 0}
        return by[layout]


def count_codes(k: Codes) -> Counts:
    scratch = np.empty(TILE, np.int8)
    nonzero = beyond_1 = beyond_7 = 0
    for part in tiles(k.size):
        magnitude = np.abs(k[part], out=scratch[: part.stop - part.start])
        nonzero += int(np.count_nonzero(magnitude))
        beyond_1 += int(np.count_nonzero(magnitude > 1))
        beyond_7 += int(np.count_nonzero(magnitude > 7))
    fours = int(np.count_nonzero(k[: k.size // 4 * 4].view(np.uint32)))
    return Counts(k.size, nonzero, beyond_1, beyond_7, fours)


def pack(k: Codes, layout: Layout) -> list[Bytes]:
    """The sections of the payload of codes k (n,) in `layout`."""
    match layout:
        case Layout.GAPS:
            return _pack_gaps(k)
        case Layout.CRUMBS:
            return _pack_all(k, 2)
        case Layout.NIBBLES:
            return _pack_all(k, 4)
        case Layout.BYTES:
            return [k.view(np.uint8)]


def unpack(payload: Bytes, layout: Layout, apart: int, size: int) -> Codes:
    """The `size` codes of a payload with `apart` codes apart. Raises Reject if `pack` cannot have made it."""
    match layout:
        case Layout.GAPS:
            return _unpack_gaps(payload, apart, size)
        case Layout.CRUMBS:
            return _unpack_all(payload, 2, apart, size)
        case Layout.NIBBLES:
            return _unpack_all(payload, 4, apart, size)
        case Layout.BYTES:
            expect(apart == 0 and payload.size == size, "a code apart, or a wrong length")
            check_codes(payload.view(np.int8))
            return payload.view(np.int8)


def _pack_all(k: Codes, bits: Bits) -> list[Bytes]:
    symbols, apart = pack_symbols(k, bits)
    return [symbols, apart.view(np.uint8)]


def _unpack_all(payload: Bytes, bits: Bits, apart: int, size: int) -> Codes:
    cut = num_symbol_bytes(size, bits)
    expect(payload.size == cut + apart, "a wrong length")
    k = unpack_symbols(payload[:cut], bits, size)
    fill_apart(k, bits, payload[cut:].view(np.int8))
    return k


def _pack_gaps(k: Codes) -> list[Bytes]:
    positions = np.concatenate([np.flatnonzero(k[part] != 0).astype(np.int32) + part.start for part in tiles(k.size)])
    values = k[positions]
    symbols, apart = pack_symbols(np.abs(values) - np.int8(1), 2)
    signs = np.packbits(values < 0, bitorder="little")
    return [symbols, signs, apart.view(np.uint8), encode_gaps(positions)]


def _unpack_gaps(payload: Bytes, count: int, size: int) -> Codes:
    expect(count / size <= GAPS_SHARE_MAX, "too many gaps")
    signs_at = num_symbol_bytes(count, 2)
    apart_at = signs_at + -(-count // 8)
    expect(payload.size >= apart_at + count, "fewer gaps than codes")
    signs = np.unpackbits(payload[signs_at:apart_at], bitorder="little")
    expect(not signs[count:].any(), "padding that is not 0")
    magnitudes = unpack_symbols(payload[:signs_at], 2, count)
    gaps_at = apart_at + count_escapes(magnitudes, 2)
    fill_apart(magnitudes, 2, payload[apart_at:gaps_at].view(np.int8))
    expect(not count or 0 <= int(magnitudes.min()) <= int(magnitudes.max()) < CODE_MAX, "a magnitude beyond 127")
    positions = decode_gaps(payload[gaps_at:], count, size)
    k = np.zeros(size, np.int8)
    k[positions] = np.where(signs[:count], ~magnitudes, magnitudes + np.int8(1))  # ~m = -(m + 1)
    return k
