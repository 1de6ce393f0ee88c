"""Strict msgpack: one value, one byte string. Knows bytes and plain values, no message.

msgpack has many encodings of one value and its decoder takes them all. Here `unpackb` accepts exactly what `packb`
gives: it packs again and compares. Allowed: int, float (finite), bytes, str, bool, arrays. No maps, no nil, no
extension types: in a signed text every position means one thing.

The decoder makes room for an array before its items have come: three bytes, nested a thousand times, would cost it
hundreds of megabytes. So a first pass that builds nothing asks whether all that is announced is there; what is then
allocated is bounded by the length of the bytes.
"""

from math import isfinite
from typing import Any

import msgpack

from p2pfl.errors import Reject

DEPTH_MAX = 8


def packb(value: Any) -> bytes:
    """The canonical bytes of `value` (ints, finite floats, bytes, str, bool, lists and tuples of these)."""
    return bytes(msgpack.packb(value, use_bin_type=True))


def unpackb(raw: bytes | bytearray | memoryview, size_max: int) -> Any:
    """The value whose canonical bytes are `raw`, arrays as lists. Raises Reject for anything else."""
    if len(raw) > size_max:
        raise Reject("too-long", f"expected at most {size_max} bytes, got {len(raw)}")
    try:
        _check_complete(raw)
        value = msgpack.unpackb(
            raw,
            raw=False,
            strict_map_key=True,
            max_array_len=size_max,
            max_map_len=0,
            max_ext_len=0,
            max_str_len=size_max,
            max_bin_len=size_max,
        )
        _check(value, DEPTH_MAX)
        again = packb(value)
    except (ValueError, TypeError, OverflowError, RecursionError, msgpack.UnpackException) as error:
        raise Reject("malformed", f"not canonical msgpack ({type(error).__name__})") from None
    if again != bytes(raw):
        raise Reject("malformed", "not the canonical encoding of its value")
    return value


def _check_complete(raw: bytes | bytearray | memoryview) -> None:
    scanner = msgpack.Unpacker(max_buffer_size=len(raw))
    scanner.feed(raw)
    scanner.skip()


def _check(value: Any, depth: int) -> None:
    match value:
        case bool() | int() | bytes() | str():
            return
        case float():
            if not isfinite(value):
                raise ValueError("a float that is not finite")
        case list():
            if depth == 0:
                raise ValueError("nested too deep")
            for item in value:
                _check(item, depth - 1)
        case _:
            raise TypeError(f"{type(value).__name__} is not allowed")
