"""Points: on the curve, never on the twist; powers commute; what is no point is refused."""

import hashlib
import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from p2pfl.crypto.curve import PRIME, A, blind, check_points, hash_to_curve, raise_points
from p2pfl.errors import Reject

VECTORS = json.loads((Path(__file__).parent.parent / "vectors" / "alignment.json").read_text())
NINE = (9).to_bytes(32, "little")
scalars = st.binary(min_size=32, max_size=32)


def is_on_curve(u: int) -> bool:
    """By Euler's criterion, as a second implementation."""
    return pow(u**3 + A * u**2 + u, (PRIME - 1) // 2, PRIME) == 1


def test_powers_are_x25519() -> None:
    """RFC 7748, section 5.2: the first step of the iterated vector."""
    assert raise_points(NINE, NINE).hex() == "422c8e7a6227d7bca1350b3e2bb7279f7897b87bb6854b783c60e80311ae3079"


@settings(max_examples=40)
@given(st.binary(max_size=40), st.binary(max_size=8), scalars, scalars)
def test_ids_fall_on_the_curve_and_powers_commute(item: bytes, domain: bytes, a: bytes, b: bytes) -> None:
    point = hash_to_curve([item], domain)
    assert int.from_bytes(point, "little") < PRIME
    assert is_on_curve(int.from_bytes(point, "little"))
    assert raise_points(raise_points(point, a), b) == raise_points(raise_points(point, b), a)
    assert blind([item], domain, a) == raise_points(point, a)
    check_points(raise_points(point, a))


@pytest.mark.parametrize("case", VECTORS["hash_to_curve"], ids=lambda case: case["item"] or "empty")
def test_hashes_to_the_curve_stay_what_they_are(case: dict[str, str]) -> None:
    item, domain = case["item"].encode(), case["domain"].encode()
    assert hash_to_curve([item], domain).hex() == case["point"]
    assert by_hand(item, domain).hex() == case["point"]


def by_hand(item: bytes, domain: bytes) -> bytes:
    tries = 0
    while True:
        data = (
            b"p2pfl/hash-to-curve/1\0" + len(domain).to_bytes(4, "big") + domain + len(item).to_bytes(4, "big") + item
        )
        u = int.from_bytes(hashlib.sha256(data + tries.to_bytes(4, "big")).digest(), "little") % 2**255
        if u < PRIME and is_on_curve(u):
            return u.to_bytes(32, "little")
        tries += 1


def test_domains_and_lengths_separate() -> None:
    assert hash_to_curve([b"a"], b"bc") != hash_to_curve([b"ca"], b"b")
    assert hash_to_curve([b"a", b"b"], b"") == hash_to_curve([b"a"], b"") + hash_to_curve([b"b"], b"")


@pytest.mark.parametrize(
    ("point", "says"),
    [
        (bytes(31), "whole points"),
        (bytes(32), "points of the curve"),
        ((2).to_bytes(32, "little"), "points of the curve"),  # on the twist
        ((PRIME + 9).to_bytes(32, "little"), "points of the curve"),  # 9 in a second encoding
        ((9 + 2**255).to_bytes(32, "little"), "points of the curve"),  # 9 with the unused bit
        (bytes([255] * 32), "points of the curve"),
    ],
)
def test_what_is_no_point_is_refused(point: bytes, says: str) -> None:
    with pytest.raises(Reject, match=says):
        check_points(NINE + point)
    with pytest.raises(Reject, match=says):
        raise_points(NINE + point, NINE)


@pytest.mark.parametrize(
    "u", [1, 325606250916557431795983626356110631294008115727848805560023387167927233504], ids=["order 4", "order 8"]
)
def test_points_of_small_order_are_refused(u: int) -> None:
    """Whatever the power, it would come out as the neutral element, and hide nothing."""
    assert is_on_curve(u)
    with pytest.raises(Reject, match="large order"):
        raise_points(u.to_bytes(32, "little"), NINE)


@settings(max_examples=200)
@given(st.binary(max_size=96))
def test_any_bytes_are_points_or_refused(blob: bytes) -> None:
    try:
        raise_points(blob, NINE)
    except Reject:
        return
    assert len(blob) % 32 == 0
    assert all(is_on_curve(int.from_bytes(blob[i : i + 32], "little")) for i in range(0, len(blob), 32))
