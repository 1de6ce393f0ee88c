"""Values at drawn positions; the draw is a number that travels with them. Knows vectors, and looks at no magnitude.

The vector is cut into k runs of n / k values, one value of each is sent. With u_j the j-th 64-bit number
(little-endian) of BLAKE3's output on "p2pfl/randomk/v1", a zero byte and the seed (8 bytes, big-endian):

    low_j = floor(j n / k);   i_j = low_j + floor((u_j >> 28) (low_(j+1) - low_j) / 2^36)

Laws: every position is equally likely within its run; as float32, E ||v - q||^2 <= (1 - 1/ceil(n/k)) ||v||^2 over the
key. Values are not scaled up by n / k: what was not said stays with the sender.

Source: Stich, Cordonnier, Jaggi 2018 (rand_k). Differs from the paper in: one position per run instead of any k, so
that they come sorted and distinct from one pass.
"""

from dataclasses import dataclass

import numpy as np
import torch
from blake3 import blake3
from torch import Tensor

from p2pfl.compress.codec import Bounds, Packed, check_length, int_field
from p2pfl.compress.gaps import Positions
from p2pfl.compress.values import ValueName, check_dtype, count_bytes, pack_values, project_values, unpack_values
from p2pfl.compress.vectors import TILE, Floats, check_finite, check_size, tiles, to_array
from p2pfl.core.noise import Key, derive, seed64
from p2pfl.errors import ConfigError

SEED_MAX = (1 << 63) - 1


@dataclass(frozen=True, slots=True)
class RandomK:
    """A `share` of the values, at least one, as `dtype`: float32, float16, int8 or int4."""

    share: float = 0.01
    dtype: ValueName = "float32"

    def __post_init__(self) -> None:
        if not 0.0 < self.share <= 1.0:
            raise ConfigError(f"randomk: expected share above 0 and at most 1, got {self.share}")
        check_dtype("randomk", self.dtype)

    def count(self, size: int) -> int:
        """How many values of `size` are sent."""
        return max(1, round(self.share * size))

    def bounds(self, size: int) -> Bounds:
        """One field: the seed of the positions."""
        return Bounds(1, count_bytes(self.count(size), self.dtype))

    def encode(self, v: Tensor, key: Key, damp: float = 1.0) -> tuple[Packed, Tensor]:
        """See `Codec.encode`. Ignores `damp`. The seed that travels is derived from `key` and says nothing of it."""
        flat = to_array(v)
        check_finite(flat)
        seed = _public(key)
        positions = draw_positions(seed, self.count(flat.size), flat.size)
        raw, sent = pack_values(flat[positions], self.dtype)
        return Packed((seed,), raw), torch.from_numpy(_spread(positions, sent, flat.size))

    def decode_sparse(self, packed: Packed, size: int) -> tuple[Positions, Floats]:
        """Ascending positions (k,) and values (k,). Raises Reject."""
        check_size(size)
        check_length(packed, self.bounds(size))
        seed = int_field(packed, 0, 0, SEED_MAX)
        values = unpack_values(packed.body, self.count(size), self.dtype)
        return draw_positions(seed, self.count(size), size), values

    def decode(self, packed: Packed, size: int) -> Tensor:
        """See `Codec.decode`."""
        return torch.from_numpy(_spread(*self.decode_sparse(packed, size), size))

    def add_to(self, x: Tensor, packed: Packed) -> None:
        """x (n,) float32 += q in place, at the cost of the values sent, not of all. Raises Reject before it writes."""
        positions, values = self.decode_sparse(packed, x.numel())
        x.index_add_(0, torch.from_numpy(positions), torch.from_numpy(values))

    def project(self, v: Tensor, key: Key, damp: float = 1.0) -> Tensor:
        """See `Codec.project`. Mapped over nodes with one key, all of them send the same positions."""
        n = v.shape[-1]
        drawn = draw_positions(_public(key), self.count(n), n)
        positions = torch.from_numpy(drawn).to(v.device)
        return torch.zeros_like(v).scatter(0, positions, project_values(v.index_select(0, positions), self.dtype))


def _public(key: Key) -> int:
    """The part of `key` that everybody may know."""
    return seed64(derive(key, "randomk"))


def draw_positions(seed: int, count: int, size: int) -> Positions:
    """`count` ascending positions below `size`, one in each run."""
    stream = blake3(b"p2pfl/randomk/v1\0" + seed.to_bytes(8, "big"))
    positions = np.empty(count, np.int64)
    for part in tiles(count, TILE):
        edges = np.arange(part.start, part.stop + 1, dtype=np.int64) * size // count
        raw = stream.digest(length=8 * (part.stop - part.start), seek=8 * part.start)
        drawn = np.frombuffer(raw, "<u8") >> np.uint64(28)
        drawn = (drawn * np.diff(edges).astype(np.uint64)) >> np.uint64(36)
        positions[part] = edges[:-1] + drawn.astype(np.int64)
    return positions


def _spread(positions: Positions, values: Floats, size: int) -> Floats:
    q = np.zeros(size, np.float32)
    q[positions] = values
    q += np.float32(0.0)  # -0 from a peer becomes 0
    return q
