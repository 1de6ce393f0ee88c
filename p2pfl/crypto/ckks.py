"""The sealed layer under CKKS by TenSEAL, for fast networks: less work than Paillier, some forty times the bytes. Knows
matrices and keys; no message and no model.

One ciphertext holds one row of a matrix, up to 4,096 numbers. The same operations as the layer under Paillier
(`vertical/sealed_cipher.py`), with these differences, which are why it is an option and not the default:

    exact       no: sums come out to about 1e-5; what is opened also gets noise of 2^-17 (`FLOOD`), since CKKS's own
                error tells something about the key to who sees decrypted values (Li and Micciancio 2021)
    masks       uniform in 2^21, not in 2^40 times the bound: sums of about 16 are hidden to 2^-17
    randomness  the library's own, so a task that is done again after a crash gives other ciphertexts of the same
    refreshed   by an encryption of zero: hides known factors from outsiders, less well from who holds the key

Parameters: N = 8192, moduli of 60, 37 and 60 bits, scale 2^37: 128 bits of security by the homomorphic encryption
standard (218 bits are the limit). Remote bytes go through the library's parser. Source: Cheon, Kim, Kim, Song 2017.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from p2pfl.core.noise import Key, derive, gaussian
from p2pfl.crypto.paillier_layer import Product
from p2pfl.crypto.paillier_random import Stream
from p2pfl.errors import ConfigError, Reject

DEGREE = 8192
MODULI = (60, 37, 60)
SCALE_BITS = 37
MASK_BITS = 21
ROWS_MAX = DEGREE // 2
FLOOD = 2.0**-17
KEY_BYTES_MAX = 1 << 20
CIPHERTEXT_BYTES_MAX = 1 << 19

Floats = NDArray[np.float64]


def _library() -> Any:
    try:
        import tenseal  # type: ignore
    except ModuleNotFoundError as missing:
        raise ConfigError("protection by CKKS needs TenSEAL: pip install 'p2pfl-node[ckks]'") from missing
    return tenseal


def generate() -> bytes:
    """A private key: as secret as what it opens. The library draws it."""
    context = _library().context(_library().SCHEME_TYPE.CKKS, DEGREE, coeff_mod_bit_sizes=list(MODULI))
    context.global_scale = 2.0**SCALE_BITS
    packed: bytes = context.serialize(
        save_public_key=True, save_secret_key=True, save_galois_keys=False, save_relin_keys=False
    )
    return packed


class CkksCipher:
    """A Cipher of `vertical/sealed_cipher.py`. `mine`: my number and private key, if I hold one."""

    def __init__(self, mine: tuple[int, bytes] | None) -> None:
        self._ts = _library()
        self._mine = None if mine is None else self._ts.context_from(mine[1])
        self._keys: dict[int, Any] = {}
        self._draw = Stream(bytes(32))

    def turn(self, key: Key) -> None:
        self._draw = Stream(key)

    def own_key(self) -> bytes:
        if self._mine is None:
            return b""
        packed: bytes = self._mine.serialize(
            save_public_key=True, save_secret_key=False, save_galois_keys=False, save_relin_keys=False
        )
        return packed

    def check_key(self, raw: bytes) -> None:
        if raw:
            self._read(raw)

    def learn_keys(self, keys: Sequence[bytes]) -> None:
        self._keys = {party: self._read(raw) for party, raw in enumerate(keys) if raw}

    def numbers(self, product: Product) -> int:
        return ROWS_MAX

    def seal(self, key: int, product: Product, matrix: Floats, what: str = "values") -> bytes:
        """(J, N), N at most 4096. ConfigError if a value is too large."""
        product.hidden.encode(matrix, what)
        return self._seal(key, matrix)

    def seal_sums(self, key: int, product: Product, sums: Floats) -> bytes:
        if not float(np.abs(sums).max(initial=0.0)) <= _bound(product):
            raise ConfigError(f"expected noise within {_bound(product):g} of 0, got more")
        return self._seal(key, sums)

    def seal_mask(self, key: int, product: Product, shape: tuple[int, int], seed: Key) -> bytes:
        return self._seal(key, _mask(shape, seed))

    def multiply(
        self,
        key: int,
        product: Product,
        sealed: bytes,
        shape: tuple[int, int],
        known: Floats,
        plus: Floats | None = None,
    ) -> bytes:
        product.known.encode(known, "weights or gradients")
        rows = self._vectors(self._key(key), sealed, shape)
        if plus is not None:
            rows = [row + more.tolist() for row, more in zip(rows, plus, strict=True)]
        least = 2.0 ** -(product.known.bits + 1)
        sums = []
        for column in known.T:
            total = self._vector(key, np.zeros(shape[1]))  # fresh: what is sent does not show its factors
            for row, factor in zip(rows, column.tolist(), strict=True):
                total = total + row * factor if abs(factor) > least else total  # times 0 is no ciphertext
            sums.append(total)
        return _join(sums)

    def add(self, key: int, product: Product, blobs: Sequence[bytes], shape: tuple[int, int]) -> bytes:
        total = self._vectors(self._key(key), blobs[0], shape)
        for blob in blobs[1:]:
            more = self._vectors(self._key(key), blob, shape)
            total = [a + b for a, b in zip(total, more, strict=True)]
        return _join(total)

    def open_masked(self, blob: bytes) -> bytes:
        opened = self._open(blob)
        seed = derive(self._draw(32), "flood")
        noise = gaussian(seed, opened.size).reshape(opened.shape) * FLOOD
        raw: bytes = (opened + noise).astype("<f8").tobytes()
        return raw

    def open_own(self, product: Product, blob: bytes, shape: tuple[int, int]) -> Floats:
        found = self._open(blob)
        return _checked(product, found, shape)

    def unmask(self, product: Product, blob: bytes, shape: tuple[int, int], seed: Key) -> Floats:
        if len(blob) != 8 * shape[0] * shape[1]:
            raise Reject("ckks-size", f"expected {shape[0]} x {shape[1]} opened numbers, got {len(blob)} bytes")
        opened = np.frombuffer(blob, "<f8").astype(np.float64).reshape(shape)
        return _checked(product, opened - _mask(shape, seed), shape)

    def _open(self, blob: bytes) -> Floats:
        if self._mine is None:
            raise Reject("turn-kind", "expected to be asked for what I can do: I hold no key")
        rows = [np.asarray(vector.decrypt(), np.float64) for vector in self._parsed(self._mine, blob)]
        if not rows or any(row.shape != rows[0].shape for row in rows):
            raise Reject("ckks-size", "expected ciphertexts of one length")
        return np.stack(rows)

    def _seal(self, key: int, matrix: Floats) -> bytes:
        if matrix.shape[1] > ROWS_MAX:
            raise ConfigError(f"expected at most {ROWS_MAX} numbers in a ciphertext, got {matrix.shape[1]}")
        return _join([self._vector(key, row) for row in matrix])

    def _vector(self, key: int, row: Floats) -> Any:
        return self._ts.ckks_vector(self._key(key), row.tolist())

    def _key(self, party: int) -> Any:
        if party not in self._keys:
            raise Reject("ckks-key", f"expected a public key from party {party}, got none")
        return self._keys[party]

    def _read(self, raw: bytes) -> Any:
        if len(raw) > KEY_BYTES_MAX:
            raise Reject("ckks-key", f"expected a key of at most {KEY_BYTES_MAX} bytes, got {len(raw)}")
        try:
            context = self._ts.context_from(raw)
            vector = self._ts.ckks_vector(context, [0.0] * ROWS_MAX)  # only this degree, and larger ones, have room
            right = context.global_scale == 2.0**SCALE_BITS and not context.has_secret_key() and vector.size()
        except (ValueError, RuntimeError, TypeError) as error:
            raise Reject("ckks-key", f"expected a public key of CKKS ({error})") from None
        if not right:
            raise Reject("ckks-key", "expected a public key of the agreed parameters")
        return context

    def _vectors(self, context: Any, blob: bytes, shape: tuple[int, int]) -> list[Any]:
        found = self._parsed(context, blob)
        if len(found) != shape[0] or any(vector.size() != shape[1] for vector in found):
            raise Reject("ckks-size", f"expected {shape[0]} ciphertexts of {shape[1]} numbers")
        return found

    def _parsed(self, context: Any, blob: bytes) -> list[Any]:
        try:
            return [self._ts.ckks_vector_from(context, raw) for raw in _split(blob)]
        except (ValueError, RuntimeError, TypeError) as error:
            raise Reject("ckks-ciphertext", f"expected ciphertexts of CKKS ({error})") from None


def _bound(product: Product) -> float:
    return 2.0 ** (product.sum_bits - 1 - product.bits)


def _checked(product: Product, found: Floats, shape: tuple[int, int]) -> Floats:
    bound = 2.0 * _bound(product) + 1.0
    if found.shape != shape or not np.isfinite(found).all() or float(np.abs(found).max()) > bound:
        raise Reject("ckks-range", f"expected {shape[0]} x {shape[1]} sums within {bound:g} of 0: another key?")
    return found


def _mask(shape: tuple[int, int], seed: Key) -> Floats:
    """Uniform in 2^21, on a grid of 2^-17."""
    raw = np.frombuffer(Stream(seed)(8 * shape[0] * shape[1]), "<u8") >> np.uint64(64 - MASK_BITS - 17)
    found: Floats = raw.astype(np.float64).reshape(shape) * 2.0**-17 - 2.0 ** (MASK_BITS - 1)
    return found


def _join(vectors: Sequence[Any]) -> bytes:
    """count u32, then (length u32, bytes) of each, little-endian."""
    packed = [vector.serialize() for vector in vectors]
    return len(packed).to_bytes(4, "little") + b"".join(len(raw).to_bytes(4, "little") + raw for raw in packed)


def _split(blob: bytes) -> list[bytes]:
    num, at = int.from_bytes(blob[:4], "little"), 4
    found: list[bytes] = []
    while at < len(blob) and len(found) < num:
        size = int.from_bytes(blob[at : at + 4], "little")
        if size > CIPHERTEXT_BYTES_MAX:
            raise Reject("ckks-size", f"expected ciphertexts of at most {CIPHERTEXT_BYTES_MAX} bytes, got {size}")
        found.append(blob[at + 4 : at + 4 + size])
        at += 4 + size
    if len(blob) < 4 or at != len(blob) or len(found) != num:
        raise Reject("ckks-size", "expected as many ciphertexts as announced")
    return found
