"""A hidden number for every row of a batch, and its sums against known columns. Knows columns; no model and no message.

Where every row is multiplied by another number, rows cannot share a ciphertext: here each has its own. The sums over
the rows are then folded, one slot for each known column, so that few ciphertexts are masked, made fresh and decrypted.
They are opened and unmasked as a layer of one output (`paillier_layer.open_masked`, `unmask`, shape (1, F)).

Legend: B rows, F known columns.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from p2pfl.crypto import paillier
from p2pfl.crypto.paillier import Encryptor
from p2pfl.crypto.paillier_keys import Entropy, PublicKey
from p2pfl.crypto.paillier_layer import Masks, Product
from p2pfl.crypto.paillier_numbers import big, powmod
from p2pfl.crypto.powers import products_of_powers
from p2pfl.errors import ConfigError


def encrypt_column(encryptor: Encryptor, product: Product, values: ArrayLike) -> bytes:
    """(B,) values in `product.hidden`'s fixed point, one ciphertext each. Raises ConfigError naming the bound."""
    return paillier.to_bytes(encryptor.public, paillier.encrypt(encryptor, _encoded(product, values)))


def read_column(public: PublicKey, blob: bytes, rows: int) -> list[int]:
    """B ciphertexts of somebody else. Reject another number, or what is no ciphertext."""
    return paillier.from_bytes(public, blob, rows)


def add_column(encryptor: Encryptor, product: Product, column: list[int], values: ArrayLike) -> list[int]:
    """[column + values], made fresh: who knows the first and sees the second learns nothing of the values."""
    own = paillier.encrypt(encryptor, _encoded(product, values))
    return paillier.add(encryptor.public, column, own)


def add_columns(public: PublicKey, left: list[int], right: list[int]) -> list[int]:
    """[left + right]. Not made fresh."""
    return paillier.add(public, left, right)


def encrypt_sum(encryptor: Encryptor, product: Product, value: float) -> bytes:
    """One number in the unit of the products' sums, to be added to one of them."""
    return paillier.to_bytes(encryptor.public, paillier.encrypt(encryptor, [_sum_encoded(product, value)]))


def multiply_columns(
    encryptor: Encryptor,
    product: Product,
    column: list[int],
    known: NDArray[np.float64],
    entropy: Entropy,
    last: list[int] | None = None,
) -> tuple[bytes, Masks]:
    """[known^T column + r], F sums folded into P fresh ciphertexts, and r. known is (B, F).

    `last`: ciphertexts of numbers in the sums' unit, added to the last of them.
    """
    exponents = product.known.encode(known, "features")
    if len(exponents) > product.terms:
        raise ConfigError(f"expected at most {product.terms} rows in a batch, got {len(exponents)}")
    n2 = encryptor.public.modulus
    sums = products_of_powers(column, exponents, n2)
    for one in last or []:
        sums[-1] = sums[-1] * one % n2
    folded = _fold(sums, product, n2)
    masks = product.slots.masks(len(sums), product.sum_bits, entropy)
    masked = paillier.add_known(encryptor.public, folded, masks)
    return paillier.to_bytes(encryptor.public, paillier.refresh(encryptor, masked)), Masks(masks)


def _fold(sums: list[int], product: Product, n2: int) -> list[int]:
    """Ciphertexts of one number each into ciphertexts of S slots, by Horner's rule: the highest slot first."""
    slots = product.slots
    shift = big(1) << slots.width
    folded = []
    for at in range(0, len(sums), slots.count):
        whole = big(1)
        for one in reversed(sums[at : at + slots.count]):
            whole = powmod(whole, shift, n2) * one % n2
        folded.append(whole)
    return folded


def _encoded(product: Product, values: ArrayLike) -> list[int]:
    return [int(v) for v in product.hidden.encode(values, "scores")]


def _sum_encoded(product: Product, value: float) -> int:
    bound = 2.0 ** (product.sum_bits - 1 - product.bits)
    if not abs(value) <= bound:
        raise ConfigError(f"expected a sum within {bound:g} of 0 (what encryption has room for), got {value:g}")
    return round(value * 2.0**product.bits)
