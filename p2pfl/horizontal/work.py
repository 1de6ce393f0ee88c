"""The heavy work of a gossip node as values, and what runs it. Knows tensors; no message, round or neighbour's state.

A task's result depends on its fields alone, so a host may run it in a thread, a simulator at any moment, and a replay
again. Tensors in tasks are shared with the party and never changed in place.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, Protocol

import torch
from blake3 import blake3
from torch import Tensor

from p2pfl.compress import Codec, Packed
from p2pfl.core.limits import SECTIONS_MAX
from p2pfl.core.noise import Key, derive
from p2pfl.core.party import Buffer, Lane, Put
from p2pfl.core.vectors import ParamSchema
from p2pfl.errors import Reject
from p2pfl.learn.data import SplitName
from p2pfl.learn.learner import Learner, Trained
from p2pfl.learn.optim import OptState
from p2pfl.mixing.average import Average
from p2pfl.mixing.pairwise import Mixed, PairState, Pairwise, Said, counted
from p2pfl.mixing.reference import Reference, advance, difference, exponents_for, from_vector
from p2pfl.wire.envelope import chunk_digests
from p2pfl.wire.messages import Section

# ------------------------------------------------------------------------------------------------ tasks


@dataclass(frozen=True, eq=False, slots=True)
class Train:
    """`steps` local steps from x (P,); lr * shift is taken off after each."""

    round: int
    steps: int
    x: Tensor
    state: OptState
    shift: Tensor | None
    key: Key
    weight: float = 1.0
    lane: Lane = "train"


@dataclass(frozen=True, eq=False, slots=True)
class Evaluate:
    round: int
    x: Tensor
    splits: tuple[SplitName, ...]
    lane: Lane = "train"


@dataclass(frozen=True, eq=False, slots=True)
class Encode:
    """Code x - reference (or x itself, if there is no reference) for one neighbour."""

    op: object
    x: Tensor
    reference: Reference | None
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
    lane: Lane = "wire"


@dataclass(frozen=True, eq=False, slots=True)
class Decode:
    """Decode one neighbour's row."""

    op: object
    sections: tuple[Section, ...]
    body: Buffer
    lane: Lane = "wire"


@dataclass(frozen=True, eq=False, slots=True)
class MixRows:
    op: object
    x: Tensor
    own: Tensor
    rows: tuple[Tensor, ...]
    weights: tuple[float, ...]
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


GossipTask = Train | Evaluate | Encode | Apply | Decode | MixRows | Begin | Install | Pack | Restore


# ------------------------------------------------------------------------------------------------ results


class Encoded(NamedTuple):
    sections: tuple[Section, ...]
    body: bytes
    chunks: bytes
    q: Tensor
    norm: float


class Applied(NamedTuple):
    mixed: Mixed
    reference: Reference
    digest: bytes


class Begun(NamedTuple):
    reference: Reference
    digest: bytes
    encoded: Encoded


class Guard(Protocol):
    """What is done to a local update before it becomes part of the model: the only place where data enter."""

    def apply(self, delta: Tensor, key: Key) -> Tensor:
        """delta (P,) -> (P,); randomness from `key`, which is secret to the node."""
        ...


NORM_TOLERANCE = 1e-6
"""Two machines may sum the squares of one vector in different orders."""


