"""Matrices that one party seals and another multiplies: the operations of a sealed layer. Knows shapes and bytes; no
turn, no model.

`Cipher` is all that level 1 needs of a cipher; under it lie Paillier (here) and CKKS (`crypto/ckks.py`). Keys are named
by the number of the party that holds them. What others say is checked: Reject.

Legend: M (J, N) sealed, K (J, O) known, sums K^T M (O, N).
"""

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from p2pfl.core.noise import Key
from p2pfl.crypto import paillier_layer as layer
from p2pfl.crypto.paillier_layer import Hidden, Masks, Product
from p2pfl.vertical.turns.keys import Keyring, mask_of, sums_fixed

Floats = NDArray[np.float64]
Shape = tuple[int, int]


class Cipher(Protocol):
    def turn(self, key: Key) -> None: ...

    def own_key(self) -> bytes: ...

    def check_key(self, raw: bytes) -> None: ...

    def learn_keys(self, keys: Sequence[bytes]) -> None: ...

    def numbers(self, product: Product) -> int:
        """How many have room in one ciphertext."""

    def seal(self, key: int, product: Product, matrix: Floats, what: str = "values") -> bytes:
        """M. ConfigError, naming the bound, if a value is too large."""

    def seal_sums(self, key: int, product: Product, sums: Floats) -> bytes:
        """(O, N) numbers to be added to sums."""

    def seal_mask(self, key: int, product: Product, shape: Shape, seed: Key) -> bytes:
        """A mask for sums of that shape, drawn from `seed`."""

    def multiply(
        self, key: int, product: Product, sealed: bytes, shape: Shape, known: Floats, plus: Floats | None = None
    ) -> bytes:
        """[K^T (M + plus)], fresh. `shape` is M's."""

    def add(self, key: int, product: Product, blobs: Sequence[bytes], shape: Shape) -> bytes:
        """The sum of sealed sums of that shape."""

    def open_masked(self, blob: bytes) -> bytes:
        """With my key, for somebody else."""

    def open_own(self, product: Product, blob: bytes, shape: Shape) -> Floats:
        """With my key, for me: sums of that shape."""

    def unmask(self, product: Product, blob: bytes, shape: Shape, seed: Key) -> Floats:
        """What `open_masked` gave, without the mask of `seed`."""


class PaillierCipher:
    """A Cipher. `processes`, if given, share the columns of a product; values are packed along N."""

    def __init__(self, ring: Keyring, processes: Any = None) -> None:
        self.ring, self._processes = ring, processes
        self.turn, self.own_key, self.check_key = ring.turn, ring.own_key, ring.check_key
        self.learn_keys, self.open_masked = ring.learn_keys, ring.open_masked

    def numbers(self, product: Product) -> int:
        return product.slots.count

    def seal(self, key: int, product: Product, matrix: Floats, what: str = "values") -> bytes:
        return layer.encrypt_matrix(self.ring.by(key), product, matrix, what)

    def seal_sums(self, key: int, product: Product, sums: Floats) -> bytes:
        rows = sums_fixed(product).encode(sums, "noise or the noise's part of the layer")
        return self.ring.seal(key, [whole for row in rows for whole in product.slots.pack(row)])

    def seal_mask(self, key: int, product: Product, shape: Shape, seed: Key) -> bytes:
        return self.ring.seal(key, self._mask(product, shape, seed))

    def multiply(
        self, key: int, product: Product, sealed: bytes, shape: Shape, known: Floats, plus: Floats | None = None
    ) -> bytes:
        hidden: Hidden = layer.read_matrix(self.ring.public(key), product, sealed, shape)
        if plus is not None:
            hidden = layer.add_matrix(self.ring.public(key), product, hidden, plus)
        return layer.multiply_open(self.ring.by(key), product, hidden, known, self._processes)

    def add(self, key: int, product: Product, blobs: Sequence[bytes], shape: Shape) -> bytes:
        return self.ring.add(key, blobs, shape[0] * product.slots.packed(shape[1]))

    def open_own(self, product: Product, blob: bytes, shape: Shape) -> Floats:
        return layer.open_product(self.ring.private(), product, blob, shape, self.ring.threads)

    def unmask(self, product: Product, blob: bytes, shape: Shape, seed: Key) -> Floats:
        return layer.unmask(product, blob, Masks(self._mask(product, shape, seed)), shape)

    def _mask(self, product: Product, shape: Shape, seed: Key) -> list[int]:
        return mask_of(product, shape[0] * product.slots.packed(shape[1]) * product.slots.count, seed)
