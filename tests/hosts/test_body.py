"""Parts leave in order, in bounded pieces, and only small ones are copied."""

from hypothesis import given, settings
from hypothesis import strategies as st

from p2pfl.core.limits import CHUNK_BYTES
from p2pfl.hosts.body import JOIN_BYTES, size_of, slices

SIZES = st.sampled_from([0, 1, 100, JOIN_BYTES - 1, JOIN_BYTES, JOIN_BYTES + 1, CHUNK_BYTES, CHUNK_BYTES + 1])


@settings(max_examples=60, deadline=None)
@given(st.lists(SIZES, max_size=8))
def test_slices_are_the_parts(sizes: list[int]) -> None:
    parts = tuple(bytes([number]) * size for number, size in enumerate(sizes))
    cut = list(slices(parts))
    assert b"".join(cut) == b"".join(parts)
    assert size_of(parts) == sum(sizes)
    assert all(len(piece) <= CHUNK_BYTES for piece in cut)
    for piece in cut:
        if len(piece) > JOIN_BYTES:
            assert isinstance(piece, memoryview)
            assert any(piece.obj is part for part in parts)


def test_what_fits_together_is_one_write() -> None:
    assert list(slices((b"a", bytearray(b"b"), memoryview(b"c")))) == [b"abc"]
    half = bytes(JOIN_BYTES // 2)
    assert [len(piece) for piece in slices((half, half))] == [JOIN_BYTES]
    assert [len(piece) for piece in slices((half, half, b"x"))] == [JOIN_BYTES, 1]


def test_views_of_any_shape_are_bytes() -> None:
    grid = memoryview(bytes(range(24))).cast("I", (2, 3))
    assert b"".join(slices((grid,))) == bytes(range(24))
    assert size_of((grid,)) == 24
