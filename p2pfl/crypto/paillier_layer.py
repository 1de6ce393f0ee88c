"""A matrix product with one factor hidden: the linear layer between parties. Knows matrices; no message and no model.

One side (the owner) holds a key and a matrix M (J, N), and sends it encrypted, packed along N. The other side knows K
(J, O) and computes [K^T M] by simultaneous powers, adds a mask r and a fresh obfuscator. The owner decrypts, adds what
it alone knows, returns; the other takes r away. The owner has seen a uniform value, the other the product and nothing
else of M; neither sees the other's matrix.

    forward            M = x^T (inputs x batch)   K = W (inputs x outputs)      -> z^T = W^T x^T, packed along the batch
    weight gradient    M = x (batch x inputs)     K = dz (batch x outputs)      -> dW^T = dz^T x, along the inputs
    input gradient     M = W^T (outputs x inputs) K = dz^T (outputs x batch)    -> dx = dz W^T, along the inputs

The share that the owner adds makes the result hold for weights that neither side knows: the label holder has W - E, the
owner E, and z = x (W - E) + x E. In the weight gradient the share is fresh noise, which the owner also adds to E.
Bounds are checked on every matrix before it is encrypted and on every sum after it is opened.
Source: Zhang and Zhu 2020 (arXiv 2007.06849). Differs in: masks hide, being uniform in 2^40 times the bound; exponents
are public and fixed; values are packed.

Legend: S slots of a packed integer, P = ceil(N / S); a hidden matrix is J rows of P ciphertexts.
"""

from collections.abc import Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from p2pfl.crypto import paillier
from p2pfl.crypto.packing import MASK_ROOM_BITS, SECURITY_BITS, SLOT_BITS, Fixed, Slots, decode
from p2pfl.crypto.paillier import Encryptor
from p2pfl.crypto.paillier_keys import Entropy, PrivateKey, PublicKey
from p2pfl.crypto.powers import products_of_powers
from p2pfl.errors import ConfigError

Hidden: TypeAlias = list[list[int]]
"""(J, P) ciphertexts."""

MASKED_BITS_MAX = 52
"""Sums are below this power of two: they stay exact in doubles, and with a mask fit the widest slot."""


@dataclass(frozen=True, slots=True)
class Product:
    """How K^T M is encoded: M and K in fixed point, and sums of at most `terms` = J products. Raises ConfigError.

    With `key_bits` this fixes every size; both sides take it from the job's document.
    """

    hidden: Fixed
    known: Fixed
    terms: int
    key_bits: int = 2048

    def __post_init__(self) -> None:
        if self.terms < 1 or self.sum_bits > MASKED_BITS_MAX:
            raise ConfigError(
                f"expected encrypted sums below 2^{MASKED_BITS_MAX}: {self.terms} terms of "
                f"{self.hidden.bits} + {self.known.bits} binary places need 2^{self.sum_bits}; "
                "use fewer columns or fewer places"
            )

    @property
    def bits(self) -> int:
        """Binary places of the result."""
        return self.hidden.bits + self.known.bits

    @property
    def sum_bits(self) -> int:
        """|K^T M| plus a share as large stays below 2^this."""
        return self.hidden.magnitude_bits + self.known.magnitude_bits + (self.terms - 1).bit_length() + 1

    @property
    def slots(self) -> Slots:
        """The narrowest that have room for a mask."""
        needed = self.sum_bits + SECURITY_BITS + MASK_ROOM_BITS
        return Slots(next(bits for bits in SLOT_BITS if bits >= needed), self.key_bits)


@dataclass(frozen=True, slots=True)
class Masks:
    """What `multiply` has added, (O * P) packed: secret, of use once, kept by who computed until the answer comes."""

    rows: list[int]


def encrypt_matrix(encryptor: Encryptor, product: Product, matrix: ArrayLike, what: str = "values") -> bytes:
    """The owner's M (J, N) as J * P ciphertexts. Raises ConfigError, naming the bound, if a value is too large."""
    rows = product.hidden.encode(matrix, what)
    _check_terms(product, len(rows))
    packed = [whole for row in rows for whole in product.slots.pack(row)]
    return paillier.to_bytes(encryptor.public, paillier.encrypt(encryptor, packed))


def read_matrix(public: PublicKey, product: Product, blob: bytes, shape: tuple[int, int]) -> Hidden:
    """The other side's M of that shape (J, N). Reject another size or what is no ciphertext."""
    wide = product.slots.packed(shape[1])
    flat = paillier.from_bytes(public, blob, shape[0] * wide)
    return [flat[at : at + wide] for at in range(0, len(flat), wide)]


