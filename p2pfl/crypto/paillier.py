"""Paillier's cryptosystem on whole lists: encrypt, add, multiply by known numbers, decrypt. Knows keys and integers; no
slot, fraction or message.

A ciphertext of m under n is (1 + n)^m r modulo n^2, r an n-th power (the obfuscator). Multiplying ciphertexts adds what
is in them, a power multiplies it by the exponent; both modulo n, with m in (-n/2, n/2] read as signed.
Sources: Paillier 1999; Damgard, Jurik, Nielsen 2010, section 4 (obfuscators as h_s^a with a random a of half of n's
bits, h = -y^2 for a random y); compatible with `phe`, which also has g = n + 1.

Differs from the paper in: each encryptor draws its own h, so it need not trust a published one; `exponent_bits` may be
256 by the caller's choice, which rests on discrete logarithms with short exponents in a group of hidden order.

Randomness is handed in (`Entropy`). Nothing here is constant time.
"""

from collections.abc import Iterable, Sequence
from concurrent.futures import Executor
from functools import partial
from typing import Protocol

from p2pfl.crypto.paillier_keys import Entropy, PrivateKey, PublicKey
from p2pfl.crypto.paillier_numbers import big, big_from_bytes, gcd, powmod, powmod_bases
from p2pfl.crypto.powers import FixedBase
from p2pfl.errors import ConfigError, Reject

SHORT_EXPONENT_BITS = 256
_LANE = 16


class Encryptor(Protocol):
    """Makes ciphertexts under one public key, with or without its primes."""

    public: PublicKey

    def obfuscators(self, num: int) -> list[int]:
        """Fresh encryptions of zero."""


class PublicEncryptor:
    """Encrypts with the public key alone. Building the table takes as long as a few hundred encryptions.

    `exponent_bits`: half of n's by default; `SHORT_EXPONENT_BITS` is about 4 times as fast and a stronger assumption.
    """

    def __init__(self, public: PublicKey, entropy: Entropy, exponent_bits: int | None = None) -> None:
        self.public = public
        self._entropy = entropy
        self._size = _exponent_bytes(public, exponent_bits)
        base = powmod(_draw_h(public, entropy), public.n, public.modulus)
        self._table = FixedBase(base, public.modulus, self._size)

    def obfuscators(self, num: int) -> list[int]:
        return [self._table.power(self._entropy(self._size)) for _ in range(num)]


class HolderEncryptor:
    """The same ciphertexts, made faster modulo the squares of the primes and joined (Chinese remainder theorem)."""

    def __init__(self, key: PrivateKey, entropy: Entropy, exponent_bits: int | None = None) -> None:
        self.public = key.public
        self._entropy = entropy
        self._size = _exponent_bytes(key.public, exponent_bits)
        h, n = _draw_h(key.public, entropy), key.public.n
        self._p2, self._q2, self._lift = big(key.p) ** 2, big(key.q) ** 2, big(key.lift)
        self._tables = [FixedBase(powmod(h, n, m), m, self._size) for m in (self._p2, self._q2)]

    def obfuscators(self, num: int) -> list[int]:
        mod_p, mod_q = (table.power for table in self._tables)
        found = []
        for _ in range(num):
            exponent = self._entropy(self._size)
            low = mod_p(exponent)
            found.append(low + self._p2 * ((mod_q(exponent) - low) * self._lift % self._q2))
        return found


def encrypt(encryptor: Encryptor, values: Sequence[int]) -> list[int]:
    """A fresh ciphertext of every value. Raises ConfigError unless |value| < n/2."""
    n, n2 = encryptor.public.n, encryptor.public.modulus
    half = n >> 1
    for value in values:
        if not -half <= value <= half:
            raise ConfigError(f"expected values below n/2 = 2^{half.bit_length()}, got {value.bit_length()} bits")
    return [(1 + v * n) % n2 * r % n2 for v, r in zip(values, encryptor.obfuscators(len(values)), strict=True)]


def refresh(encryptor: Encryptor, ciphertexts: Sequence[int]) -> list[int]:
    """Other ciphertexts of the same values: they show nothing about how the given ones were computed."""
    n2 = encryptor.public.modulus
    return [c * r % n2 for c, r in zip(ciphertexts, encryptor.obfuscators(len(ciphertexts)), strict=True)]


