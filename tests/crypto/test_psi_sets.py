"""Sets of tags: intersection equals a plain join, in one order; orders and padding follow the key."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from p2pfl.crypto.psi import PAD_BYTES, has_doubles, intersect, padding, permutation, tags_of

members = st.lists(st.integers(0, 30), unique=True, max_size=20)


def tags(numbers: list[int]) -> np.ndarray:
    """A tag for each number: equal first halves for some, so that both halves count."""
    return np.array([[n % 3, n] for n in numbers], np.uint64).reshape(-1, 2)


@settings(max_examples=100)
@given(st.lists(members, min_size=2, max_size=5))
def test_intersection_is_the_plain_join_in_ascending_order(sets: list[list[int]]) -> None:
    found = intersect([tags(s) for s in sets])
    values = [[s[i] for i in places] for s, places in zip(sets, found, strict=True)]
    assert values[0] == sorted(set.intersection(*map(set, sets)), key=lambda n: (n % 3, n))
    assert all(v == values[0] for v in values)


def test_doubles_are_seen() -> None:
    assert has_doubles(tags([1, 4, 1]))
    assert not has_doubles(tags([1, 4, 7]))
    assert not has_doubles(tags([1]))
    assert not has_doubles(tags([]))


def test_a_tag_is_the_first_half_of_a_point() -> None:
    blob = bytes(range(64))
    assert tags_of(blob).astype(">u8").tobytes() == blob[:16] + blob[32:48]


@pytest.mark.parametrize("n", [0, 1, 2, 1000])
def test_orders_are_permutations_that_follow_the_key(n: int) -> None:
    order = permutation(n, bytes(32))
    assert sorted(order.tolist()) == list(range(n))
    assert order.tolist() == permutation(n, bytes(32)).tolist()
    if n > 2:
        assert order.tolist() != permutation(n, b"\1" * 32).tolist()


def test_padding_is_distinct_and_follows_the_key() -> None:
    ours, theirs = padding(50, bytes(32)), padding(50, b"\1" * 32)
    assert len({*ours, *theirs}) == 100
    assert all(len(pad) == len(b"\0pad") + PAD_BYTES for pad in ours)
