"""A party's private Paillier key: made once, kept encrypted in its folder. Knows the file; no ciphertext.

The password is a signature of the party's own key file, so the key is of no use without that file, and a party that was
killed opens it again without asking anybody.
"""

import os
from pathlib import Path

from blake3 import blake3

from p2pfl.crypto.paillier_keys import PrivateKey, generate
from p2pfl.crypto.paillier_sealed import LIGHT, seal, unseal
from p2pfl.errors import ConfigError, HostError
from p2pfl.wire.envelope import Signs

FILE = "paillier.key"
_SIGNED = b"p2pfl/paillier-at-rest/1"


def private_key(folder: Path, signer: Signs, bits: int) -> PrivateKey:
    """The folder's key, made if there is none. ConfigError if it is of another size or not this party's."""
    path, password = folder / FILE, blake3(signer.sign(_SIGNED)).digest()
    try:
        if path.exists():
            key = unseal(path.read_bytes(), password)
        else:
            key = generate(bits, os.urandom)
            folder.mkdir(parents=True, exist_ok=True)
            part = path.with_name(FILE + ".part")
            descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                file.write(seal(key, password, os.urandom, LIGHT))
            part.replace(path)
    except OSError as error:
        raise HostError(f"cannot use {path}: {error.strerror}") from None
    if key.public.bits != bits:
        raise ConfigError(f"{path}: expected a key of {bits} bits, got {key.public.bits}")
    return key
