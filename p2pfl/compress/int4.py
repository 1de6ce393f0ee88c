"""Four bits a value, one scale a block: the nearest of 15 levels. Knows no entropy; a small block keeps it honest.

The levels are -7 to 7 times the scale; arithmetic and law are those of blocks.py.
Body: the scales (float32, little-endian), then the codes, two a byte (symbols.py), all blocks but the last of `block`
values.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from p2pfl.compress.blocks import check_block, count_blocks, dequantise_blocks, project_blocks, quantise_blocks
from p2pfl.compress.codec import Bounds, Packed, check_length
from p2pfl.compress.rows import mapped
from p2pfl.compress.symbols import num_symbol_bytes, pack_symbols, unpack_symbols
from p2pfl.compress.vectors import check_size, to_array
from p2pfl.core.noise import Key

LEVELS = 7


@dataclass(frozen=True, slots=True)
class Int4:
    """`block` values share a scale: 32 / block bits a value more than four."""

    block: int = 128

    def __post_init__(self) -> None:
        check_block("int4", self.block)

    def bounds(self, size: int) -> Bounds:
        """No fields."""
        return Bounds(0, 4 * count_blocks(size, self.block) + num_symbol_bytes(size, 4))

    def encode(self, v: Tensor, key: Key, damp: float = 1.0) -> tuple[Packed, Tensor]:
        """See `Codec.encode`. Ignores `key`, and `damp`: finer than the nearest of 15 levels it does not get."""
        flat = to_array(v)
        scales, k = np.empty(count_blocks(flat.size, self.block), "<f4"), np.empty(flat.size, np.int8)
        q = quantise_blocks(flat, self.block, LEVELS, scales, k)
        symbols, _ = pack_symbols(k, 4)  # none stands apart: 7 fits
        return Packed((), scales.tobytes() + symbols.tobytes()), torch.from_numpy(q)

    def decode(self, packed: Packed, size: int) -> Tensor:
        """See `Codec.decode`."""
        check_size(size)
        check_length(packed, self.bounds(size))
        raw = np.frombuffer(packed.body, np.uint8)
        cut = 4 * count_blocks(size, self.block)
        k = unpack_symbols(raw[cut:], 4, size)  # 8 where a code would stand apart, which is beyond 7
        return torch.from_numpy(dequantise_blocks(k, raw[:cut].copy().view("<f4"), self.block, LEVELS))

    def project(self, v: Tensor, key: Key, damp: float = 1.0) -> Tensor:
        """See `Codec.project`."""
        return project_blocks(v, self.block, LEVELS)

    def project_rows(self, v: Tensor, keys: Sequence[Key], damp: Tensor) -> Tensor:
        """See `rows.project_rows`."""
        return mapped(self, v)
