"""Codes in two or four bits, the few that do not fit apart. Knows small integers, not what they mean.

With b bits, codes of magnitude up to 2^(b-1) - 1 are their two's complement; the symbol 2^(b-1) is an escape: that code
stands apart. The first code is in the lowest bits of a byte, unused bits are 0. Packing works on tiles and word-wise:
the symbols of four codes lie in the bytes of a 32-bit word, two shifts bring them together.
"""

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from p2pfl.compress.vectors import TILE, tiles
from p2pfl.errors import Reject

Codes = NDArray[np.int8]
Bytes = NDArray[np.uint8]
Bits = Literal[2, 4]

CODE_MAX = 127
SHIFTS: dict[Bits, tuple[int, ...]] = {2: (6, 12), 4: (4,)}


def escape_of(bits: Bits) -> int:
    """The smallest magnitude that stands apart; as a code, the mark of one that does."""
    return 1 << (bits - 1)


def num_symbol_bytes(size: int, bits: Bits) -> int:
    return -(-size * bits // 8)


def pack_symbols(k: Codes, bits: Bits) -> tuple[Bytes, Codes]:
    """The symbols of codes k (n,), and the codes that stand apart, in order."""
    escape, per_byte = escape_of(bits), 8 // bits
    out = np.empty(num_symbol_bytes(k.size, bits), np.uint8)
    word = np.dtype(f"<u{per_byte}")
    scratch, shifted, apart = np.empty(TILE, np.int8), np.empty(TILE // per_byte, word), [k[:0]]
    for part in tiles(k.size):
        tile = k[part]
        symbols = scratch[: -(-tile.size // per_byte) * per_byte]
        symbols[tile.size :] = 0
        # Clipped to +-escape, both ends of the range are the escape symbol once the high bits are gone.
        np.clip(tile, -escape, escape, out=symbols[: tile.size])
        np.bitwise_and(symbols, (1 << bits) - 1, out=symbols)
        holes = symbols[: tile.size] == escape
        if holes.any():
            apart.append(tile[np.flatnonzero(holes)])
        words = symbols.view(word)
        for shift in SHIFTS[bits]:
            np.right_shift(words, shift, out=shifted[: words.size])
            np.bitwise_or(words, shifted[: words.size], out=words)
        start = part.start // per_byte
        np.copyto(out[start : start + words.size], words, casting="unsafe")  # the low byte of each word
    return out, np.concatenate(apart)


def unpack_symbols(raw: Bytes, bits: Bits, size: int) -> Codes:
    """The `size` codes of `raw` (exactly as long as they need), `escape_of(bits)` where a code stands apart."""
    per_byte, table = 8 // bits, _table(bits)
    padded = np.empty(raw.size * per_byte, np.int8)
    words = padded.view(table.dtype)
    for part in tiles(raw.size, TILE // per_byte):
        np.take(table, raw[part], out=words[part], mode="clip")
    expect(not padded[size:].any(), "padding that is not 0")
    return padded[:size]


def count_escapes(k: Codes, bits: Bits) -> int:
    """How many codes of unpacked symbols stand apart."""
    return sum(int(np.count_nonzero(k[part] == escape_of(bits))) for part in tiles(k.size))


def fill_apart(k: Codes, bits: Bits, apart: Codes) -> None:
    """Writes the codes that stand apart to their places in k; Reject unless each has its place and needs it."""
    escape, taken = escape_of(bits), 0
    check_codes(apart, magnitude_min=escape)
    for part in tiles(k.size):
        holes = np.flatnonzero(k[part] == escape)
        expect(taken + holes.size <= apart.size, "more escapes than codes apart")
        k[part][holes] = apart[taken : taken + holes.size]
        taken += holes.size
    expect(taken == apart.size, "fewer escapes than codes apart")


def check_codes(k: Codes, magnitude_min: int = 0) -> None:
    """Reject unless every code is within +-127, and at least `magnitude_min` in magnitude."""
    for part in tiles(k.size):
        expect(int(k[part].min()) >= -CODE_MAX, "the code -128")
        expect(not magnitude_min or int(np.abs(k[part]).min()) >= magnitude_min, "a code that should not stand apart")


def expect(holds: bool | np.bool_, what: str) -> None:
    if not holds:
        raise Reject("codec", f"the payload has {what}")


def _table(bits: Bits) -> NDArray[np.unsignedinteger]:
    """For each byte, the codes of its symbols as the bytes of one word."""
    per_byte = 8 // bits
    symbols = (np.arange(256)[:, None] >> (bits * np.arange(per_byte))) & ((1 << bits) - 1)
    codes = np.where(symbols > escape_of(bits), symbols - (1 << bits), symbols).astype(np.int8)
    table: NDArray[np.unsignedinteger] = codes.view(f"<u{per_byte}").reshape(256)
    return table
