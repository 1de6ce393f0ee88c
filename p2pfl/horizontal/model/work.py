"""The heavy work of a gossip node as values, and what runs it. Knows tensors; no message, round or neighbour's state.

A task's result depends on its fields alone, so a host may run it in a thread, a simulator at any moment, and a replay
again. Tensors in tasks are shared with the party and never changed in place.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import nan
from typing import Any, NamedTuple

import torch
from blake3 import blake3
from torch import Tensor

from p2pfl.compress import Codec, Packed
from p2pfl.compress.vectors import TILE, tiles
from p2pfl.core.limits import SECTIONS_MAX
from p2pfl.core.noise import Key
from p2pfl.core.party import Buffer, Lane, Put
from p2pfl.core.vectors import ParamSchema
from p2pfl.errors import Reject
from p2pfl.horizontal.model.algorithm import (
    Guard,
    decode_vectors,
    encode_vectors,
    exchange,
    local_phase,
    mix_row,
    norm_of,
    pieces,
    say_row,
)
from p2pfl.learn.data import SplitName
from p2pfl.learn.learner import Learner, sized
from p2pfl.learn.optim import OptState
from p2pfl.learn.part_learner import evaluate_with
from p2pfl.learn.training import Trained
from p2pfl.mixing import Mixer
from p2pfl.mixing.pairwise import Mixed, PairState, Pairwise, Said
from p2pfl.mixing.reference import Reference, difference, exponents_for, from_vector
from p2pfl.mixing.rows import Heard, Phase, RowMixer, State
from p2pfl.wire.envelope import chunk_digests
from p2pfl.wire.messages import Section

# ------------------------------------------------------------------------------------------------ tasks


@dataclass(frozen=True, eq=False, slots=True)
class Train:
    """`steps` local steps from x (P,); lr * shift is taken off after each. batch: None as the learner has it."""

    round: int
    steps: int
    x: Tensor
    state: OptState
    shift: Tensor | None
    key: Key
    weight: float = 1.0
    batch: int | None = None
    lane: Lane = "train"


@dataclass(frozen=True, eq=False, slots=True)
class Evaluate:
    round: int
    x: Tensor
    splits: tuple[SplitName, ...]
    state: OptState | None = None  # what the learner keeps beside x
    lane: Lane = "train"


@dataclass(frozen=True, eq=False, slots=True)
class Encode:
    """Code x - reference for one neighbour."""

    op: object
    x: Tensor
    reference: Reference
    key: Key
    damp: float
    lane: Lane = "wire"


@dataclass(frozen=True, eq=False, slots=True)
class Apply:
    """Decode what the other end said and mix it in."""

    op: object
    x: Tensor
    state: PairState
    reference: Reference
    mine: Said
    other: Said  # q is decoded here; the field holds an empty tensor before
    sections: tuple[Section, ...]
    body: Buffer
    body_chunks: bytes | None  # to be checked here, if the host has not
    warmth: float = 1.0
    lane: Lane = "wire"


@dataclass(frozen=True, eq=False, slots=True)
class Decode:
    """Decode one neighbour's row, of this schema."""

    op: object
    schema: ParamSchema
    sections: tuple[Section, ...]
    body: Buffer
    lane: Lane = "wire"


@dataclass(frozen=True, eq=False, slots=True)
class EncodeRow:
    """Code what a neighbourhood rule says this round, for all neighbours alike."""

    op: object
    x: Tensor
    state: State
    phase: Phase
    key: Key
    lane: Lane = "wire"


@dataclass(frozen=True, eq=False, slots=True)
class MixRows:
    """Mix a round's rows: with the rows, weights and notes of the neighbours that were heard, in one order."""

    op: object
    x: Tensor
    state: State
    phase: Phase
    own: Tensor
    rows: tuple[Tensor, ...]
    weights: tuple[float, ...]
    given: float
    notes: tuple[tuple[float, ...], ...]
    lane: Lane = "wire"


@dataclass(frozen=True, eq=False, slots=True)
class Begin:
    """A new epoch's reference from one's own model."""

    op: object
    x: Tensor
    key: Key
    lane: Lane = "wire"


@dataclass(frozen=True, eq=False, slots=True)
class Install:
    """A new epoch's reference from the other end's snapshot."""

    op: object
    exponents: tuple[int, ...]
    sections: tuple[Section, ...]
    body: Buffer
    body_chunks: bytes | None
    lane: Lane = "wire"


@dataclass(frozen=True, eq=False, slots=True)
class Pack:
    """Turn the state into durable records, off the event loop."""

    op: object
    pack: Callable[[], tuple[Put, ...]]
    lane: Lane = "wire"


@dataclass(frozen=True, eq=False, slots=True)
class Restore:
    """Rebuild the state from durable records, off the event loop."""

    build: Callable[["GossipWork"], Any]
    lane: Lane = "wire"


@dataclass(frozen=True, eq=False, slots=True)
class Calculate:
    """A step of an exchange that brings its arithmetic with it; what `run` closes over is never changed in place."""

    op: object
    run: Callable[[], Any]
    lane: Lane = "wire"


