"""Randomness as an argument: 32-byte keys, derived by label and expanded where they are used. Knows no system entropy.

A key is derived, never advanced: what node 3 draws in round 7 for its batches does not depend on who drew before.
In a real host the root key comes from the system's secure source, in a simulation from the run's seed.
"""

from typing import NewType

import numpy as np
from blake3 import blake3

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


def seed64(key: Key) -> int:
    """63 bits of the key, for generators that take an integer (torch)."""
    return int.from_bytes(key[:8], "big") >> 1
