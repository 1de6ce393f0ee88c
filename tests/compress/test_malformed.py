"""Bytes from a peer: a Reject or a vector within bounds, never another exception, never a large allocation."""

import tracemalloc
from collections.abc import Callable

import numpy as np
import pytest
import torch
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from p2pfl.compress import CODECS, Codec, DeadZone, Int4, Int8, LowRank, Packed, RandomK, Sign, TopK
from p2pfl.compress.frames import expand, frame_bound, squeeze
from p2pfl.core.noise import root
from p2pfl.errors import Reject

KEY = root(2)
SIZE = 600
RNG = np.random.default_rng(5)
GAUSS = torch.from_numpy(RNG.standard_normal(SIZE).astype(np.float32))
SPARSE = GAUSS * torch.from_numpy(RNG.random(SIZE) < 0.03)
TUNED: dict[str, Codec] = {
    "deadzone fine": DeadZone(0.02),
    "topk int8": TopK(0.1, "int8"),
    "randomk": RandomK(0.1),
    "sign": Sign(16),
}
HONEST = {
    f"{name} {what}": (codec, codec.encode(v, KEY)[0])
    for name, codec in (TUNED | {n: kind() for n, kind in CODECS.items() if n not in TUNED}).items()
    for what, v in {"gauss": GAUSS, "sparse": SPARSE}.items()
}
CASES = pytest.mark.parametrize(("codec", "packed"), HONEST.values(), ids=HONEST.keys())


def decode_or_reject(codec: Codec, packed: Packed, size: int = SIZE) -> bool:
    try:
        q = codec.decode(packed, size)
    except Reject:
        return False
    assert q.shape == (size,)
    assert q.dtype == torch.float32
    assert q.isfinite().all()
    return True