GossipTask = (
    Train | Evaluate | Encode | Apply | EncodeRow | Decode | MixRows | Begin | Install | Pack | Restore | Calculate
)


# ------------------------------------------------------------------------------------------------ results


class Encoded(NamedTuple):
    sections: tuple[Section, ...]
    body: bytes
    chunks: bytes
    q: Tensor
    norm: float


class EncodedRow(NamedTuple):
    """The body may be the memory of q."""

    sections: tuple[Section, ...]
    body: Buffer
    chunks: bytes
    q: Tensor

    def head(self, count: int) -> "EncodedRow":
        """Its first `count` sections: what a neighbour gets that is not told the rest."""
        body = memoryview(self.body).cast("B")[: sum(section.size_bytes for section in self.sections[:count])]
        return EncodedRow(self.sections[:count], body, chunk_digests((body,)), self.q)


class MixedRow(NamedTuple):
    """similarity: of each row, if the rule says it."""

    state: State
    x: Tensor
    similarity: tuple[float, ...] = ()


class Applied(NamedTuple):
    mixed: Mixed
    reference: Reference
    digest: bytes


class Begun(NamedTuple):
    reference: Reference
    digest: bytes
    encoded: Encoded


NORM_TOLERANCE = 1e-6
"""Two machines may sum the squares of one vector in different orders."""


class GossipWork:
    """Runs the tasks with one learner, codec and mixer. Stateless between tasks."""

    def __init__(
        self,
        learner: Learner,
        codec: Codec,
        mixer: Mixer,
        snapshot_codec: Codec,
        guard: Guard | None = None,
        said: ParamSchema | None = None,
    ) -> None:
        """said: of what travels, where that is not the model."""
        self.guard = guard
        self.learner = learner
        self.codec = codec
        self.mixer = mixer
        self.snapshot_codec = snapshot_codec
        self.schema = learner.schema if said is None else said

    def run(self, task: Any) -> Any:
        """The task's result. What a peer got wrong comes back as the Reject itself, never as an exception."""
        try:
            return self._run(task)
        except Reject as refusal:
            return refusal

    def _run(self, task: Any) -> Any:
        match task:
            case Train():
                return self.train(task)
            case Evaluate():
                return {split: evaluate_with(self.learner, task.x, task.state, split) for split in task.splits}
            case Encode():
                return self.encode(task)
            case Apply():
                return self.apply(task)
            case Decode():
                return decode_sections(self.codec, task.sections, task.body, task.schema, self.vectors)
            case EncodeRow():
                return self.encode_row(task)
            case MixRows():
                return self.mix_rows(task)
            case Begin():
                return self.begin(task.x, task.key)
            case Install():
                return self.install(task)
            case Pack():
                return task.pack()
            case Restore():
                return task.build(self)
            case Calculate():
                return task.run()
            case _:
                raise TypeError(f"unknown task {type(task).__name__}")

    def train(self, task: Train) -> Trained:
        learner = self.learner if task.batch is None else sized(self.learner, task.batch)
        return local_phase(
            learner, self.guard, task.x, task.state, task.shift, task.steps, task.round, task.key, task.weight
        )

    def encode(self, task: Encode) -> Encoded:
        v = difference(task.x, task.reference, self.schema)
        return encode_sections(self.codec, v, self.schema, task.key, task.damp)

    @property
    def vectors(self) -> int:
        """V: vectors in what is said at once."""
        return 1 if isinstance(self.mixer, Pairwise) else self.mixer.vectors

    @property
    def rule(self) -> RowMixer:
        assert not isinstance(self.mixer, Pairwise)
        return self.mixer

    def encode_row(self, task: EncodeRow) -> EncodedRow:
        v = say_row(self.rule, task.state, task.x, task.phase)
        packed, q = encode_vectors(self.codec, v, self.schema, task.key, 1.0, self.vectors)
        sections, body = laid_out(packed)
        return EncodedRow(sections, body, chunk_digests((body,)), q)

    def mix_rows(self, task: MixRows) -> MixedRow:
        """A rule that mixes value by value does so in pieces: they stay in the cache, and no row is copied."""
        size, rule = task.x.numel(), self.rule
        if size <= TILE or not getattr(rule, "elementwise", False):
            whole = slice(0, len(task.own))
            state, x = self.mix_part(task, whole, slice(0, size))
            said = getattr(rule, "similarity", None)
            return MixedRow(state, x, () if said is None else tuple(said(self.heard(task, whole)).tolist()))
        x = torch.empty_like(task.x)
        for part in tiles(size):
            _, x[part] = self.mix_part(task, part, part)
        return MixedRow(task.state, x)

    def mix_part(self, task: MixRows, said: slice, part: slice) -> tuple[State, Tensor]:
        """`said` of what the rows hold, and `part` of the model."""
        phase = task.phase._replace(before=task.phase.before[part])
        return mix_row(self.rule, task.state, task.x[part], self.heard(task, said), phase)

    def heard(self, task: MixRows, said: slice) -> Heard:
        count, own = len(task.rows), task.own[said]
        return Heard(
            own=own,
            inbox=_stacked([row[said] for row in task.rows], own.numel()) if count else own.new_empty((0, own.numel())),
            weights=torch.tensor(task.weights, dtype=torch.float64),
            given=torch.tensor(task.given, dtype=torch.float64),
            notes=torch.tensor(task.notes, dtype=torch.float64).reshape(count, len(self.rule.notes)),
        )

    def apply(self, task: Apply) -> Applied:
        """Decode, hold to the size check, mix, and the next reference. Raises Reject if the body is not as stated."""
        assert isinstance(self.mixer, Pairwise)
        _check_chunks(task.body, task.body_chunks)
        mine, other = task.mine, task.other
        q = decode_sections(self.codec, task.sections, task.body, self.schema)
        if norm_of(q) > float(other.norm) * (1 + NORM_TOLERANCE):
            raise Reject("norm", f"expected |q| = {float(other.norm):.6g} as stated, got {norm_of(q):.6g}")
        mixed, reference = exchange(
            self.mixer, task.state, task.x, task.reference, mine, other._replace(q=q), self.schema, task.warmth
        )
        return Applied(mixed, reference, reference.digest())

    def begin(self, x: Tensor, key: Key) -> Begun:
        encoded = encode_sections(self.snapshot_codec, x.to(torch.float32), self.schema, key, 1.0)
        reference = from_vector(encoded.q, exponents_for(x, self.schema), self.schema)
        return Begun(reference, reference.digest(), encoded)

    def install(self, task: Install) -> Begun:
        _check_chunks(task.body, task.body_chunks)
        if len(task.exponents) != len(self.schema.groups):
            raise Reject("malformed", f"expected {len(self.schema.groups)} exponents, got {len(task.exponents)}")
        q = decode_sections(self.snapshot_codec, task.sections, task.body, self.schema)
        reference = from_vector(q, task.exponents, self.schema)
        return Begun(reference, reference.digest(), Encoded(task.sections, bytes(task.body), b"", q, norm_of(q)))


