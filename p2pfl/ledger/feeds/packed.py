"""Signed bodies from their bytes: the canonical msgpack of whole numbers, bytes, text and arrays, and nothing else.

The same bytes as `wire.canonical` for the values that a signed body may hold; but arrays come as tuples, and floats,
booleans, nil and maps do not come at all. Each value is looked at once: verifying a ledger is to spend its time on
signatures, so whoever checks the types of all values anyway asks for them `unchecked`.
"""

import msgpack

from p2pfl.core.party import Buffer
from p2pfl.errors import Reject
from p2pfl.wire import canonical

DEPTH_MAX = 6


def unpack(raw: Buffer, size_max: int) -> tuple[object, ...]:
    """The array whose canonical bytes are `raw`, its arrays as tuples. Raises Reject for anything else."""
    value = unpack_unchecked(raw, size_max)
    check_values(value)
    return value


def unpack_unchecked(raw: Buffer, size_max: int) -> tuple[object, ...]:
    """As `unpack`, but there may be floats, booleans and nil in it: not for what is not checked afterwards."""
    if len(raw) > size_max:
        raise Reject("too-long", f"expected at most {size_max} bytes, got {len(raw)}")
    try:
        value = msgpack.unpackb(
            raw,
            raw=False,
            use_list=False,
            max_array_len=size_max,
            max_map_len=0,
            max_ext_len=0,
            max_str_len=size_max,
            max_bin_len=size_max,
        )
        again = canonical.packb(value)
    except (ValueError, TypeError, OverflowError, RecursionError, msgpack.UnpackException) as error:
        raise Reject("malformed", f"not canonical msgpack of a signed body ({type(error).__name__})") from None
    if again != raw or type(value) is not tuple:
        raise Reject("malformed", "not the canonical encoding of an array")
    return value


def check_values(values: tuple[object, ...], depth: int = DEPTH_MAX) -> None:
    """Raises Reject for what a signed body must not hold, and for arrays that are nested too deep."""
    for value in values:
        kind = type(value)
        if kind is tuple:
            if depth == 0:
                raise Reject("malformed", "nested too deep")
            check_values(value, depth - 1)  # type: ignore[arg-type]
        elif kind is not int and kind is not bytes and kind is not str:
            raise Reject("malformed", f"an entry holds no {kind.__name__}")