def add_matrix(public: PublicKey, product: Product, hidden: Hidden, matrix: ArrayLike) -> Hidden:
    """[M + matrix], of M's shape; M's bound must hold for the sum. Not refreshed: for what is multiplied next."""
    rows = product.hidden.encode(matrix, "weights")
    added = [product.slots.pack(row) for row in rows]
    return [paillier.add_known(public, row, more) for row, more in zip(hidden, added, strict=True)]


def multiply(
    encryptor: Encryptor,
    product: Product,
    hidden: Hidden,
    known: ArrayLike,
    entropy: Entropy,
    processes: Executor | None = None,
) -> tuple[bytes, Masks]:
    """[K^T M + r] as O * P fresh ciphertexts, and r. K is (J, O), `hidden` (J, P). `processes` share the columns."""
    exponents = product.known.encode(known, "weights or gradients")
    _check_terms(product, len(exponents))
    sums = _sums(encryptor.public, hidden, exponents, processes)
    num = len(sums) * product.slots.count
    masks = product.slots.masks(num, product.sum_bits, entropy)
    masked = paillier.add_known(encryptor.public, sums, masks)
    return paillier.to_bytes(encryptor.public, paillier.refresh(encryptor, masked)), Masks(masks)


def multiply_open(
    encryptor: Encryptor, product: Product, hidden: Hidden, known: ArrayLike, processes: Executor | None = None
) -> bytes:
    """[K^T M] as O * P fresh ciphertexts, without a mask: for a result that the owner is to have."""
    exponents = product.known.encode(known, "weights or gradients")
    _check_terms(product, len(exponents))
    sums = _sums(encryptor.public, hidden, exponents, processes)
    return paillier.to_bytes(encryptor.public, paillier.refresh(encryptor, sums))


def open_masked(
    key: PrivateKey,
    product: Product,
    blob: bytes,
    shape: tuple[int, int],
    share: ArrayLike | None = None,
    threads: Executor | None = None,
) -> bytes:
    """The owner's answer: K^T M + r + share, O * P integers. shape is (O, N); the share (O, N) is in the result's unit.

    Reject what is no ciphertext. Raises ConfigError if the share is larger than the sums may be.
    """
    packed = _decrypted(key, product, blob, shape, threads)
    if share is not None:
        bound = Fixed(product.bits, 2.0 ** (product.sum_bits - 1 - product.bits))
        rows = bound.encode(share, "noise or the noise's part of the layer").reshape(shape)
        added = [whole for row in rows for whole in product.slots.pack(row)]
        packed = [a + b for a, b in zip(packed, added, strict=True)]
    limit = 1 << (product.key_bits - 1)
    return product.slots.to_bytes([v % limit for v in packed])


def unmask(product: Product, blob: bytes, masks: Masks, shape: tuple[int, int]) -> NDArray[np.float64]:
    """K^T M + share, (O, N), from the owner's answer. Reject if out of bounds: another key, or a changed answer."""
    slots = product.slots
    wide = slots.packed(shape[1])
    packed = slots.from_bytes(blob, shape[0] * wide * slots.count)
    return fractions(product, [v - m for v, m in zip(packed, masks.rows, strict=True)], shape)


def open_product(
    key: PrivateKey, product: Product, blob: bytes, shape: tuple[int, int], threads: Executor | None = None
) -> NDArray[np.float64]:
    """K^T M, (O, N), of `multiply_open`, for the owner of the key. Reject if it is out of bounds."""
    return fractions(product, _decrypted(key, product, blob, shape, threads), shape)


def _sums(public: PublicKey, hidden: Hidden, exponents: NDArray[np.int64], processes: Executor | None) -> list[int]:
    """[K^T M], O * P, the P of one output after another."""
    columns = [list(column) for column in zip(*hidden, strict=True)]
    wide = len(columns)
    args = (columns, [exponents] * wide, [public.modulus] * wide)
    found: list[list[int]] = list((map if processes is None else processes.map)(products_of_powers, *args))
    return [found[p][o] for o in range(exponents.shape[1]) for p in range(wide)]


def _decrypted(
    key: PrivateKey, product: Product, blob: bytes, shape: tuple[int, int], threads: Executor | None
) -> list[int]:
    num = shape[0] * product.slots.packed(shape[1])
    return paillier.decrypt(key, paillier.from_bytes(key.public, blob, num), threads)


def fractions(product: Product, packed: Sequence[int], shape: tuple[int, int]) -> NDArray[np.float64]:
    """(O, N) sums from O * P unmasked integers. Reject those out of bounds."""
    wide = product.slots.packed(shape[1])
    rows = [
        product.slots.unpack(packed[o * wide : (o + 1) * wide], shape[1], product.sum_bits) for o in range(shape[0])
    ]
    return decode(np.array(rows, np.int64).reshape(shape), product.bits)


def _check_terms(product: Product, terms: int) -> None:
    if terms > product.terms:
        raise ConfigError(f"expected a matrix of at most {product.terms} rows (columns of the layer), got {terms}")