def _stacked(rows: list[Tensor], size: int) -> Tensor:
    """(K, size); one that ends earlier is filled up with nan."""
    if any(len(row) != size for row in rows):
        rows = [torch.cat([row, row.new_full((size - len(row),), nan)]) for row in rows]
    return torch.stack(rows)


# ------------------------------------------------------------------------------------------------ vectors as sections


def encode_sections(codec: Codec, v: Tensor, schema: ParamSchema, key: Key, damp: float) -> Encoded:
    """v (P,) -> one section per group. Raises ValueError if v has a value that is not finite."""
    packed, q = encode_vectors(codec, v, schema, key, damp)
    sections, laid = laid_out(packed)
    body = bytes(laid)
    return Encoded(sections, body, chunk_digests((body,)), q, norm_of(q))


def laid_out(packed: Sequence[Packed]) -> tuple[tuple[Section, ...], Buffer]:
    """Codes one after another as a message's sections and body; a single one is not copied."""
    sections = tuple(Section(p.fields, memoryview(p.body).nbytes) for p in packed)
    return sections, packed[0].body if len(packed) == 1 else b"".join(p.body for p in packed)


def decode_sections(
    codec: Codec, sections: tuple[Section, ...], body: Buffer, schema: ParamSchema, vectors: int = 1
) -> Tensor:
    """-> q (V P,) float32. Raises Reject."""
    view, at, packed = memoryview(body).cast("B"), 0, []
    for section in sections:
        packed.append(Packed(section.fields, view[at : at + section.size_bytes]))
        at += section.size_bytes
    return decode_vectors(codec, packed, schema, vectors)


def check_sections(
    codec: Codec, sections: tuple[Section, ...], body_len: int, schema: ParamSchema, vectors: int = 1
) -> None:
    """Admission: whether the sizes can be those of this schema's vectors. Raises Reject, allocates nothing."""
    wanted = tuple(pieces(schema, vectors))
    if len(sections) != len(wanted) or len(sections) > SECTIONS_MAX:
        raise Reject("sections", f"expected {len(wanted)} sections, got {len(sections)}")
    for section, piece in zip(sections, wanted, strict=True):
        bounds = codec.bounds(piece.size)
        if section.size_bytes > bounds.body_bytes or len(section.fields) > bounds.num_fields:
            raise Reject("size", f"{piece.name}: expected at most {bounds.body_bytes} bytes, got {section.size_bytes}")
    if sum(s.size_bytes for s in sections) != body_len:
        raise Reject("size", f"expected a body of {sum(s.size_bytes for s in sections)} bytes, got {body_len}")


def body_bytes_max(codec: Codec, schema: ParamSchema) -> int:
    """The longest body an honest node sends for this schema."""
    return sum(codec.bounds(group.size).body_bytes for group in schema.groups)


def body_digest(chunks: bytes) -> bytes:
    """Names a body: BLAKE3 of its chunk digests. What receipts and feeds speak of."""
    return blake3(chunks).digest()


def _check_chunks(body: Buffer, chunks: bytes | None) -> None:
    if chunks is not None and chunk_digests((body,)) != chunks:
        raise Reject("chunk-digest", "the body is not what its signed header says")
