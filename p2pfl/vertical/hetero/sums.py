"""Sealed columns and their sums against known scores: the operations of encrypted regression. Knows keys and bytes; no
turn, no model.

`Sums` is all that the parties of `hetero` need of a cipher. Keys are named by the number of the party that holds them.
What is said by others is checked: Reject for another size, for what is no ciphertext, for values out of bounds.

Legend: B rows, F columns of one party.
"""

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from p2pfl.core.noise import Key
from p2pfl.crypto import paillier_layer as layer
from p2pfl.crypto.paillier_layer import Hidden, Masks, Product
from p2pfl.errors import ConfigError
from p2pfl.vertical.hetero.linear import Floats
from p2pfl.vertical.turns.keys import Keyring, mask_of, sums_fixed


class Held(Protocol):
    """Sealed columns of another party, row by row."""

    def __len__(self) -> int: ...


class Sums(Protocol):
    """One party's view of all keys. Draws what it needs from the key that `turn` was last called with."""

    def turn(self, key: Key) -> None: ...

    def own_key(self) -> bytes:
        """What the others need to seal for me; empty if I hold no key."""

    def check_key(self, raw: bytes) -> None:
        """Somebody's key, or nothing. Reject what is none."""

    def learn_keys(self, keys: Sequence[bytes]) -> None:
        """All parties' keys, by number."""

    def seal_columns(self, key: int, x: Floats) -> bytes:
        """x (n, F)."""

    def hold(self, key: int, blob: bytes, shape: tuple[int, int]) -> Held: ...

    def cross(self, key: int, held: Held, rows: Sequence[int], s: Floats) -> bytes:
        """[X_rows^T s], F sums; s (B,). Fresh: shows nothing of s."""

    def seal_sums(self, key: int, values: Floats) -> bytes:
        """(F,) values in the unit of the sums."""

    def seal_mask(self, key: int, num: int, seed: Key) -> bytes:
        """A mask for `num` sums, drawn from `seed`."""

    def add(self, key: int, blobs: Sequence[bytes], num: int) -> bytes:
        """The sum of sealed vectors of `num` sums each."""

    def open_own(self, blob: bytes, num: int) -> Floats:
        """With my key."""

    def open_masked(self, blob: bytes) -> bytes:
        """With my key, for somebody else: all slots, still masked."""

    def unmask(self, blob: bytes, num: int, seed: Key) -> Floats: ...


class PaillierSums:
    """Sums under Paillier."""

    def __init__(self, product: Product, ring: Keyring) -> None:
        if product.key_bits != ring.key_bits:
            raise ConfigError(f"expected keys of {product.key_bits} bits, got {ring.key_bits}")
        self.product, self.ring = product, ring
        self.turn, self.own_key, self.check_key = ring.turn, ring.own_key, ring.check_key
        self.learn_keys, self.open_masked = ring.learn_keys, ring.open_masked

    def seal_columns(self, key: int, x: Floats) -> bytes:
        step = self.product.terms
        parts = (x[at : at + step] for at in range(0, len(x), step))
        return b"".join(layer.encrypt_matrix(self.ring.by(key), self.product, part, "columns") for part in parts)

    def hold(self, key: int, blob: bytes, shape: tuple[int, int]) -> Hidden:
        return layer.read_matrix(self.ring.public(key), self.product, blob, shape)

    def cross(self, key: int, held: Held, rows: Sequence[int], s: Floats) -> bytes:
        assert isinstance(held, list)
        return layer.multiply_open(self.ring.by(key), self.product, [held[row] for row in rows], s[:, None])

    def seal_sums(self, key: int, values: Floats) -> bytes:
        return self.ring.seal(key, self.product.slots.pack(sums_fixed(self.product).encode(values, "sums")))

    def seal_mask(self, key: int, num: int, seed: Key) -> bytes:
        return self.ring.seal(key, mask_of(self.product, num, seed))

    def add(self, key: int, blobs: Sequence[bytes], num: int) -> bytes:
        return self.ring.add(key, blobs, self.product.slots.packed(num))

    def open_own(self, blob: bytes, num: int) -> Floats:
        found: Floats = layer.open_product(self.ring.private(), self.product, blob, (1, num), self.ring.threads)[0]
        return found

    def unmask(self, blob: bytes, num: int, seed: Key) -> Floats:
        found: Floats = layer.unmask(self.product, blob, Masks(mask_of(self.product, num, seed)), (1, num))[0]
        return found


def pack_floats(values: Floats) -> bytes:
    """Little-endian doubles: how a party writes its own numbers down."""
    raw: bytes = np.ascontiguousarray(values, "<f8").tobytes()
    return raw


def unpack_floats(raw: bytes) -> Floats:
    return np.frombuffer(raw, "<f8").astype(np.float64)
