"""Which values of a model a cell sums. Knows the codecs that are linear and agreed; no cell.

Masked words add up only if every member says the same coordinates on the same grid. So there are two codecs: all values
("fp32"), and a share at positions drawn from a seed that the cell has in common ("randomk" with float32 values). What
chooses by a member's own values (top k, dead zones, scales of its own) would tell of them, and does not add up.
"""

import torch
from torch import Tensor

from p2pfl.compress import Codec, Dense, RandomK
from p2pfl.compress.randomk import draw_positions
from p2pfl.core.noise import Key, derive, seed64
from p2pfl.core.vectors import ParamSchema
from p2pfl.errors import ConfigError
from p2pfl.horizontal.model.algorithm import pieces


def check_codec(codec: Codec, name: str) -> None:
    """Raises ConfigError unless masked sums of what it says are sums of models."""
    shared = isinstance(codec, RandomK) and codec.dtype == "float32"
    if not shared and not (isinstance(codec, Dense) and codec.lossless):
        raise ConfigError(
            f'mix.rule "cell" sums masked integers: expected compress.codec "fp32", or "randomk" with dtype "float32" '
            f"(positions that all share), got {name!r}"
        )


def positions_of(codec: Codec, schema: ParamSchema, key: Key) -> Tensor | None:
    """The coordinates that a cell sums, ascending (k,) int64; None: all. `key`: common to the cell."""
    if not isinstance(codec, RandomK):
        return None
    drawn = [
        draw_positions(seed64(derive(key, *piece.labels)), codec.count(piece.size), piece.size) + piece.start
        for piece in pieces(schema)
    ]
    return torch.cat([torch.from_numpy(part) for part in drawn])
