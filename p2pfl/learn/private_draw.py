"""The secret draws of private training: who is in a step, in which group, and the noise. Knows keys and counts.

All of it comes from a cryptographic stream under a key (core/noise.py) that a node derives from the system's entropy
and never shows: who could guess the sampler's draws would lose the amplification by sampling, who could guess the
noise would take it off. In a simulation the key follows from the seed, so a run can be repeated, and protects nobody.
"""

from math import pi

import numpy as np
import torch
from blake3 import blake3
from torch import Tensor

from p2pfl.core.noise import Key

BLOCK = 1 << 13
"""Pairs of normal values made at once: what they need meanwhile stays in a core's cache."""


def poisson(key: Key, count: int, rate: float) -> Tensor:
    """Row numbers of 0 to count - 1, each drawn on its own with probability `rate`, ascending; perhaps none."""
    uniform = (_words(key, count) >> np.uint64(11)).astype(np.float64) * 2.0**-53
    return torch.from_numpy(np.flatnonzero(uniform < rate))


def groups(key: Key, count: int, num_groups: int) -> Tensor:
    """For each of `count` examples, drawn or not, the group it would be in: uniform, and nobody else's matters."""
    return torch.from_numpy((_words(key, count) % np.uint64(num_groups)).astype(np.int64))


def normal_(out: Tensor, key: Key, deviation: float) -> Tensor:
    """Adds N(0, deviation^2) to each value of out (W,).

    Box and Muller 1958: radii from 52 bits each, so that the tails are whole, angles from 32. A tenth of the time of
    `core.noise.gaussian`, since torch's logarithm, sine and cosine work on many values at once.
    """
    count = out.numel()
    pairs = -(-count // 2)
    stream = blake3(b"p2pfl/private/normal\0", key=key)
    cosines, sines = out[:pairs], out[pairs:]
    for at in range(0, pairs, BLOCK):
        size = min(BLOCK, pairs - at)
        raw = bytearray(stream.digest(length=12 * size, seek=12 * at))
        bits = torch.frombuffer(raw, dtype=torch.int64, count=size)
        # 52 random bits behind the exponent of 1 are a number of [1, 2); two minus that is above 0 and at most 1.
        uniform = bits.bitwise_and_((1 << 52) - 1).bitwise_or_(1023 << 52).view(torch.float64).neg_().add_(2.0)
        radius = uniform.log_().mul_(-2.0 * deviation * deviation).sqrt_().to(out)
        angle = torch.frombuffer(raw, dtype=torch.int32, offset=8 * size).to(out).mul_(pi * 2.0**-31)
        cosines[at : at + size].addcmul_(radius, angle.cos())
        last = min(size, count - pairs - at)
        sines[at : at + last].addcmul_(radius[:last], angle[:last].sin())
    return out


def _words(key: Key, count: int) -> "np.ndarray[tuple[int], np.dtype[np.uint64]]":
    raw = blake3(b"p2pfl/private/draw\0", key=key).digest(length=max(8 * count, 1))
    return np.frombuffer(raw, np.uint8)[: 8 * count].view("<u8")
