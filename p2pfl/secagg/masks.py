"""Mask streams: 32-byte seeds to uint32 words, added mod 2^32 in place. Knows seeds and signs, no member.

A seed is expanded by AES-128 in counter mode under its first half, the first counter block being 2: word i is the i-th
little-endian uint32 of the stream. A seed serves one round, so the counter may always begin there. Streams seek: a
slice that begins at a multiple of `BLOCK_WORDS` starts at its own counter. Written into one reused tile, since fresh
memory costs more than AES does. From the start a stream is read through GCM, whose first block this is (NIST SP
800-38D): OpenSSL runs GCM on wider registers than plain counter mode, almost twice as fast; its tag is not used.

Seeds of a pair: HKDF-SHA256 over their X25519 secret (RFC 7748, RFC 5869), bound to the cell and to both keys.
"""

import sys
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers import Cipher, CipherContext, algorithms, modes
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from numpy.typing import NDArray

from p2pfl.core.noise import Key
from p2pfl.errors import Reject
from p2pfl.secagg.cell import BLOCK_WORDS

Words = NDArray[np.uint32]

KEY_BYTES = 32
FIRST_BLOCK = 2
TILE_WORDS = 1 << 16
"""256 KiB: the tile and the part of the vector that it goes to stay in the second-level cache."""

_ZEROS = bytes(4 * TILE_WORDS)


class Stream(NamedTuple):
    """One stream and what is done with it: sign +1 adds, -1 takes off."""

    seed: bytes
    sign: int


def public_of(secret: bytes) -> bytes:
    """The X25519 public key of 32 secret bytes."""
    return X25519PrivateKey.from_private_bytes(secret).public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)


def agree(secret: bytes, mine: bytes, other: bytes, purpose: bytes, cell: bytes) -> bytes:
    """The seed (32 bytes) that two ends share: the same at both, another for every purpose and cell.

    mine, other: public keys. Raises Reject for a key of small order, whose secret everybody knows.
    """
    try:
        shared = X25519PrivateKey.from_private_bytes(secret).exchange(X25519PublicKey.from_public_bytes(other))
    except ValueError:
        raise Reject("weak-key", "expected an X25519 key of full order") from None
    info = b"p2pfl/secagg/v1\0" + purpose + b"\0" + min(mine, other) + max(mine, other)
    return HKDF(algorithm=SHA256(), length=KEY_BYTES, salt=cell, info=info).derive(shared)


def apply_streams(words: Words, streams: Iterable[Stream], start: int = 0) -> None:
    """words (n,) += sum of sign * stream[start : start + n], mod 2^32, in place. `start`: a multiple of BLOCK_WORDS.

    Tile by tile, all streams of a tile one after another, so that a long vector is read and written once.
    """
    if not len(words):
        return
    if start % BLOCK_WORDS:
        raise ValueError(f"expected a start at a multiple of {BLOCK_WORDS} words, got {start}")
    expanded = [(_encryptor(stream.seed, start // BLOCK_WORDS), stream.sign) for stream in streams]
    tile = np.empty(TILE_WORDS, np.uint32)
    view = tile.data.cast("B")
    zeros = memoryview(_ZEROS)
    for low in range(0, len(words), TILE_WORDS):
        part = words[low : low + TILE_WORDS]
        size, drawn = part.nbytes, tile[: len(part)]
        for stream, sign in expanded:
            stream.update_into(zeros[:size], view[:size])
            if sys.byteorder == "big":
                drawn.byteswap(inplace=True)
            (np.add if sign > 0 else np.subtract)(part, drawn, out=part)


def _encryptor(seed: bytes, block: int) -> CipherContext:
    """The stream from this block on, as what encrypts zeros to it."""
    algorithm = algorithms.AES128(seed[:16])
    mode = modes.CTR((FIRST_BLOCK + block).to_bytes(16, "big")) if block else modes.GCM(bytes(12))
    return Cipher(algorithm, mode).encryptor()


def words_of(key: Key, count: int) -> Words:
    """`count` uniform words from a secret key."""
    words = np.zeros(count, np.uint32)
    apply_streams(words, [Stream(key, 1)])
    return words
