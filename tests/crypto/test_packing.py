"""Slots and fixed point: what is unpacked is the arithmetic on what was packed; what does not fit is refused."""

import os

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from p2pfl.crypto.packing import SECURITY_BITS, Fixed, Slots, decode
from p2pfl.errors import ConfigError, Reject

KINDS = [Slots(width, bits) for bits in (2048, 3072) for width in (64, 72, 88, 96)]
numbers = arrays(np.int64, st.integers(0, 70), elements=st.integers(-(2**40), 2**40))


def test_slots_fill_a_key() -> None:
    assert [s.count for s in KINDS] == [31, 28, 23, 21, 47, 42, 34, 31]


@settings(max_examples=40, deadline=None)
@given(st.sampled_from(KINDS), numbers, st.integers(-(2**20), 2**20))
def test_sums_and_multiples_are_those_of_every_slot(slots: Slots, values: np.ndarray, factor: int) -> None:
    packed = slots.pack(values)
    assert (
        slots.unpack([p * factor + q for p, q in zip(packed, slots.pack(values), strict=True)], len(values))
        == values * factor + values
    ).all()


@settings(max_examples=40, deadline=None)
@given(st.sampled_from([88, 96]), arrays(np.int64, st.integers(0, 50), elements=st.integers(-(2**46), 2**46 - 1)))
def test_a_mask_hides_and_comes_off(width: int, values: np.ndarray) -> None:
    slots = Slots(width, 2048)
    masks = slots.masks(len(values), 46, os.urandom)
    masked = [p + m for p, m in zip(slots.pack(values), masks, strict=True)]
    assert all(m > 0 and m.bit_length() < 2047 for m in masked)
    travelled = slots.from_bytes(slots.to_bytes(masked), len(values))
    assert (slots.unpack([t - m for t, m in zip(travelled, masks, strict=True)], len(values), 46) == values).all()


def test_a_mask_is_forty_bits_wider_than_what_it_hides() -> None:
    slots = Slots(96, 2048)
    low = slots.masks(21 * 50, 48, lambda n: bytes(n))
    high = slots.masks(21 * 50, 48, lambda n: b"\xff" * n)
    spread = (high[0] - low[0]) & (2**96 - 1)
    assert spread == 2 ** (48 + SECURITY_BITS) - 1
    assert low[0] & (2**96 - 1) == 2**49


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ConfigError, match="54 bits at most to mask, got 55"):
        Slots(96, 2048).masks(1, 55, os.urandom)
    with pytest.raises(ConfigError, match="22 bits at most to mask, got 23"):
        Slots(64, 2048).masks(1, 23, os.urandom)
    with pytest.raises(ConfigError, match="slots of 64, 72, 80, 88, 96 bits, got 70"):
        Slots(70, 2048)
    with pytest.raises(ValueError, match=r"below 2\^62"):
        Slots(64, 2048).pack(np.array([2**62]))


@pytest.mark.parametrize("slots", KINDS)
def test_a_value_past_the_agreed_bound_is_the_other_sides_fault(slots: Slots) -> None:
    at_bound = np.array([2**20 - 1, -(2**20)])
    assert (slots.unpack(slots.pack(at_bound), 2, 20) == at_bound).all()
    for past in (2**20, -(2**20) - 1, 2**61):
        with pytest.raises(Reject, match="packing-range"):
            slots.unpack(slots.pack(np.array([past])), 1, 20)
    for whole in (1 << 2050, -(1 << 2040), 1 << 3071):
        with pytest.raises(Reject, match="packing-range"):
            slots.unpack([whole], 1, 20)


def test_another_number_of_bytes_is_refused() -> None:
    with pytest.raises(Reject, match="expected 2 integers of 256 bytes, got 300"):
        Slots(96, 2048).from_bytes(bytes(300), 22)


@settings(max_examples=40)
@given(arrays(np.float64, 9, elements=st.floats(-16, 16)))
def test_fixed_point_is_the_nearest(values: np.ndarray) -> None:
    assert np.abs(decode(Fixed(16, 16.0).encode(values), 16) - values).max() <= 2**-17


def test_fixed_point_names_its_bound() -> None:
    fixed = Fixed(16, 16.0)
    assert fixed.magnitude_bits == 20
    with pytest.raises(ConfigError, match=r"expected weights within 16 of 0 .*, got 16\.5"):
        fixed.encode([1.0, -16.5], "weights")
    with pytest.raises(ConfigError, match="got nan"):
        fixed.encode([float("nan")])
    with pytest.raises(ConfigError, match="52 bits at most"):
        Fixed(50, 8.0)
    assert fixed.clip([99.0]).tolist() == [16.0]
