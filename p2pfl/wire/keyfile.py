"""The Ed25519 key of a node: on disk, and in use. Knows files; knows no message.

Format of a key file: one line, `p2pfl-key-v1 ` and 64 hex digits (the 32-byte seed). It must be readable by its owner
alone. The public key is printed and shared as 64 hex digits.
"""

import os
from pathlib import Path
from typing import TYPE_CHECKING

from nacl.exceptions import BadSignatureError
from nacl.signing import SigningKey, VerifyKey

from p2pfl.core.ids import NodeId
from p2pfl.errors import ConfigError

if TYPE_CHECKING:
    from p2pfl.wire.certificate import Certificate

_PREFIX = "p2pfl-key-v1 "


class Signer:
    """Holds a secret key. Signing is deterministic (RFC 8032)."""

    def __init__(self, seed: bytes) -> None:
        self._key = SigningKey(seed)
        self.node = NodeId(bytes(self._key.verify_key))

    def sign(self, text: bytes) -> bytes:
        """64 bytes."""
        return bytes(self._key.sign(text).signature)

    def certificate(self) -> "Certificate":
        """What this node shows in TLS."""
        from p2pfl.wire.certificate import make  # slow to load, and few nodes are without TLS

        return make(bytes(self._key))


def verify(node: bytes, text: bytes, signature: bytes) -> bool:
    """Whether `signature` is `node`'s on `text`. Never raises, whatever the bytes."""
    try:
        VerifyKey(node).verify(text, signature)
    except (BadSignatureError, ValueError, TypeError):
        return False
    return True


def create(path: Path) -> Signer:
    """A new key from the system's secure source, written so that only its owner can read it.

    Raises ConfigError if the file exists: a key is never overwritten.
    """
    seed = os.urandom(32)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = _open_new(path)
        try:
            with os.fdopen(handle, "w") as file:
                file.write(f"{_PREFIX}{seed.hex()}\n")
                file.flush()
                os.fsync(file.fileno())
        except OSError:
            path.unlink()  # half a key would only stand in the way of the next attempt
            raise
    except OSError as error:
        raise ConfigError(f"cannot write the key file {path}: {error.strerror}") from None
    return Signer(seed)


def _open_new(path: Path) -> int:
    try:
        return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise ConfigError(f"{path} exists already: a key is never overwritten; choose another file") from None


def load(path: Path) -> Signer:
    """The key in `path`. Raises ConfigError if it is missing, malformed, or readable by others than its owner."""
    try:
        mode = path.stat().st_mode
        text = path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not text"
        raise ConfigError(f"cannot read the key file {path}: {reason}; make one with: p2pfl keys new {path}") from None
    if mode & 0o077:
        raise ConfigError(f"the key file {path} can be read by others (mode {mode & 0o777:o}); run: chmod 600 {path}")
    line = text.strip()
    seed_hex = line.removeprefix(_PREFIX)
    if not line.startswith(_PREFIX) or len(seed_hex) != 64:
        raise ConfigError(f"{path}: expected a line '{_PREFIX}' and 64 hex digits, got {len(line)} characters")
    try:
        return Signer(bytes.fromhex(seed_hex))
    except ValueError:
        raise ConfigError(f"{path}: expected 64 hex digits after '{_PREFIX}'") from None


def parse_public(text: str) -> NodeId:
    """A public key from its 64 hex digits. Raises ConfigError."""
    try:
        raw = bytes.fromhex(text)
    except ValueError:
        raw = b""
    if len(raw) != 32 or len(text) != 64:  # fromhex would skip blanks: one key, one spelling
        raise ConfigError(f"expected a public key of 64 hex digits, got {text[:70]!r}")
    return NodeId(raw)
