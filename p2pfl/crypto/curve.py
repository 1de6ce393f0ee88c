"""Curve25519 by its x-coordinates: texts onto the curve, points to secret powers. Knows points; no party and no set.

A point is its x-coordinate u in 32 bytes, little-endian (RFC 7748). Half of all u lie on y^2 = u^3 + A u^2 + u,
the other half on its twist. Hashing to any u at all would show in which half an id fell, one bit of it under every key;
so an id is hashed again until it falls on the curve (2 tries on average). That time depends on the id, and is spent by
its owner alone, before anything is sent.

A scalar is 32 secret bytes. X25519 clamps it, so it is a multiple of 8: what comes out lies in the subgroup of prime
order whatever came in, and (P^a)^b = (P^b)^a.
Source: RFC 7748, sections 5 and 6.1; try-and-increment is the oldest hash to a curve (Boneh, Lynn, Shacham 2001, 3.3).
"""

import hashlib
from collections.abc import Sequence

from nacl.bindings import crypto_scalarmult
from nacl.exceptions import RuntimeError as NaclError

from p2pfl.errors import ConfigError, Reject

try:
    import gmpy2
except ModuleNotFoundError as missing:
    raise ConfigError("vertical learning needs gmpy2: pip install 'p2pfl-node[vertical]'") from missing

POINT_BYTES = 32
SCALAR_BYTES = 32
PRIME = 2**255 - 19
A = 486662

_LOW_255 = 2**255 - 1
_PREFIX = b"p2pfl/hash-to-curve/1\0"


def hash_to_curve(items: Sequence[bytes], domain: bytes) -> bytes:
    """A point for every item, joined. Equal items of one `domain` give equal points; nobody knows their logarithms."""
    start = hashlib.sha256(_PREFIX + len(domain).to_bytes(4, "big") + domain)
    return b"".join(_on_curve(start.copy(), item) for item in items)


def raise_points(blob: bytes, scalar: bytes) -> bytes:
    """Every point of the blob to the power of the scalar, in order. Reject if one is not a point of the curve."""
    check_points(blob)
    return _raise(blob, scalar)


def blind(items: Sequence[bytes], domain: bytes, scalar: bytes) -> bytes:
    """`hash_to_curve`, then the power of the scalar: shows nothing about an item to who lacks the scalar."""
    return _raise(hash_to_curve(items, domain), scalar)


def check_points(blob: bytes) -> None:
    """Reject unless the blob is whole points in their only encoding, all on the curve rather than its twist."""
    if len(blob) % POINT_BYTES:
        raise Reject("psi-point", f"expected whole points of {POINT_BYTES} bytes, got {len(blob)} bytes")
    from_bytes, jacobi, number = int.from_bytes, gmpy2.jacobi, gmpy2.mpz
    for at in range(0, len(blob), POINT_BYTES):
        u = number(from_bytes(blob[at : at + POINT_BYTES], "little"))
        if u >= PRIME or jacobi(u * (u * (u + A) + 1), PRIME) != 1:
            raise Reject("psi-point", f"expected points of the curve, got another number in place {at // POINT_BYTES}")


def _on_curve(start: "hashlib._Hash", item: bytes) -> bytes:
    """The first of SHA-256(domain, length, item, 0), (.., 1), ... that is the x-coordinate of a point of the curve."""
    start.update(len(item).to_bytes(4, "big") + item)
    tries = 0
    while True:
        hasher = start.copy()
        hasher.update(tries.to_bytes(4, "big"))
        u = gmpy2.mpz(int.from_bytes(hasher.digest(), "little") & _LOW_255)
        if u < PRIME and gmpy2.jacobi(u * (u * (u + A) + 1), PRIME) == 1:
            return int(u).to_bytes(POINT_BYTES, "little")
        tries += 1


def _raise(blob: bytes, scalar: bytes) -> bytes:
    try:
        return b"".join(
            crypto_scalarmult(scalar, blob[at : at + POINT_BYTES]) for at in range(0, len(blob), POINT_BYTES)
        )
    except NaclError as error:  # X25519 refuses what becomes zero: a point of small order hides nothing
        raise Reject("psi-point", "expected points of large order, got one of order 8 or less") from error