def add(public: PublicKey, left: Sequence[int], right: Sequence[int]) -> list[int]:
    """Ciphertexts of the sums. Not refreshed."""
    n2 = public.modulus
    return [a * b % n2 for a, b in zip(left, right, strict=True)]


def add_known(public: PublicKey, ciphertexts: Sequence[int], values: Sequence[int]) -> list[int]:
    """Ciphertexts of each plus a known value. Not refreshed."""
    n, n2 = public.n, public.modulus
    return [c * (1 + v * n) % n2 for c, v in zip(ciphertexts, values, strict=True)]


def multiply_known(public: PublicKey, ciphertexts: Sequence[int], factors: Sequence[int]) -> list[int]:
    """Ciphertexts of each times a known signed factor. Not refreshed: shows the factor to who knows both values."""
    n2 = public.modulus
    return [powmod(c, k, n2) for c, k in zip(ciphertexts, factors, strict=True)]


def decrypt(key: PrivateKey, ciphertexts: Sequence[int], threads: Executor | None = None) -> list[int]:
    """The values, signed, in (-n/2, n/2]. With threads of `threads` several at once: the powers release the GIL.

    Paillier 1999, section 7: modulo p and q apart, m_p = L_p(c^(p-1) mod p^2) h_p mod p.
    """
    lanes = [ciphertexts[at : at + _LANE] for at in range(0, len(ciphertexts), _LANE)]
    opened = partial(_decrypt_lane, key)
    parts = map(opened, lanes) if threads is None else threads.map(opened, lanes)
    return [value for part in parts for value in part]


def _decrypt_lane(key: PrivateKey, ciphertexts: Sequence[int]) -> list[int]:
    p, q, n = big(key.p), big(key.q), key.public.n
    given = [big(c) for c in ciphertexts]
    mod_p = powmod_bases(given, p - 1, p * p)
    mod_q = powmod_bases(given, q - 1, q * q)
    half = n >> 1
    values = []
    for u, v in zip(mod_p, mod_q, strict=True):
        m_p = (u - 1) // p * key.h_p % p
        m_q = (v - 1) // q * key.h_q % q
        m = m_p + p * ((m_q - m_p) * key.p_inverse % q)
        values.append(m - n if m > half else m)
    return values


def to_bytes(public: PublicKey, ciphertexts: Iterable[int]) -> bytes:
    """All of them joined, each big-endian in twice the bytes of n."""
    size = public.ciphertext_bytes
    return b"".join(int(c).to_bytes(size, "big") for c in ciphertexts)


def from_bytes(public: PublicKey, blob: bytes, num: int) -> list[int]:
    """`num` ciphertexts of somebody else. Reject unless they are that many, and units modulo n squared."""
    size = public.ciphertext_bytes
    if len(blob) != num * size:
        raise Reject("paillier-size", f"expected {num} ciphertexts of {size} bytes, got {len(blob)} bytes in all")
    found = [big_from_bytes(blob[at : at + size], "big") for at in range(0, len(blob), size)]
    n, n2 = public.n, public.modulus
    product = big(1)
    for c in found:
        if c >= n2:
            raise Reject("paillier-group", "expected ciphertexts below n squared, got a larger number")
        product = product * c % n
    if gcd(product, n) != 1:  # one test for all: a product is a unit where all factors are
        raise Reject("paillier-group", "expected units modulo n squared, got a number with a factor of n")
    return found


def _draw_h(public: PublicKey, entropy: Entropy) -> int:
    """-y^2 mod n for a random y: of Jacobi symbol 1, and a generator of all such with overwhelming probability."""
    while True:
        y = big_from_bytes(entropy(public.bits // 8 + 16), "big") % public.n
        if y > 1 and gcd(y, public.n) == 1:
            return -y * y % public.n


def _exponent_bytes(public: PublicKey, exponent_bits: int | None) -> int:
    bits = public.bits // 2 if exponent_bits is None else exponent_bits
    if bits % 8 or not SHORT_EXPONENT_BITS <= bits <= public.bits // 2:
        raise ConfigError(
            f"expected whole bytes of {SHORT_EXPONENT_BITS} to {public.bits // 2} exponent bits, got {exponent_bits}"
        )
    return bits // 8
