"""Strict msgpack: one value, one byte string. Knows bytes and plain values, no message.

msgpack has many encodings of one value and its decoders take them all, and they make room for an array before its items
are there: three bytes nested a thousand times cost them hundreds of megabytes. So the decoder is our own. It accepts
exactly what `packb` gives, and makes room only for what has come. Allowed: int (64 bits), float (finite), bytes, str,
bool, arrays nested to DEPTH_MAX. No maps, no nil, no extension types: in a signed text every position means one thing.
"""

from math import isfinite
from struct import unpack
from typing import Any

import msgpack

from p2pfl.errors import Reject

DEPTH_MAX = 8

# tag -> (bytes of the number behind it, the least number that has no shorter form)
_UINTS = {0xCC: (1, 1 << 7), 0xCD: (2, 1 << 8), 0xCE: (4, 1 << 16), 0xCF: (8, 1 << 32)}
_BYTES = {0xC4: (1, 0), 0xC5: (2, 1 << 8), 0xC6: (4, 1 << 16)}
_TEXTS = {0xD9: (1, 1 << 5), 0xDA: (2, 1 << 8), 0xDB: (4, 1 << 16)}
_ARRAYS = {0xDC: (2, 1 << 4), 0xDD: (4, 1 << 16)}
# tag -> (bytes of the number behind it, the greatest number that has no shorter form)
_NEGATIVES = {0xD0: (1, -(1 << 5) - 1), 0xD1: (2, -(1 << 7) - 1), 0xD2: (4, -(1 << 15) - 1), 0xD3: (8, -(1 << 31) - 1)}


def packb(value: Any) -> bytes:
    """The canonical bytes of `value` (ints, finite floats, bytes, str, bool, lists and tuples of these)."""
    return bytes(msgpack.packb(value, use_bin_type=True))


def unpackb(raw: bytes | bytearray | memoryview, size_max: int) -> Any:
    """The value whose canonical bytes are `raw`, arrays as lists. Raises Reject for anything else."""
    if len(raw) > size_max:
        raise Reject("too-long", f"expected at most {size_max} bytes, got {len(raw)}")
    data = bytes(raw)
    try:
        (value,), end = _items(data, 0, 1, DEPTH_MAX)
    except UnicodeDecodeError:
        raise Reject("malformed", "text that is not UTF-8") from None
    if end != len(data):
        raise Reject("malformed", f"expected one value of {len(data)} bytes, it ends after {end}")
    return value


def _items(data: bytes, at: int, count: int, depth: int) -> tuple[list[Any], int]:
    """The `count` values that begin at `at`, and where they end. `depth` arrays may still open within each other.

    One call for each array, the commonest tags first: a window of receipts is thousands of values.
    """
    items: list[Any] = []
    for _ in range(count):
        if at >= len(data):
            raise Reject("malformed", f"the value goes on after its {len(data)} bytes")
        tag = data[at]
        at += 1
        if tag <= 0x7F:
            items.append(tag)
        elif tag in _BYTES:
            start, at = _span(data, at, *_BYTES[tag])
            items.append(data[start:at])
        elif tag in _UINTS:
            number, at = _number(data, at, *_UINTS[tag])
            items.append(number)
        elif 0x90 <= tag <= 0x9F or tag in _ARRAYS:
            length = tag - 0x90
            if tag in _ARRAYS:
                length, at = _number(data, at, *_ARRAYS[tag])
            if depth == 0:
                raise Reject("malformed", f"arrays nested deeper than {DEPTH_MAX}")
            array, at = _items(data, at, length, depth - 1)
            items.append(array)
        elif 0xA0 <= tag <= 0xBF:
            start, at = at, _end(data, at, tag - 0xA0)
            items.append(data[start:at].decode())
        elif tag in _TEXTS:
            start, at = _span(data, at, *_TEXTS[tag])
            items.append(data[start:at].decode())
        elif tag >= 0xE0:
            items.append(tag - 0x100)
        elif tag in _NEGATIVES:
            number, at = _negative(data, at, *_NEGATIVES[tag])
            items.append(number)
        elif tag in (0xC2, 0xC3):
            items.append(tag == 0xC3)
        elif tag == 0xCB:
            value, at = _float(data, at)
            items.append(value)
        else:
            raise Reject("malformed", f"a value of type 0x{tag:02x} is not allowed")
    return items, at


def _end(data: bytes, at: int, size: int) -> int:
    if at + size > len(data):
        raise Reject("malformed", f"the value goes on after its {len(data)} bytes")
    return at + size


def _number(data: bytes, at: int, width: int, least: int) -> tuple[int, int]:
    end = _end(data, at, width)
    number = int.from_bytes(data[at:end], "big")
    if number < least:
        raise Reject("malformed", f"{number} has a shorter form")
    return number, end


def _span(data: bytes, at: int, width: int, least: int) -> tuple[int, int]:
    """Where the bytes begin and end whose length stands at `at`."""
    length, start = _number(data, at, width, least)
    return start, _end(data, start, length)


def _negative(data: bytes, at: int, width: int, greatest: int) -> tuple[int, int]:
    end = _end(data, at, width)
    number = int.from_bytes(data[at:end], "big", signed=True)
    if number > greatest:
        raise Reject("malformed", f"{number} has a shorter form")
    return number, end


def _float(data: bytes, at: int) -> tuple[float, int]:
    end = _end(data, at, 8)
    (value,) = unpack(">d", data[at:end])
    if not isfinite(value):
        raise Reject("malformed", "a float that is not finite")
    return value, end
