"""Randomness as an argument: 32-byte keys, derived by label and expanded where they are used. Knows no system entropy.

A key is derived, never advanced: what node 3 draws in round 7 for its batches does not depend on who drew before.
In a real host the root key comes from the system's secure source, in a simulation from the run's seed.
"""

from typing import Any, NewType

import numpy as np
from blake3 import blake3
from numpy.typing import NDArray

Key = NewType("Key", bytes)


def derive(key: bytes, *labels: str | int | bytes) -> Key:
    """A child key, independent of every other label path. Labels are length-prefixed, so no two paths collide."""
    hasher = blake3(key=key)
    for label in labels:
        raw = label if isinstance(label, bytes) else str(label).encode()
        hasher.update(len(raw).to_bytes(4, "big") + raw)
    return Key(hasher.digest())


def root(seed: int) -> Key:
    """The root key of a simulation. A deployed node uses 32 bytes of system entropy instead."""
    return Key(blake3(b"p2pfl/seed\0" + str(seed).encode()).digest())


def generator(key: Key) -> np.random.Generator:
    """A numpy generator (Philox, counter based) for this key. For data order and starts, never for privacy noise."""
    return np.random.Generator(np.random.Philox(key=int.from_bytes(key[:16], "big")))


class Shuffler:
    """`generator(key).permutation(n)` for one key after another, at a third of the cost. One thread at a time."""

    def __init__(self) -> None:
        self._philox = np.random.Philox(key=0)
        self._generator = np.random.Generator(self._philox)
        self._state: Any = self._philox.state  # a fresh generator's, but for the key

    def permutation(self, key: Key, n: int) -> NDArray[np.int64]:
        self._state["state"]["key"] = np.frombuffer(key[:16], ">u8")[::-1].astype(np.uint64)
        self._philox.state = self._state
        return self._generator.permutation(n)


def seed64(key: Key) -> int:
    """63 bits of the key, for generators that take an integer (torch)."""
    return int.from_bytes(key[:8], "big") >> 1


def gaussian(key: Key, n: int) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """n standard normal float64 values from a cryptographic stream: as secret as the key.

    Uniforms are 53 bits of BLAKE3's extended output under the key, normals by Box and Muller (1958). For privacy noise;
    the low bits of floating-point noise are a known side channel (Mironov 2012) and are not treated here.
    """
    pairs = -(-n // 2)
    raw = np.frombuffer(blake3(b"p2pfl/gaussian\0", key=key).digest(length=max(16 * pairs, 1)), np.uint8)
    bits = raw[: 16 * pairs].view("<u8") >> np.uint64(11)
    uniform = (bits.astype(np.float64) + 0.5) * 2.0**-53
    radius = np.sqrt(-2.0 * np.log(uniform[:pairs]))
    angle = 2.0 * np.pi * uniform[pairs:]
    return np.concatenate([radius * np.cos(angle), radius * np.sin(angle)])[:n]
