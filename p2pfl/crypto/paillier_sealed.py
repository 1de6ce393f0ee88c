"""A private key at rest: encrypted under a password. Knows bytes; the caller reads and writes the file.

    version      1 byte   1
    effort       1 byte   1: Argon2id with 64 MiB and 2 passes; 2: 256 MiB and 3 passes
    salt        16 bytes
    nonce       24 bytes
    box                   XSalsa20-Poly1305 over p then q, each big-endian in half the bytes of n; 16 bytes longer

The key of the box is Argon2id(password, salt), 32 bytes (RFC 9106; libsodium's `crypto_pwhash`). The efforts are fixed
by the version: a file cannot make its reader spend more.
"""

from nacl.exceptions import CryptoError
from nacl.pwhash import argon2id
from nacl.secret import SecretBox

from p2pfl.crypto.paillier_keys import KEY_BITS, Entropy, PrivateKey
from p2pfl.crypto.paillier_numbers import big_from_bytes
from p2pfl.errors import ConfigError

VERSION = 1
LIGHT, USUAL = 1, 2

_EFFORT = {
    LIGHT: (argon2id.OPSLIMIT_INTERACTIVE, argon2id.MEMLIMIT_INTERACTIVE),
    USUAL: (argon2id.OPSLIMIT_MODERATE, argon2id.MEMLIMIT_MODERATE),
}
_SALT = argon2id.SALTBYTES
_NONCE = SecretBox.NONCE_SIZE
_HEAD = 2 + _SALT + _NONCE
_SIZES = {_HEAD + bits // 8 + SecretBox.MACBYTES for bits in KEY_BITS}


def seal(key: PrivateKey, password: bytes, entropy: Entropy, effort: int = USUAL) -> bytes:
    """The file's content. The password must not be empty (ConfigError)."""
    if not password:
        raise ConfigError("expected a password for the private key, got an empty one")
    salt, nonce = entropy(_SALT), entropy(_NONCE)
    half = key.public.bits // 16
    text = int(key.p).to_bytes(half, "big") + int(key.q).to_bytes(half, "big")
    box = SecretBox(_box_key(password, salt, effort)).encrypt(text, nonce)
    return bytes((VERSION, effort)) + salt + bytes(box)


def unseal(blob: bytes, password: bytes) -> PrivateKey:
    """The key. Raises ConfigError for another format, a wrong password or damage (which look the same)."""
    if len(blob) not in _SIZES or blob[0] != VERSION or blob[1] not in _EFFORT:
        raise ConfigError(f"expected a private Paillier key of version {VERSION}, got {len(blob)} other bytes")
    salt = blob[2 : 2 + _SALT]
    try:
        text = SecretBox(_box_key(password, salt, blob[1])).decrypt(blob[2 + _SALT :])
    except CryptoError:
        raise ConfigError("cannot open the private Paillier key: the password is wrong or the file damaged") from None
    half = len(text) // 2
    return PrivateKey(big_from_bytes(text[:half], "big"), big_from_bytes(text[half:], "big"))


def _box_key(password: bytes, salt: bytes, effort: int) -> bytes:
    passes, memory = _EFFORT[effort]
    return bytes(argon2id.kdf(SecretBox.KEY_SIZE, password, salt, passes, memory))
