"""A shard as a file: named tensors in the safetensors format. Knows no shard. Format: docs/formats/shard.md."""

import os
from pathlib import Path

from blake3 import blake3
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from p2pfl.errors import ConfigError, HostError

FORMAT = "p2pfl.shard"
VERSION = "1"


def write_shard(path: Path, kept: dict[str, Tensor]) -> bytes:
    """Write atomically: the file is whole or it is not there. Returns its BLAKE3 digest. Raises HostError."""
    part = path.with_name(path.name + ".part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        save_file({name: tensor.contiguous() for name, tensor in kept.items()}, part, {FORMAT: VERSION})
        with part.open("rb") as file:
            os.fsync(file.fileno())
        digest = digest_of(part)
        part.replace(path)
    except (OSError, SafetensorError) as error:
        why = error.strerror if isinstance(error, OSError) and error.strerror else str(error).splitlines()[0]
        raise HostError(f"cannot write the checkpoint {path}: {why}") from None
    return digest


def read_shard(path: Path, digest: bytes) -> dict[str, Tensor]:
    """What was written. Raises ConfigError if the file is not the one with this digest, or of another version."""
    try:
        if digest_of(path) != digest:
            raise ConfigError(f"{path}: expected the file that the checkpoint names, got another or a damaged one")
        with safe_open(path, framework="pt") as file:
            version = (file.metadata() or {}).get(FORMAT)
            if version != VERSION:
                raise ConfigError(f"{path}: expected a shard of format {VERSION}, got {version or 'none'}")
            return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  -- not a mapping
    except (OSError, SafetensorError) as error:
        why = error.strerror if isinstance(error, OSError) and error.strerror else str(error).splitlines()[0]
        raise ConfigError(f"cannot read the checkpoint {path}: {why}") from None


def digest_of(path: Path) -> bytes:
    hasher = blake3()
    hasher.update_mmap(path)
    return hasher.digest()