class GossipWork:
    """Runs the tasks with one learner, codec and mixer. Stateless between tasks."""

    def __init__(
        self,
        learner: Learner,
        codec: Codec,
        mixer: Pairwise | Average,
        snapshot_codec: Codec,
        guard: Guard | None = None,
    ) -> None:
        self.guard = guard
        self.learner = learner
        self.codec = codec
        self.mixer = mixer
        self.snapshot_codec = snapshot_codec
        self.schema = learner.schema

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
                return {split: self.learner.evaluate(task.x, split) for split in task.splits}
            case Encode():
                return self.encode(task)
            case Apply():
                return self.apply(task)
            case Decode():
                return decode_sections(self.codec, task.sections, task.body, self.schema)
            case MixRows():
                assert isinstance(self.mixer, Average)
                weights = torch.tensor(task.weights, dtype=torch.float64)
                return self.mixer.mix(task.x, task.own, torch.stack(task.rows), weights)
            case Begin():
                return self.begin(task.x, task.key)
            case Install():
                return self.install(task)
            case Pack():
                return task.pack()
            case Restore():
                return task.build(self)
            case _:
                raise TypeError(f"unknown task {type(task).__name__}")

    def train(self, task: Train) -> Trained:
        """A local phase; what its data changed is clipped and noised before anybody sees it, if that is asked for."""
        trained = self.learner.train(
            task.x, task.state, task.shift, task.steps, task.round, task.key, weight=task.weight
        )
        if self.guard is None:
            return trained
        key = derive(task.key, "guard", task.state.steps)
        return replace(trained, x=task.x + self.guard.apply(trained.x - task.x, key))

    def encode(self, task: Encode) -> Encoded:
        v = task.x.to(torch.float32) if task.reference is None else difference(task.x, task.reference, self.schema)
        return encode_sections(self.codec, v, self.schema, task.key, task.damp)

    def apply(self, task: Apply) -> Applied:
        """Decode, hold to the size check, mix, and the next reference. Raises Reject if the body is not as stated."""
        assert isinstance(self.mixer, Pairwise)
        _check_chunks(task.body, task.body_chunks)
        mine, other = task.mine, task.other
        q = decode_sections(self.codec, task.sections, task.body, self.schema)
        if norm_of(q) > float(other.norm) * (1 + NORM_TOLERANCE):
            raise Reject("norm", f"expected |q| = {float(other.norm):.6g} as stated, got {norm_of(q):.6g}")
        mine = mine._replace(q=counted(mine.q, mine.norm, other.reach))
        other = other._replace(q=counted(q, other.norm, mine.reach))
        mixed = self.mixer.mix(task.state, task.x, mine, other, self.schema)
        reference = advance(task.reference, mine.q, other.q, self.schema)
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


# ------------------------------------------------------------------------------------------------ vectors as sections


def encode_sections(codec: Codec, v: Tensor, schema: ParamSchema, key: Key, damp: float) -> Encoded:
    """v (P,) -> one section per group. Raises ValueError if v has a value that is not finite."""
    packed, heard = [], []
    for group in schema.groups:
        code, q = codec.encode(v[group.start : group.stop], derive(key, group.name), damp)
        packed.append(code)
        heard.append(q)
    body = b"".join(bytes(p.body) for p in packed) if len(packed) > 1 else bytes(packed[0].body)
    sections = tuple(Section(p.fields, memoryview(p.body).nbytes) for p in packed)
    q = torch.cat(heard) if len(heard) > 1 else heard[0]
    return Encoded(sections, body, chunk_digests((body,)), q, norm_of(q))


def decode_sections(codec: Codec, sections: tuple[Section, ...], body: Buffer, schema: ParamSchema) -> Tensor:
    """-> q (P,) float32. Raises Reject."""
    view, at, heard = memoryview(body).cast("B"), 0, []
    for section, group in zip(sections, schema.groups, strict=True):
        piece = view[at : at + section.size_bytes]
        heard.append(codec.decode(Packed(section.fields, piece), group.size))
        at += section.size_bytes
    return torch.cat(heard) if len(heard) > 1 else heard[0]


def check_sections(codec: Codec, sections: tuple[Section, ...], body_len: int, schema: ParamSchema) -> None:
    """Admission: whether the sizes can be those of this schema's vector. Raises Reject, allocates nothing."""
    if len(sections) != len(schema.groups) or len(sections) > SECTIONS_MAX:
        raise Reject("sections", f"expected {len(schema.groups)} sections, got {len(sections)}")
    for section, group in zip(sections, schema.groups, strict=True):
        bounds = codec.bounds(group.size)
        if section.size_bytes > bounds.body_bytes or len(section.fields) > bounds.num_fields:
            raise Reject("size", f"{group.name}: expected at most {bounds.body_bytes} bytes, got {section.size_bytes}")
    if sum(s.size_bytes for s in sections) != body_len:
        raise Reject("size", f"expected a body of {sum(s.size_bytes for s in sections)} bytes, got {body_len}")


def body_bytes_max(codec: Codec, schema: ParamSchema) -> int:
    """The longest body an honest node sends for this schema."""
    return sum(codec.bounds(group.size).body_bytes for group in schema.groups)


def norm_of(q: Tensor) -> float:
    return float(torch.linalg.vector_norm(q.double()))


def body_digest(chunks: bytes) -> bytes:
    """Names a body: BLAKE3 of its chunk digests. What receipts and feeds speak of."""
    return blake3(chunks).digest()


def _check_chunks(body: Buffer, chunks: bytes | None) -> None:
    if chunks is not None and chunk_digests((body,)) != chunks:
        raise Reject("chunk-digest", "the body is not what its signed header says")
