"""Eight bits a value, one scale a block. Knows no entropy: for snapshots of a whole model and as a plain baseline.

The levels are -127 to 127 times the scale; arithmetic and law are those of blocks.py.
Body: the scales (float32, little-endian), then the codes (int8), all blocks but the last of `block` values.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from p2pfl.compress.blocks import check_block, count_blocks, dequantise_blocks, project_blocks, quantise_blocks
from p2pfl.compress.codec import Bounds, Packed, check_length
from p2pfl.compress.rows import mapped
from p2pfl.compress.vectors import check_size, to_array
from p2pfl.core.noise import Key

LEVELS = 127


@dataclass(frozen=True, slots=True)
class Int8:
    """`block` values share a scale: 4 / block bytes a value more than one."""

    block: int = 1024

    def __post_init__(self) -> None:
        check_block("int8", self.block)

    def bounds(self, size: int) -> Bounds:
        """No fields."""
        return Bounds(0, 4 * count_blocks(size, self.block) + size)

    def encode(self, v: Tensor, key: Key, damp: float = 1.0) -> tuple[Packed, Tensor]:
        """See `Codec.encode`. Ignores `key`, and `damp`: finer than the nearest of 255 levels it does not get."""
        flat = to_array(v)
        cut = 4 * count_blocks(flat.size, self.block)
        body = np.empty(cut + flat.size, np.uint8)
        q = quantise_blocks(flat, self.block, LEVELS, body[:cut].view("<f4"), body[cut:].view(np.int8))
        return Packed((), body.data), torch.from_numpy(q)

    def decode(self, packed: Packed, size: int) -> Tensor:
        """See `Codec.decode`."""
        check_size(size)
        check_length(packed, self.bounds(size))
        raw = np.frombuffer(packed.body, np.uint8)
        cut = 4 * count_blocks(size, self.block)
        # A copy, because a body that starts at an odd address is slow or illegal to read as floats.
        scales = raw[:cut].copy().view("<f4")
        return torch.from_numpy(dequantise_blocks(raw[cut:].view(np.int8), scales, self.block, LEVELS))

    def project(self, v: Tensor, key: Key, damp: float = 1.0) -> Tensor:
        """See `Codec.project`."""
        return project_blocks(v, self.block, LEVELS)

    def project_rows(self, v: Tensor, keys: Sequence[Key], damp: Tensor) -> Tensor:
        """See `rows.project_rows`."""
        return mapped(self, v)
