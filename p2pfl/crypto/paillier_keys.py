"""Keys of Paillier's cryptosystem: made, checked, as bytes. Knows primes; knows no ciphertext, password or file.

A public key is n = pq alone, with g = n + 1: what every library for this scheme understands. The primes are drawn as
Damgard, Jurik and Nielsen want them (p = q = 3 mod 4, gcd(p - 1, q - 1) = 2), so that the squares modulo n form one
cyclic group and an obfuscator may be a random power of one element.
Source: Paillier 1999; Damgard, Jurik, Nielsen 2010, section 4.

Numbers typed `int` here are gmpy2.mpz at run time. gmpy2 does not work in constant time: who decrypts for others
answers whole batches, never one value.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import TypeAlias

from p2pfl.crypto.paillier_numbers import big, big_from_bytes, gcd, invert, is_power, is_prime, primorial
from p2pfl.errors import ConfigError, Reject

Entropy: TypeAlias = Callable[[int], bytes]
"""That many secret bytes, none of them ever again: os.urandom, or a `Stream` of a derived key."""

KEY_BITS = (2048, 3072, 4096)
"""Sizes of n: 112, 128 and about 150 bits of security."""

_ROUNDS = 40  # of Miller and Rabin's test: a composite passes with a chance below 2^-80


_SMALL = primorial(1 << 12)


@dataclass(frozen=True, slots=True)
class PublicKey:
    """n, odd, of one of `KEY_BITS`. Raises ConfigError."""

    n: int

    def __post_init__(self) -> None:
        if self.n.bit_length() not in KEY_BITS or not self.n & 1:
            raise ConfigError(f"expected an odd modulus of {_sizes()} bits, got {self.n.bit_length()} bits")

    @property
    def bits(self) -> int:
        return int(self.n.bit_length())

    @property
    def modulus(self) -> int:
        """n squared: ciphertexts are units modulo this."""
        return self.n * self.n

    @property
    def ciphertext_bytes(self) -> int:
        return self.bits // 4

    def to_bytes(self) -> bytes:
        """n, big-endian."""
        return int(self.n).to_bytes(self.bits // 8, "big")


@dataclass(frozen=True)
class PrivateKey:
    """The two primes, each of half the bits of n. Raises ConfigError unless they are a key."""

    p: int
    q: int

    def __post_init__(self) -> None:
        if self.p == self.q or self.p.bit_length() != self.q.bit_length():
            raise ConfigError("expected two different primes of one size for a private key")
        if not (is_prime(self.p, _ROUNDS) and is_prime(self.q, _ROUNDS)):
            raise ConfigError("expected two primes for a private key, got a number that is none")
        self.public  # noqa: B018  # checks the size of n

    def __repr__(self) -> str:
        return f"PrivateKey(<{self.public.bits} bits>)"

    @cached_property
    def public(self) -> PublicKey:
        return PublicKey(big(self.p) * big(self.q))

    @cached_property
    def lift(self) -> int:
        """(p^2)^-1 mod q^2, for the Chinese remainder theorem modulo n^2."""
        return invert(self.p**2, self.q**2)

    @cached_property
    def h_p(self) -> int:
        """L_p(g^(p-1) mod p^2)^-1 mod p = (-q)^-1 mod p. Source: Paillier 1999, section 7."""
        return invert(-self.q % self.p, self.p)

    @cached_property
    def h_q(self) -> int:
        return invert(-self.p % self.q, self.q)

    @cached_property
    def p_inverse(self) -> int:
        """p^-1 mod q."""
        return invert(self.p, self.q)


def generate(bits: int, entropy: Entropy) -> PrivateKey:
    """A new key of `bits` bits. Raises ConfigError for other sizes than `KEY_BITS`. About half a second at 2048."""
    if bits not in KEY_BITS:
        raise ConfigError(f"expected a Paillier key of {_sizes()} bits, got {bits}")
    p = _draw_prime(bits // 2, entropy)
    while True:
        q = _draw_prime(bits // 2, entropy)
        if p != q and gcd(p - 1, q - 1) == 2:
            return PrivateKey(p, q)


def read_public(raw: bytes) -> PublicKey:
    """A partner's public key. Reject unless its size is one of `KEY_BITS` and n looks like a product of large primes.

    That n is not made to be harmful cannot be seen: the partner is trusted to have made a key as `generate` does.
    """
    if len(raw) * 8 not in KEY_BITS:
        raise Reject("paillier-key", f"expected a modulus of {_sizes()} bits, got {len(raw)} bytes")
    n = big_from_bytes(raw, "big")
    if n.bit_length() != len(raw) * 8 or gcd(n, _SMALL) != 1:
        raise Reject("paillier-key", "expected a product of two large primes, got a modulus with a small factor")
    if is_prime(n, _ROUNDS) or is_power(n):
        raise Reject("paillier-key", "expected a product of two large primes, got a prime or a power")
    return PublicKey(n)


def _draw_prime(bits: int, entropy: Entropy) -> int:
    """A prime of `bits` bits with its two highest and two lowest bits set: products of two have 2 * bits bits."""
    ends = big(0b11) << (bits - 2) | 0b11
    while True:
        candidate = big_from_bytes(entropy(bits // 8), "big") | ends
        if gcd(candidate, _SMALL) == 1 and is_prime(candidate, _ROUNDS):
            return candidate


def _sizes() -> str:
    return ", ".join(map(str, KEY_BITS[:-1])) + f" or {KEY_BITS[-1]}"
