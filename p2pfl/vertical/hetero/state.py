"""What the label holder of encrypted regression knows between turns, and its bytes on disk. Knows numbers; no step."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

import msgpack
import numpy as np

from p2pfl.core.noise import Key
from p2pfl.errors import ConfigError
from p2pfl.vertical.hetero.linear import Floats
from p2pfl.vertical.hetero.sums import pack_floats, unpack_floats
from p2pfl.vertical.turns.messages import Kind

HELD = b"held"
"""Where the columns that others sealed are written down, once."""

TOTAL, LOSS, SCORES = "total", "loss", "scores"
Closed: TypeAlias = tuple[str, Key, float]
"""What the opener was given: which of the three, the seed of my mask, my own part if it is a loss."""


@dataclass(frozen=True, slots=True)
class LabelState:
    """phase: the kind that was asked last, about batch `index`. closed: what the opener was given, in order. base: my
    own part of the loss of the batch learned last."""

    w: Floats
    phase: Kind = Kind.HELLO
    index: int = 0
    testing: bool = False
    facts: tuple[bytes, ...] = ()
    held: tuple[bytes, ...] = field(default=(), repr=False)
    closed: tuple[Closed, ...] = field(default=(), repr=False)
    base: float = 0.0
    losses: Floats = field(default_factory=lambda: np.zeros(0))
    scores: Floats = field(default_factory=lambda: np.zeros(0))


def pack_state(s: LabelState) -> bytes:
    """All but what is held."""
    numbers = [pack_floats(v) for v in (s.w, s.losses, s.scores)]
    small = [s.phase, s.index, s.testing, s.base, [list(c) for c in s.closed]]
    packed: bytes = msgpack.packb([numbers, small, list(s.facts)])
    return packed


def unpack_state(raw: bytes, kept: Mapping[bytes, bytes], columns: int) -> LabelState:
    """ConfigError if it is about another number of columns."""
    (w, losses, scores), (phase, index, testing, base, closed), facts = msgpack.unpackb(raw)
    if len(unpack_floats(w)) != columns:
        raise ConfigError(f"expected saved weights of {columns} columns, got {len(w) // 8}")
    return LabelState(
        w=unpack_floats(w),
        phase=Kind(phase),
        index=index,
        testing=testing,
        facts=tuple(facts),
        held=tuple(msgpack.unpackb(kept[HELD])) if HELD in kept else (),
        closed=tuple((str(name), Key(seed), float(own)) for name, seed, own in closed),
        base=base,
        losses=unpack_floats(losses),
        scores=unpack_floats(scores),
    )
