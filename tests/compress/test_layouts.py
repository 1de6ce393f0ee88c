"""The packed forms below the codecs: gaps and layouts invert, and every byte string means at most one thing."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from p2pfl.compress.gaps import decode_gaps, encode_gaps, gap_bytes_max
from p2pfl.compress.layouts import GAPS_SHARE_MAX, Layout, count_codes, unpack
from p2pfl.compress.layouts import pack as pack_sections
from p2pfl.errors import Reject

CODES = hnp.arrays(np.int8, st.integers(1, 90), elements=st.integers(-127, 127)) | hnp.arrays(
    np.int8, st.integers(1, 90), elements=st.sampled_from([0, 0, 0, 0, 0, 0, 0, 1, -1, 2, 9])
)


def pack(k: np.ndarray, layout: Layout) -> np.ndarray:
    return np.concatenate(pack_sections(k, layout))


@settings(max_examples=200, deadline=None)
@given(k=CODES)
def test_layouts_invert(k: np.ndarray) -> None:
    counts = count_codes(k)
    for layout in Layout:
        apart = counts.apart(layout)
        if layout is Layout.GAPS and apart / k.size > GAPS_SHARE_MAX:
            continue
        assert np.array_equal(unpack(pack(k, layout), layout, apart, k.size), k)
    assert pack(k, counts.choose()).size <= k.size


def test_layouts_invert_over_many_tiles() -> None:
    rng = np.random.default_rng(0)
    for spread in (0.5, 1.0, 3.0, 40.0):
        k = np.clip(np.trunc(rng.standard_normal(200_003) * spread), -127, 127).astype(np.int8)
        for layout in (counts := count_codes(k)).choose(), Layout.CRUMBS, Layout.NIBBLES, Layout.BYTES:
            assert np.array_equal(unpack(pack(k, layout), layout, counts.apart(layout), k.size), k)


@settings(max_examples=300, deadline=None)
@given(
    payload=st.binary(max_size=24).map(lambda raw: np.frombuffer(raw, np.uint8)),
    layout=st.sampled_from(Layout),
    apart=st.integers(0, 12),
    size=st.integers(1, 40),
)
def test_every_payload_is_canonical_or_refused(payload: np.ndarray, layout: Layout, apart: int, size: int) -> None:
    try:
        k = unpack(payload, layout, apart, size)
    except Reject:
        return
    assert k.size == size
    assert count_codes(k).apart(layout) == apart
    assert np.array_equal(pack(k, layout), payload)


@pytest.mark.parametrize(
    ("payload", "layout", "apart", "size"),
    [
        ([0b10], Layout.CRUMBS, 0, 4),  # an escape without its code
        ([0b10, 1], Layout.CRUMBS, 1, 4),  # a code that has a symbol
        ([0b10, 0x80], Layout.CRUMBS, 1, 4),  # -128
        ([0b01_00_00_00], Layout.CRUMBS, 0, 3),  # padding
        ([0x08, 7], Layout.NIBBLES, 1, 2),
        ([0x10], Layout.NIBBLES, 0, 1),
        ([0x80, 0], Layout.BYTES, 0, 2),
        ([0, 0], Layout.BYTES, 1, 2),
        ([0, 0, 20], Layout.GAPS, 1, 20),  # position 20 of 20
        ([2, 0, 127, 3], Layout.GAPS, 1, 20),  # magnitude 128
        ([2, 0, 255, 3], Layout.GAPS, 1, 20),
        ([2, 0, 1, 3], Layout.GAPS, 1, 20),  # magnitude 2 has a symbol
        ([3, 0, 3], Layout.GAPS, 1, 20),  # magnitude 0
        ([4, 0, 3], Layout.GAPS, 1, 20),  # a second magnitude
        ([0, 2, 3], Layout.GAPS, 1, 20),  # a second sign
        ([0, 0, 255], Layout.GAPS, 1, 3000),  # ends in an escape
        ([0, 0, 3, 3, 3, 3], Layout.GAPS, 4, 20),  # more than ever are sent so
    ],
)
def test_malformed_payloads(payload: list[int], layout: Layout, apart: int, size: int) -> None:
    with pytest.raises(Reject):
        unpack(np.array(payload, np.uint8), layout, apart, size)


@settings(max_examples=200, deadline=None)
@given(st.sets(st.integers(0, 3000), max_size=40).map(sorted), st.integers(3001, 4000))
def test_gaps_invert(positions: list[int], size: int) -> None:
    raw = encode_gaps(np.array(positions, np.int64))
    assert raw.size <= gap_bytes_max(len(positions), size)
    assert decode_gaps(raw, len(positions), size).tolist() == positions


@settings(max_examples=200, deadline=None)
@given(st.lists(st.sampled_from([0, 1, 7, 254, 255]), max_size=12), st.integers(0, 12), st.integers(1, 2000))
def test_gaps_are_canonical(raw: list[int], count: int, size: int) -> None:
    try:
        positions = decode_gaps(np.array(raw, np.uint8), count, size)
    except Reject:
        return
    assert len(positions) == count
    assert all(0 <= p < size for p in positions)
    assert encode_gaps(positions).tolist() == raw
