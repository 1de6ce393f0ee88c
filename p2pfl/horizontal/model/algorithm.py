"""The arithmetic of one exchange as pure functions of tensors: what the node's work and the dense engine both run.
Knows codecs, mixers and schemas; knows no message, round or neighbour.

Legend: P values in a model; V vectors of P values in what is said (1, or more under some neighbourhood rules).
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from p2pfl.compress import Codec, Packed, rows
from p2pfl.core.noise import Key, derive
from p2pfl.core.vectors import ParamSchema
from p2pfl.learn.learner import Learner
from p2pfl.learn.optim import OptState
from p2pfl.learn.training import Trained
from p2pfl.mixing.pairwise import Mixed, PairState, Pairwise, Said, counted
from p2pfl.mixing.reference import Reference, advance
from p2pfl.mixing.rows import Heard, Phase, RowMixer, State

# ------------------------------------------------------------------------------------------------ a local phase


class Guard(Protocol):
    """What is done to a local update before it becomes part of the model: the only place where data enter."""

    def apply(self, delta: Tensor, key: Key) -> Tensor:
        """delta (P,) -> (P,); randomness from `key`, which is secret to the node."""
        ...


def local_phase(
    learner: Learner,
    guard: Guard | None,
    x: Tensor,
    state: OptState,
    shift: Tensor | None,
    steps: int,
    round_: int,
    key: Key,
    weight: float,
) -> Trained:
    """Train; what the data changed is clipped and noised before anybody sees it, if that is asked for."""
    trained = learner.train(x, state, shift, steps, round_, key, weight=weight)
    if guard is None:
        return trained
    return replace(trained, x=guarded(guard, x, trained.x, key, state.steps))


def guarded(guard: Guard, before: Tensor, after: Tensor, key: Key, first: int) -> Tensor:
    """The model (P,) after a phase from step `first` on, as it may be shown."""
    return before + guard.apply(after - before, derive(key, "guard", first))


# ------------------------------------------------------------------------------------------------ vectors and codes


class Piece(NamedTuple):
    """What is coded by itself: one parameter group of one vector."""

    name: str
    start: int
    stop: int
    labels: tuple[str | int, ...]  # under which its codec key is derived

    @property
    def size(self) -> int:
        return self.stop - self.start


def pieces(schema: ParamSchema, vectors: int = 1) -> Iterator[Piece]:
    """The groups of each of `vectors` vectors that follow one another, in order."""
    for number in range(vectors):
        base = number * schema.size
        for group in schema.groups:
            labels = (group.name,) if number == 0 else (group.name, number)
            yield Piece(group.name, base + group.start, base + group.stop, labels)


def encode_vectors(
    codec: Codec, v: Tensor, schema: ParamSchema, key: Key, damp: float = 1.0, vectors: int = 1
) -> tuple[list[Packed], Tensor]:
    """v (V P,) float32 -> one code per piece, and q (V P,). Raises ValueError if v has a value that is not finite."""
    packed, heard = [], []
    for piece in pieces(schema, vectors):
        code, q = codec.encode(v[piece.start : piece.stop], derive(key, *piece.labels), damp)
        packed.append(code)
        heard.append(q)
    return packed, torch.cat(heard) if len(heard) > 1 else heard[0]


def decode_vectors(codec: Codec, packed: Sequence[Packed], schema: ParamSchema, vectors: int = 1) -> Tensor:
    """-> q (V P,) float32. Raises Reject."""
    heard = [codec.decode(p, piece.size) for p, piece in zip(packed, pieces(schema, vectors), strict=True)]
    return torch.cat(heard) if len(heard) > 1 else heard[0]


def project_vectors(
    codec: Codec, v: Tensor, schema: ParamSchema, key: Key, damp: float = 1.0, vectors: int = 1
) -> Tensor:
    """q alone (V P,): what `encode_vectors` gives, bit for bit, where v is."""
    heard = [codec.project(v[p.start : p.stop], derive(key, *p.labels), damp) for p in pieces(schema, vectors)]
    return torch.cat(heard) if len(heard) > 1 else heard[0]


def project_rows(
    codec: Codec, v: Tensor, schema: ParamSchema, keys: Sequence[Key], damp: Tensor, vectors: int = 1
) -> Tensor:
    """`project_vectors` of many nodes: v (n, V P), a key and a damp (n,) float64 each -> q (n, V P)."""
    found = list(pieces(schema, vectors))
    heard = [
        rows.project_rows(codec, v[:, p.start : p.stop], [derive(key, *p.labels) for key in keys], damp) for p in found
    ]
    return torch.cat(heard, dim=1) if len(heard) > 1 else heard[0]


def norm_of(q: Tensor) -> float:
    return float(norms_of(q))


def norms_of(q: Tensor) -> Tensor:
    """|q| of q (..., P), float64 (...)."""
    norms: Tensor = torch.linalg.vector_norm(q, dim=-1, dtype=torch.float64)
    return norms


# ------------------------------------------------------------------------------------------------ a pair's exchange


COLD = 2
"""Exchanges of a fresh epoch that count less than whole."""


def warmth_of(fresh: bool, seq: int) -> float:
    """How much of an epoch's exchange at `seq` counts: of the first `COLD` of a fresh one a quarter and a half.

    Two parts of a network that have gone on without each other are brought together in steps. A power of two, so that
    both ends move by the same bits. An epoch that a model's growth has begun is not fresh, and counts whole: small
    steps would cost points there (docs/log.md).
    """
    return 2.0 ** min(seq - COLD, 0) if fresh else 1.0


def _warmed(said: Said, warmth: float) -> Said:
    """What counts of q (P,)."""
    return said._replace(q=said.q * warmth)


def exchange(
    rule: Pairwise,
    state: PairState,
    x: Tensor,
    reference: Reference,
    mine: Said,
    other: Said,
    schema: ParamSchema,
    warmth: float = 1.0,
) -> tuple[Mixed, Reference]:
    """One pairwise exchange at one end: the size check, the mix, and the edge's next reference.

    warmth: a power of two, how much of the move is made, the same at both ends; the reference follows what was said
    whatever it is.

    Law: at the other end, with `mine` and `other` swapped, the change of z is the opposite and the reference the same,
    bit for bit.
    """
    mine_counts = mine._replace(q=counted(mine.q, mine.norm, other.reach))
    other_counts = other._replace(q=counted(other.q, other.norm, mine.reach))
    mixed = rule.mix(state, x, _warmed(mine_counts, warmth), _warmed(other_counts, warmth), schema)
    return mixed, advance(reference, mine_counts.q, other_counts.q, schema)


# ------------------------------------------------------------------------------------------------ a neighbourhood's


def say_row(rule: RowMixer, state: State, x: Tensor, phase: Phase) -> Tensor:
    """What the node says to its neighbours, before the codec: (V P,) float32."""
    return rule.outgoing(state, x, phase).to(torch.float32)


def notes_of(rule: RowMixer, state: State) -> Tensor:
    """The state's scalars that travel beside the row, (C,) float64."""
    values = [state[note.name] for note in rule.notes]
    return torch.stack(values) if values else torch.empty(0, dtype=torch.float64)


def mix_row(rule: RowMixer, state: State, x: Tensor, heard: Heard, phase: Phase) -> tuple[State, Tensor]:
    """The rule's next state and model, computed in the model's dtype."""
    return rule.mix(state, x, heard._replace(own=heard.own.to(x.dtype), inbox=heard.inbox.to(x.dtype)), phase)


def idle_phase(x: Tensor) -> Phase:
    """A round without local steps."""
    return Phase(x, torch.zeros((), dtype=torch.float64))
