"""Shamir's secret sharing of 32-byte secrets over GF(2^256 + 297). Knows numbers; no member, key or network.

Any t of n shares give the secret back; any t - 1 say nothing of it, whatever the others can compute. The field is
larger than every secret, so a secret is a field element as it is. Source: Shamir 1979.
"""

from collections.abc import Mapping
from functools import lru_cache

from blake3 import blake3

from p2pfl.core.noise import Key
from p2pfl.errors import Reject

PRIME = (1 << 256) + 297
SECRET_BYTES = 32
SHARE_BYTES = 33
_WIDE_BYTES = 64
"""A coefficient is drawn from 512 bits: its distance from uniform is below 2^-255."""


def split(secret: bytes, threshold: int, count: int, key: Key) -> list[bytes]:
    """Shares of 33 bytes for holders 0 .. count - 1 (points 1 .. count). Coefficients come from the secret `key`."""
    if len(secret) != SECRET_BYTES or not 1 <= threshold <= count:
        raise ValueError(f"expected 32 bytes and 1 <= t <= n, got {len(secret)} bytes, t = {threshold}, n = {count}")
    raw = blake3(b"p2pfl/secagg/shamir\0", key=key).digest(length=_WIDE_BYTES * threshold)
    drawn = [int.from_bytes(raw[at : at + _WIDE_BYTES], "big") % PRIME for at in range(_WIDE_BYTES, len(raw), 64)]
    coefficients = [int.from_bytes(secret, "big"), *drawn]
    return [_value(coefficients, point).to_bytes(SHARE_BYTES, "big") for point in range(1, count + 1)]


def join(shares: Mapping[int, bytes], threshold: int) -> bytes:
    """The secret from `threshold` of the shares, by holder; the smallest holders are used.

    Raises Reject if there are fewer, or if they are no shares of a 32-byte secret.
    """
    if len(shares) < threshold:
        raise Reject("too-few-shares", f"expected {threshold} shares, got {len(shares)}")
    holders = tuple(sorted(shares)[:threshold])
    values = (int.from_bytes(shares[holder], "big") for holder in holders)
    secret = sum(weight * value for weight, value in zip(_weights(holders), values, strict=True)) % PRIME
    if secret >> (8 * SECRET_BYTES):
        raise Reject("false-shares", "these are no shares of a secret of 32 bytes")
    return secret.to_bytes(SECRET_BYTES, "big")


def _value(coefficients: list[int], point: int) -> int:
    value = 0
    for coefficient in reversed(coefficients):
        value = (value * point + coefficient) % PRIME
    return value


@lru_cache(maxsize=64)
def _weights(holders: tuple[int, ...]) -> tuple[int, ...]:
    """Lagrange's weights of these holders' values for the value at 0; a cell joins many secrets of the same holders."""
    found = []
    for holder in holders:
        above, below = 1, 1
        for other in holders:
            if other != holder:
                above = above * (other + 1) % PRIME
                below = below * (other - holder) % PRIME
        found.append(above * pow(below, -1, PRIME) % PRIME)
    return tuple(found)
