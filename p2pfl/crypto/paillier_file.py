"""Where a private Paillier key lies: one sealed file only its owner can read. Knows paths; see `paillier_sealed`."""

from pathlib import Path

from p2pfl.crypto.paillier_keys import Entropy, PrivateKey
from p2pfl.crypto.paillier_sealed import USUAL, seal, unseal
from p2pfl.errors import ConfigError

_MAX_BYTES = 4096


def save(path: Path, key: PrivateKey, password: bytes, entropy: Entropy, effort: int = USUAL) -> None:
    """Writes a new file. Raises ConfigError if it exists or cannot be written: a key is never overwritten."""
    blob = seal(key, password, entropy, effort)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(mode=0o600, exist_ok=False)
        try:
            path.write_bytes(blob)
        except OSError:
            path.unlink()  # half a key would only stand in the way of the next attempt
            raise
    except FileExistsError:
        raise ConfigError(f"{path} exists already: a key is never overwritten; choose another file") from None
    except OSError as error:
        raise ConfigError(f"cannot write the key file {path}: {error.strerror}") from None


def load(path: Path, password: bytes) -> PrivateKey:
    """The key in `path`. Raises ConfigError: missing, readable by others, not a key, or the password is wrong."""
    try:
        mode = path.stat().st_mode
        with path.open("rb") as file:
            blob = file.read(_MAX_BYTES + 1)
    except OSError as error:
        raise ConfigError(f"cannot read the key file {path}: {error.strerror}") from None
    if mode & 0o077:
        raise ConfigError(f"the key file {path} can be read by others (mode {mode & 0o777:o}); run: chmod 600 {path}")
    try:
        return unseal(blob, password)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from None