@CASES
def test_prefixes_and_tails_are_refused(codec: Codec, packed: Packed) -> None:
    body = bytes(packed.body)
    for cut in range(0, len(body), max(1, len(body) // 200)):
        assert not decode_or_reject(codec, Packed(packed.fields, body[:cut]))
    for tail in (b"\0", b"\xff" * 9, body):
        assert not decode_or_reject(codec, Packed(packed.fields, body + tail))


@CASES
def test_other_sizes_are_refused_or_fit(codec: Codec, packed: Packed) -> None:
    assert not decode_or_reject(codec, packed, 1)
    for size in (SIZE // 2, SIZE - 5, SIZE + 5):  # positions may happen to lie below a smaller size
        decode_or_reject(codec, packed, size)


@CASES
@settings(max_examples=40, deadline=None)
@given(at=st.integers(0, 10**6), flip=st.integers(1, 255))
def test_one_changed_byte(codec: Codec, packed: Packed, at: int, flip: int) -> None:
    body = bytearray(packed.body)
    if body:
        body[at % len(body)] ^= flip
        decode_or_reject(codec, Packed(packed.fields, body))


FIELDS = st.integers(-70, 700) | st.sampled_from([True, 1.0, float("nan"), -(2**63), 2**64 - 1, 2**70])


@CASES
@settings(max_examples=30, deadline=None)
@given(fields=st.lists(FIELDS, max_size=4), body=st.binary(max_size=60), framed=st.booleans())
def test_random_bytes(codec: Codec, packed: Packed, fields: list[int | float], body: bytes, framed: bool) -> None:
    raw = squeeze(body) if framed else body
    decode_or_reject(codec, Packed(tuple(fields), raw))
    decode_or_reject(codec, Packed(packed.fields, raw))
    decode_or_reject(codec, Packed(tuple(fields), packed.body))


@settings(max_examples=150, deadline=None)
@given(payload=st.binary(min_size=1, max_size=12), layout=st.integers(0, 3), apart=st.integers(0, 8))
def test_deadzone_payloads_that_decompress(payload: bytes, layout: int, apart: int) -> None:
    decode_or_reject(DeadZone(), Packed((3, layout, apart), squeeze(payload)), 20)


def peak_bytes(call: Callable[[], object]) -> int:
    tracemalloc.start()
    try:
        call()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def bombs() -> dict[str, bytes]:
    """A few hundred bytes or less that ask for 256 MiB."""
    huge = 1 << 28
    streamed = zstandard.ZstdCompressor(level=1, write_content_size=False).compressobj()
    silent = b"".join([*(streamed.compress(bytes(1 << 20)) for _ in range(16)), streamed.flush()])
    honest = squeeze(bytes(SIZE))
    window = zstandard.ZstdCompressionParameters(window_log=27, write_content_size=True, enable_ldm=True)
    wide = zstandard.ZstdCompressor(compression_params=window).compressobj(size=huge)
    return {
        "says its size": zstandard.ZstdCompressor(level=1).compress(bytes(1 << 24)),
        "says no size": silent,
        "claims much": b"\x28\xb5\x2f\xfd\xa0" + huge.to_bytes(4, "little") + b"\x02\0\0",
        "two frames": honest + honest,
        "truncated": honest[:-1],
        "skippable": b"\x50\x2a\x4d\x18\x04\0\0\0abcd",
        "wide window": wide.compress(b"\0") + wide.flush(zstandard.COMPRESSOBJ_FLUSH_BLOCK),
    }


@pytest.mark.parametrize("bomb", bombs().values(), ids=bombs().keys())
def test_bombs_are_refused_before_they_unfold(bomb: bytes) -> None:
    bomb = bomb[: frame_bound(SIZE)] if len(bomb) > frame_bound(SIZE) else bomb

    def attack() -> None:
        for layout in range(4):
            assert not decode_or_reject(DeadZone(), Packed((0, layout, 20), bomb))
        assert not decode_or_reject(TopK(), Packed((6,), bytes(24) + bomb))
        with pytest.raises(Reject):
            expand(bomb, 1, SIZE)

    assert peak_bytes(attack) < 1 << 20


def test_a_frame_must_hold_what_it_says() -> None:
    # Says 256 MiB and stays within what the receiver allows: refused because its one block holds nothing.
    liar = b"\x28\xb5\x2f\xfd\xa0" + (1000).to_bytes(4, "little") + b"\x01\0\0"
    with pytest.raises(Reject):
        expand(liar, 1, 1 << 28)


def test_frames_invert_within_their_bound() -> None:
    for raw in (b"", b"a", bytes(1000), RNG.bytes(300_000)):
        assert len(squeeze(raw)) <= frame_bound(len(raw))
        assert expand(squeeze(raw), len(raw), len(raw)) == raw
    for low, high in ((2, 5), (1, 1 << 20)):
        with pytest.raises(Reject):
            expand(b"" if high > 5 else squeeze(b"a"), low, high)


def test_codes_under_no_scale_and_bad_scales() -> None:
    codec = Int8(16)
    zero, tiny = np.float32(0.0).tobytes(), np.float32(1.0).tobytes()
    assert decode_or_reject(codec, Packed((), tiny + bytes([1] * 16)), 16)
    assert not decode_or_reject(codec, Packed((), zero + bytes([1] * 16)), 16)
    for scale in (np.nan, np.inf, -1.0, -0.0, 3e36):
        assert not decode_or_reject(codec, Packed((), np.float32(scale).tobytes() + bytes(16)), 16)


def test_what_no_encoder_says() -> None:
    one, none = np.float32(1.0).tobytes(), np.float32(0.0).tobytes()
    assert decode_or_reject(Int4(16), Packed((), one + b"\x71" * 8), 16)
    for bad in (b"\x08" * 8, b"\x88" * 8):
        assert not decode_or_reject(Int4(16), Packed((), one + bad), 16)
    assert not decode_or_reject(Int4(16), Packed((), one + b"\x11" * 8), 15)
    assert not decode_or_reject(Int4(16), Packed((), none + b"\x01" + bytes(7)), 16)
    assert decode_or_reject(Sign(16), Packed((), one + b"\xff\x7f"), 15)
    assert not decode_or_reject(Sign(16), Packed((), one + b"\xff\xff"), 15)
    assert not decode_or_reject(Sign(16), Packed((), none + b"\x01\x00"), 16)
    assert decode_or_reject(LowRank(1), Packed((0,), np.full(4, 1 << 14, "<i2").tobytes()), 4)
    assert not decode_or_reject(LowRank(1), Packed((0,), np.full(4, -(1 << 15), "<i2").tobytes()), 4)
    assert not decode_or_reject(LowRank(1), Packed((129,), bytes(8)), 4)
    assert decode_or_reject(LowRank(1), Packed((128,), np.full(4, 1 << 14, "<i2").tobytes()), 4)
    assert not decode_or_reject(RandomK(0.5), Packed((-1,), bytes(8)), 4)
    assert not decode_or_reject(RandomK(0.5), Packed((1 << 63,), bytes(8)), 4)
    assert not decode_or_reject(RandomK(0.5), Packed((5,), np.float32([1, np.nan]).tobytes()), 4)
