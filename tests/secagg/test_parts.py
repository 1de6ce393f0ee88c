"""Laws of the parts: masks cancel and seek, shares join, rounding is unbiased and bounded, slices cover."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from p2pfl.core.ids import NodeId
from p2pfl.core.noise import Key, derive, root
from p2pfl.errors import ConfigError, Reject
from p2pfl.secagg import shares
from p2pfl.secagg.cell import CELL_MAX, CELL_MIN, Cell, heirs, slices, threshold_of
from p2pfl.secagg.masks import TILE_WORDS, Stream, agree, apply_streams, public_of
from p2pfl.secagg.rounding import RANGE_MAX, Grid, Width
from p2pfl.secagg.vectors import from_bytes, to_bytes

WIDTHS: tuple[Width, ...] = (16, 32)
SECRETS = st.binary(min_size=32, max_size=32)


@settings(max_examples=30)
@given(SECRETS, st.integers(0, 300), st.integers(0, 60))
def test_a_stream_seeks(seed: bytes, size: int, block: int) -> None:
    start = 4 * block
    whole = np.zeros(start + size, np.uint32)
    apply_streams(whole, [Stream(seed, 1)])
    part = np.zeros(size, np.uint32)
    apply_streams(part, [Stream(seed, 1)], start)
    assert np.array_equal(part, whole[start:])


def test_streams_cancel_over_many_tiles() -> None:
    words = np.arange(2 * TILE_WORDS + 5, dtype=np.uint32)
    before = words.copy()
    streams = [Stream(derive(root(1), n), 1) for n in range(3)]
    apply_streams(words, streams)
    assert not np.array_equal(words, before)
    apply_streams(words, [Stream(s.seed, -1) for s in streams])
    assert np.array_equal(words, before)


def test_a_stream_must_begin_at_a_block() -> None:
    with pytest.raises(ValueError, match="multiple of 4"):
        apply_streams(np.zeros(4, np.uint32), [Stream(bytes(32), 1)], 2)


@settings(max_examples=20)
@given(SECRETS, SECRETS)
def test_both_ends_agree_and_nobody_else(a: bytes, b: bytes) -> None:
    p, q = public_of(a), public_of(b)
    cell = bytes(32)
    assert agree(a, p, q, b"mask", cell) == agree(b, q, p, b"mask", cell)
    seeds = {agree(a, p, q, purpose, bytes([n]) * 32) for purpose in (b"mask", b"seal") for n in range(3)}
    assert len(seeds) == 6


def test_a_key_of_small_order_is_refused() -> None:
    with pytest.raises(Reject, match="weak-key"):
        agree(b"\5" * 32, public_of(b"\5" * 32), bytes(32), b"mask", bytes(32))


@settings(max_examples=40)
@given(SECRETS, st.integers(1, CELL_MAX), st.data())
def test_any_threshold_shares_give_the_secret(secret: bytes, count: int, data: st.DataObject) -> None:
    threshold = data.draw(st.integers(1, count))
    dealt = shares.split(secret, threshold, count, Key(bytes(32)))
    holders = data.draw(st.permutations(range(count)))[:threshold]
    assert shares.join({holder: dealt[holder] for holder in holders}, threshold) == secret
    if threshold > 1:
        with pytest.raises(Reject, match="too-few-shares"):
            shares.join({holder: dealt[holder] for holder in holders[1:]}, threshold)


@settings(max_examples=40)
@given(
    st.integers(CELL_MIN, CELL_MAX),
    st.integers(-10, 20),
    st.integers(0, 1000),
    st.integers(1, 60),
    st.sampled_from(WIDTHS),
)
def test_rounding_is_within_a_unit_and_sums_do_not_wrap(
    count: int, log2_reach: int, seed: int, size: int, width: Width
) -> None:
    """Also where words travel in fewer bits than they are masked in."""
    grid, most = Grid(2.0**log2_reach, count, width), 2 ** (width - 1)
    assert count * (grid.reach * 2.0**grid.bits + 1) < most <= count * (grid.reach * 2.0 ** (grid.bits + 1) + 1)
    rng = np.random.default_rng(seed)
    values = rng.choice([-1.0, 1.0], (count, size)) * rng.uniform(0.5, 1.5, (count, size)) * grid.reach
    total = np.zeros(size, np.uint32)
    for number, row in enumerate(values):
        mask = Stream(derive(root(seed), "mask", number), 1)
        words = grid.encode(row, derive(root(seed), number))
        apply_streams(words, [mask])
        total += from_bytes(to_bytes(words, width), size, width)
        apply_streams(total, [mask._replace(sign=-1)])
    exact = np.clip(values, -grid.reach, grid.reach).sum(0)
    assert np.abs(grid.decode(total) - exact).max() < count * grid.unit
    assert grid.clipped(values) == int((np.abs(values) > grid.reach).sum())


def test_rounding_is_unbiased() -> None:
    grid = Grid(RANGE_MAX, 16)  # units of 2^-7 and more
    values = np.full(40000, 0.3 * grid.unit)
    mean = grid.decode(grid.encode(values, root(2))).mean() / grid.unit
    assert abs(mean - 0.3) < 5 * (0.21 / 40000) ** 0.5


def test_what_is_not_finite_does_not_leave() -> None:
    for bad in (np.nan, np.inf, -np.inf):
        with pytest.raises(ValueError, match="finite"):
            Grid(8.0, 4).encode([0.0, bad], root(1))


def test_a_range_out_of_bounds_is_a_configuration_error() -> None:
    for reach in (0.0, -1.0, float("nan"), 2.0**21):
        with pytest.raises(ConfigError, match="expected a range"):
            Grid(reach, 4)


@settings(max_examples=60)
@given(st.integers(0, 2000), st.integers(1, CELL_MAX))
def test_slices_cover_each_word_once(size: int, count: int) -> None:
    found = slices(size, count)
    assert [n for part in found for n in part] == list(range(size))
    assert all(part.start % 4 == 0 for part in found if len(part))


@settings(max_examples=40)
@given(st.integers(CELL_MIN, CELL_MAX), st.data())
def test_every_slice_has_one_heir_that_is_there(count: int, data: st.DataObject) -> None:
    dealers = [NodeId(bytes([n]) * 32) for n in range(count)]
    alive = data.draw(st.lists(st.sampled_from(dealers), min_size=1, unique=True))
    found = heirs(dealers, alive)
    assert sorted(number for numbers in found.values() for number in numbers) == list(range(count))
    assert set(found) == set(alive)
    assert all(dealers.index(member) in numbers for member, numbers in found.items())


def test_the_threshold_keeps_two_lists_apart() -> None:
    for size in range(CELL_MIN, CELL_MAX + 1):
        liars = (size - 1) // 3
        assert 2 * threshold_of(size) - liars > size


@pytest.mark.parametrize("size", [CELL_MIN - 1, CELL_MAX + 1])
def test_a_cell_that_is_too_small_or_too_large(size: int) -> None:
    with pytest.raises(ConfigError, match="secure cell: expected 3 to 16 members"):
        Cell(tuple(NodeId(bytes([n]) * 32) for n in range(size)), bytes(32), 0)


def test_words_are_little_endian_and_of_the_length_said() -> None:
    words = np.array([1, 2**32 - 1], np.uint32)
    assert to_bytes(words) == bytes([1, 0, 0, 0, 255, 255, 255, 255])
    assert np.array_equal(from_bytes(to_bytes(words), 2), words)
    with pytest.raises(Reject, match="expected 12 bytes"):
        from_bytes(to_bytes(words), 3)
