"""One value, one byte string: what packb gives is accepted, nothing else is, and refusing is cheap."""

import struct
import tracemalloc

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2pfl.errors import Reject
from p2pfl.wire.canonical import DEPTH_MAX, packb, unpackb

scalars = (
    st.integers(-(1 << 63), (1 << 64) - 1)
    | st.sampled_from(
        [sign * (1 << bits) + off for bits in (5, 7, 8, 15, 16, 31, 32) for sign in (1, -1) for off in (-1, 0, 1)]
    )
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.binary(max_size=40)
    | st.text(max_size=40)
    | st.booleans()
)
values = st.recursive(scalars, lambda inner: st.lists(inner, max_size=20), max_leaves=40)


def depth(value):
    return 1 + max(map(depth, value), default=0) if isinstance(value, list) else 0


@given(values)
def test_what_is_packed_is_unpacked(value):
    raw = packb(value)
    if depth(value) > DEPTH_MAX:
        with pytest.raises(Reject):
            unpackb(raw, len(raw))
        return
    for kind in (bytes, bytearray, memoryview):
        again = unpackb(kind(raw), len(raw))
        assert again == value
        assert packb(again) == raw  # also tells True from 1 and -0.0 from 0.0


@given(st.binary(max_size=60) | values.map(packb))
def test_what_is_accepted_is_the_only_encoding_of_its_value(raw):
    try:
        value = unpackb(raw, 1 << 10)
    except Reject:
        return
    assert packb(value) == raw


@given(values, st.data())
def test_every_prefix_and_every_addition_is_refused(value, data):
    raw = packb(value)
    cut = data.draw(st.integers(0, len(raw) - 1))
    more = data.draw(st.binary(min_size=1, max_size=4))
    for bad in (raw[:cut], raw + more):
        with pytest.raises(Reject) as error:
            unpackb(bad, 1 << 20)
        assert error.value.code == "malformed"


def test_all_strings_of_two_bytes():
    """65,536 of them; those accepted are exactly what packb can give."""
    for number in range(1 << 16):
        raw = number.to_bytes(2, "big")
        try:
            value = unpackb(raw, 2)
        except Reject:
            continue
        assert packb(value) == raw


REFUSED = {
    "nothing at all": "",
    "nil": "c0",
    "never used": "c1",
    "an empty map": "80",
    "a map": "810102",
    "a map with a key twice": "8201020103",
    "a map of 16-bit length": "de0000",
    "a map in an array": "9180",
    "nil in an array": "91c0",
    "an empty extension": "c70005",
    "an extension": "d40500",
    "a timestamp": "d6ff00000000",
    "an empty timestamp": "c700ff",
    "0 in 8 bits": "cc00",
    "127 in 8 bits": "cc7f",
    "255 in 16 bits": "cd00ff",
    "65535 in 32 bits": "ce0000ffff",
    "2^32 - 1 in 64 bits": "cf00000000ffffffff",
    "5 as a signed number": "d005",
    "-32 in 8 bits": "d0e0",
    "-128 in 16 bits": "d1ff80",
    "-32768 in 32 bits": "d2ffff8000",
    "-2^31 in 64 bits": "d3ffffffff80000000",
    "bytes of a 16-bit length": "c50001ff",
    "bytes of a 32-bit length": "c600000001ff",
    "text of an 8-bit length": "d90161",
    "text of a 16-bit length": "da000161",
    "text of a 32-bit length": "db0000000161",
    "an array of a 16-bit length": "dc000101",
    "an array of a 32-bit length": "dd0000000101",
    "a float of 32 bits": "ca3f000000",
    "NaN": "cb7ff8000000000000",
    "infinity": "cb7ff0000000000000",
    "minus infinity in an array": "91cbfff0000000000000",
    "text that is not UTF-8": "a1ff",
    "text with half a surrogate pair": "a3eda080",
    "text in an overlong form": "a2c080",
    "two values": "0101",
}


@pytest.mark.parametrize("name", REFUSED)
def test_other_encodings_and_other_values_are_refused(name):
    with pytest.raises(Reject) as error:
        unpackb(bytes.fromhex(REFUSED[name]), 100)
    assert error.value.code == "malformed"


def test_depth_at_the_bound_and_one_past_it():
    assert unpackb(b"\x91" * DEPTH_MAX + b"\x01", 100) == [[[[[[[[1]]]]]]]]
    assert unpackb(b"\x91" * (DEPTH_MAX - 1) + b"\x90", 100) == [[[[[[[[]]]]]]]]
    for tail in (b"\x01", b""):
        with pytest.raises(Reject):
            unpackb(b"\x91" * DEPTH_MAX + b"\x90" + tail, 100)


def test_size_at_the_bound_and_one_past_it():
    raw = packb(b"x" * 10)
    assert unpackb(raw, len(raw)) == b"x" * 10
    with pytest.raises(Reject) as error:
        unpackb(raw, len(raw) - 1)
    assert error.value.code == "too-long"


BOMBS = {
    "arrays of 65,535 within each other": b"\xdc\xff\xff" * 1000,
    "more of them than a decoder's stack": b"\xdc\xff\xff" * 20_000,
    "arrays of 65,536 within each other": b"\xdd\x00\x01\x00\x00" * 200,
    "an array of four thousand million": b"\xdd\xff\xff\xff\xff",
    "a map of four thousand million": b"\xdf\xff\xff\xff\xff",
    "bytes of four thousand million": b"\xc6\xff\xff\xff\xff",
    "text of four thousand million": b"\xdb\xff\xff\xff\xff",
    "an extension of four thousand million": b"\xc9\xff\xff\xff\xff\x05",
    "sixty thousand arrays": b"\x91" * 60_000 + b"\x01",
    "nine hundred arrays": b"\x91" * 900 + b"\x01",
}


@pytest.mark.parametrize("name", BOMBS)
def test_what_is_announced_and_not_there_costs_nothing(name):
    raw = BOMBS[name]
    tracemalloc.start()
    try:
        with pytest.raises(Reject):
            unpackb(raw, 1 << 16)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 2 << 20


def test_it_is_msgpack():
    """Another implementation reads what we write."""
    value = [1, -1, 2.5, b"b", "t", True, [[]]]
    assert msgpack.unpackb(packb(value)) == value
    assert packb(0.5) == b"\xcb" + struct.pack(">d", 0.5)
