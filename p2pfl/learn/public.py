"""A small set of samples that all nodes hold, named by its digest. Knows samples; knows no node and no use of them."""

from dataclasses import dataclass
from functools import cached_property

import torch
from blake3 import blake3
from torch import Tensor

from p2pfl.errors import ConfigError
from p2pfl.learn.data import Data


@dataclass(frozen=True)
class Public:
    """x (n, ...), without labels: nobody needs them."""

    x: Tensor
    name: str

    @cached_property
    def digest(self) -> bytes:
        """32 bytes; equal at two nodes if and only if they hold the same samples in the same order."""
        head = f"{self.x.dtype} {tuple(self.x.shape)}".encode()
        raw = self.x.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()
        return blake3(b"p2pfl/public/v1\0" + len(head).to_bytes(4, "big") + head).update(raw).digest()


def public_of(data: Data, rows: int | None, input_shape: tuple[int, ...], digest: str | None) -> Public:
    """The first `rows` samples, or all. Raises ConfigError if the model cannot take them, or they are not those of
    `digest` (64 hex digits)."""
    if data.input_shape != input_shape:
        raise ConfigError(f"public: expected samples of shape {input_shape}, got {data.input_shape} in {data.name}")
    if rows is not None and len(data) < rows:
        raise ConfigError(f"public.rows: expected at most {len(data)}, the samples in {data.name}, got {rows}")
    found = Public(data.x[:rows], data.name)
    if digest is not None and found.digest.hex() != digest:
        raise ConfigError(f"public.digest: expected {digest[:16]}.., got {found.digest.hex()[:16]}.. of {data.name}")
    return found
