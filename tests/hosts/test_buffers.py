"""A buffer is used again when nobody looks at it, and never before."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from p2pfl.core.limits import KIB, MIB
from p2pfl.hosts.buffers import SMALL_BYTES, BufferPool


def home(view: memoryview) -> int:
    return id(view.obj)


def test_a_released_buffer_is_used_again_for_sizes_like_its_own() -> None:
    pool = BufferPool(16 * MIB)
    first = home(pool.take(4 * MIB))
    assert home(pool.take(4 * MIB)) == first
    assert home(pool.take(2 * MIB + 1)) == first
    assert home(pool.take(4 * MIB + 1)) != first


def test_a_buffer_under_a_view_is_left_alone() -> None:
    pool = BufferPool(16 * MIB)
    view = pool.take(MIB)
    kept = home(view)
    part, array = view[10:20], np.frombuffer(view, dtype=np.uint8)
    del view
    assert home(pool.take(MIB)) != kept
    del part
    assert home(pool.take(MIB)) != kept
    del array
    assert kept in {home(v) for v in [pool.take(MIB), pool.take(MIB)]}


def test_the_pool_keeps_its_bound_and_serves_beyond_it() -> None:
    pool = BufferPool(2 * MIB)
    views = [pool.take(MIB) for _ in range(5)]
    assert len({home(v) for v in views}) == 5
    assert sum(len(b) for b in pool._kept) == 2 * MIB
    assert len(pool.take(3 * MIB)) == 3 * MIB
    assert pool._kept == []


def test_at_the_bound_of_small_it_begins_to_pool() -> None:
    pool = BufferPool(MIB)
    pool.take(SMALL_BYTES - 1)
    assert pool._kept == []
    pool.take(SMALL_BYTES)
    assert len(pool._kept) == 1


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 400 * KIB), st.booleans()), max_size=20))
def test_views_that_are_alive_never_overlap_and_have_their_size(takes: list[tuple[int, bool]]) -> None:
    pool = BufferPool(MIB)
    alive: list[tuple[memoryview, int]] = []
    for number, (size, keep) in enumerate(takes):
        view = pool.take(size)
        assert len(view) == size
        assert not view.readonly
        view[:] = bytes([number]) * size
        if keep:
            alive.append((view, number))
        del view
    assert all(bytes(view) == bytes([number]) * len(view) for view, number in alive)
