"""What gossiping nodes say to each other, as frozen, validated values. Knows fields, not what is done with them.

Each message is a dataclass with `KIND` (bound into the signature by the envelope), `to_fields` and `from_fields`;
`from_fields` raises Reject unless every field has its type and range. Vectors travel as `sections`: one per parameter
group, each the codec's small numbers and the length of its part of the raw body.
"""

from dataclasses import dataclass
from math import inf, isfinite
from typing import Any, ClassVar, NamedTuple

from p2pfl.core.limits import BODY_BYTES_MAX, HEADER_BYTES_MAX, NODES_MAX, ROUNDS_MAX, SECTIONS_MAX, STATE_PARTS_MAX
from p2pfl.errors import Reject

U63 = (1 << 63) - 1
SECTION_FIELDS_MAX = 16
NOTES_MAX = 16
LENGTH_MAX = 1e30
REACH_MIN = 1e-30
"""So that a length divided by a reach is finite."""
PHASE_MIN = 1e-12
"""What the step of the drift correction is divided by is never 0."""


class Section(NamedTuple):
    """One group of a vector: the codec's fields, and how many bytes of the body are its."""

    fields: tuple[int | float, ...]
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Update:
    """One end's half of a pairwise exchange. A request and an answer have the same content.

    epoch, seq: the edge's position. averages: progress, samples, score and stop_at of
    the sender (horizontal/averages.py). reference: BLAKE3 of the reference before this exchange. norm: |q| as
    sent; reach: how long a q the sender accepts whole. tau: clip radius of the move. On the wire a reach or tau of -1
    means that there is none. receipt: what the sender has received from the other end, as the BLAKE3 of its chunk
    digests: in an answer the request's body, in a request that of the exchange before (zeros if there is none).
    Body: the codec's bytes of q.
    """

    KIND: ClassVar[str] = "update"
    recipe: bytes
    to: bytes
    epoch: int
    seq: int
    averages: tuple[float, float, float, int]
    reference: bytes
    answer: bool
    receipt: bytes
    norm: float
    reach: float
    work: float
    phase: float
    tau: float
    damp: float
    sections: tuple[Section, ...]

    def to_fields(self) -> list[Any]:
        reach, tau = (value if isfinite(value) else -1.0 for value in (self.reach, self.tau))
        return [
            *(self.recipe, self.to, self.epoch, self.seq, list(self.averages), self.reference),
            *(self.answer, self.receipt),
            *(self.norm, reach, self.work, self.phase, tau, self.damp, sections_to(self.sections)),
        ]

    @classmethod
    def from_fields(cls, fields: list[Any]) -> "Update":
        f = _exactly(fields, 15, cls.KIND)
        return cls(
            recipe=_digest(f[0], "recipe"),
            to=_digest(f[1], "to"),
            epoch=_uint(f[2], "epoch", U63),
            seq=_uint(f[3], "seq", U63),
            averages=_averages(f[4]),
            reference=_digest(f[5], "reference"),
            answer=_bool(f[6], "answer"),
            receipt=_digest(f[7], "receipt"),
            norm=_real(f[8], "norm", 0.0, LENGTH_MAX),
            reach=_bound(f[9], "reach", REACH_MIN),
            work=_real(f[10], "work", 0.0, 1e12),
            phase=_real(f[11], "phase", PHASE_MIN, 1e12),
            tau=_bound(f[12], "tau", 0.0),
            damp=_real(f[13], "damp", 0.1, 1.0),
            sections=sections_from(f[14]),
        )


@dataclass(frozen=True, slots=True)
class Row:
    """What a node says to its neighbours in one round, for rules that need rows. Body: the codec's bytes.

    sections: one per parameter group of each vector that the rule says. notes: the scalars that travel beside it.
    """

    KIND: ClassVar[str] = "row"
    recipe: bytes
    to: bytes
    round: int
    averages: tuple[float, float, float, int]
    sections: tuple[Section, ...]
    notes: tuple[float, ...] = ()

    def to_fields(self) -> list[Any]:
        sections, notes = sections_to(self.sections), list(self.notes)
        return [self.recipe, self.to, self.round, list(self.averages), sections, notes]

    @classmethod
    def from_fields(cls, fields: list[Any]) -> "Row":
        f = _exactly(fields, 6, cls.KIND)
        return cls(
            _digest(f[0], "recipe"),
            _digest(f[1], "to"),
            _uint(f[2], "round", ROUNDS_MAX),
            _averages(f[3]),
            sections_from(f[4]),
            _notes_in(f[5]),
        )


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Begins a new epoch of an edge: both ends set their reference to this. Body: the sender's model in the int8 codec.

    exponents: the unit 2^e of the reference, per group. fresh: both ends also take off what the edge has added to their
    drift corrections, since they may not agree on it any more. Sent by the end with the smaller id only.
    """

    KIND: ClassVar[str] = "snapshot"
    recipe: bytes
    to: bytes
    epoch: int
    exponents: tuple[int, ...]
    sections: tuple[Section, ...]
    fresh: bool = False

    def to_fields(self) -> list[Any]:
        return [self.recipe, self.to, self.epoch, list(self.exponents), sections_to(self.sections), self.fresh]

    @classmethod
    def from_fields(cls, fields: list[Any]) -> "Snapshot":
        f = _exactly(fields, 6, cls.KIND)
        exponents = f[3]
        if not isinstance(exponents, list) or not 0 < len(exponents) <= SECTIONS_MAX:
            raise Reject("malformed", "snapshot: expected one exponent per group")
        return cls(
            _digest(f[0], "recipe"),
            _digest(f[1], "to"),
            _uint(f[2], "epoch", U63),
            tuple(_int(e, "exponent", -120, 90) for e in exponents),
            sections_from(f[4]),
            _bool(f[5], "fresh"),
        )


@dataclass(frozen=True, slots=True)
class Edge:
    """Where the sender stands on an edge, without a body.

    state "want": begin a new epoch, later than `epoch`; "afresh": the same, and a fresh one; "have": the snapshot of
    `epoch` is installed; "ahead": your update was applied long ago, at a position I have passed; "hello": I am here,
    before the first exchange.
    """

    KIND: ClassVar[str] = "edge"
    STATES: ClassVar[tuple[str, ...]] = ("want", "afresh", "have", "ahead", "hello")
    recipe: bytes
    to: bytes
    state: str
    epoch: int
    seq: int

    def to_fields(self) -> list[Any]:
        return [self.recipe, self.to, self.state, self.epoch, self.seq]

    @classmethod
    def from_fields(cls, fields: list[Any]) -> "Edge":
        f = _exactly(fields, 5, cls.KIND)
        if f[2] not in cls.STATES:
            raise Reject("malformed", f"edge: expected a state of {cls.STATES}")
        return cls(
            _digest(f[0], "recipe"), _digest(f[1], "to"), f[2], _uint(f[3], "epoch", U63), _uint(f[4], "seq", U63)
        )


@dataclass(frozen=True, slots=True)
class Bye:
    """The sender has done all its rounds, has nothing in flight, and goes on serving until its neighbours have too."""

    KIND: ClassVar[str] = "bye"
    recipe: bytes
    to: bytes
    round: int

    def to_fields(self) -> list[Any]:
        return [self.recipe, self.to, self.round]

    @classmethod
    def from_fields(cls, fields: list[Any]) -> "Bye":
        f = _exactly(fields, 3, cls.KIND)
        return cls(_digest(f[0], "recipe"), _digest(f[1], "to"), _uint(f[2], "round", ROUNDS_MAX))


@dataclass(frozen=True, slots=True)
class Fetch:
    """A newcomer asks for a part of the receiver's model: part 0 is the list of the others. `root` names the model as
    that list does; zeros ask for the newest.
    """

    KIND: ClassVar[str] = "fetch"
    recipe: bytes
    to: bytes
    root: bytes
    part: int

    def to_fields(self) -> list[Any]:
        return [self.recipe, self.to, self.root, self.part]

    @classmethod
    def from_fields(cls, fields: list[Any]) -> "Fetch":
        f = _exactly(fields, 4, cls.KIND)
        return cls(_digest(f[0], "recipe"), _digest(f[1], "to"), _digest(f[2], "root"), _part(f[3], "part"))


@dataclass(frozen=True, slots=True)
class State:
    """The answer: a part of the model `root`, one section of it; or, as part 0 and without a section, the BLAKE3 of
    each part. averages: the giver's when the model was cut. load: newcomers that it serves at present.
    """

    KIND: ClassVar[str] = "state"
    recipe: bytes
    to: bytes
    root: bytes
    part: int
    parts: int
    averages: tuple[float, float, float, int]
    load: int
    sections: tuple[Section, ...] = ()

    def to_fields(self) -> list[Any]:
        fields = [self.recipe, self.to, self.root, self.part, self.parts, list(self.averages), self.load]
        return [*fields, sections_to(self.sections)]

    @classmethod
    def from_fields(cls, fields: list[Any]) -> "State":
        f = _exactly(fields, 8, cls.KIND)
        sections = () if f[7] == [] else sections_from(f[7])
        part, parts = _part(f[3], "part"), _part(f[4], "parts")
        if part > parts or len(sections) != min(part, 1):
            raise Reject("malformed", "state: expected the list without a section, or one of its parts with one")
        return cls(
            _digest(f[0], "recipe"),
            _digest(f[1], "to"),
            _digest(f[2], "root"),
            part,
            parts,
            _averages(f[5]),
            _uint(f[6], "load", NODES_MAX),
            sections,
        )


@dataclass(frozen=True, slots=True)
class Parcel:
    """Some of the ledger's talk, for the receiver's Peer and never for its job. Body: docs/formats/parcel.md."""

    KIND: ClassVar[str] = "ledger"
    to: bytes

    def to_fields(self) -> list[Any]:
        return [self.to]

    @classmethod
    def from_fields(cls, fields: list[Any]) -> "Parcel":
        (to,) = _exactly(fields, 1, cls.KIND)
        return cls(_digest(to, "to"))


@dataclass(frozen=True, slots=True)
class MemberTalk:
    """What members say about the members, for the receiver's Peer. No body; `line`: docs/formats/member.md."""

    KIND: ClassVar[str] = "member"
    to: bytes
    line: bytes

    def to_fields(self) -> list[Any]:
        return [self.to, self.line]

    @classmethod
    def from_fields(cls, fields: list[Any]) -> "MemberTalk":
        to, line = _exactly(fields, 2, cls.KIND)
        if not isinstance(line, bytes) or len(line) > HEADER_BYTES_MAX:
            raise Reject("malformed", "member: expected bytes")
        return cls(_digest(to, "to"), line)


Message = Update | Row | Snapshot | Edge | Bye | Fetch | State
KINDS: dict[str, type[Message | Parcel]] = {m.KIND: m for m in (Update, Row, Snapshot, Edge, Bye, Fetch, State, Parcel)}


def parse(kind: str, fields: list[Any]) -> Message | Parcel:
    """The message of this kind. Raises Reject."""
    if kind not in KINDS:
        raise Reject("kind", f"expected one of {sorted(KINDS)}, got {kind[:32]!r}")
    return KINDS[kind].from_fields(fields)


def sections_to(sections: tuple[Section, ...]) -> list[Any]:
    """Sections as message fields."""
    return [[list(s.fields), s.size_bytes] for s in sections]


def sections_from(raw: Any) -> tuple[Section, ...]:
    """Sections out of a message's fields. Raises Reject."""
    if not isinstance(raw, list) or not 0 < len(raw) <= SECTIONS_MAX:
        raise Reject("malformed", f"expected 1 to {SECTIONS_MAX} sections")
    sections = []
    for item in raw:
        match item:
            case [list(fields), size] if len(fields) <= SECTION_FIELDS_MAX:
                numbers = tuple(_number(value) for value in fields)
                sections.append(Section(numbers, _uint(size, "section bytes", BODY_BYTES_MAX)))
            case _:
                raise Reject("malformed", "a section is not [fields, bytes]")
    return tuple(sections)


def _notes_in(raw: Any) -> tuple[float, ...]:
    if not isinstance(raw, list) or len(raw) > NOTES_MAX:
        raise Reject("malformed", f"expected at most {NOTES_MAX} notes")
    return tuple(_real(value, "note", -LENGTH_MAX, LENGTH_MAX) for value in raw)


def _averages(raw: Any) -> tuple[float, float, float, int]:
    """progress, samples, score, stop_at."""
    if not isinstance(raw, list) or len(raw) != 4:
        raise Reject("malformed", "averages: expected four numbers")
    return (
        _real(raw[0], "progress", 0.0, float(ROUNDS_MAX)),
        _real(raw[1], "samples", 1e-9, 1e15),
        _real(raw[2], "score", -1e15, 1e15),
        _uint(raw[3], "stop_at", ROUNDS_MAX),
    )


def _exactly(fields: list[Any], count: int, kind: str) -> list[Any]:
    if len(fields) != count:
        raise Reject("malformed", f"{kind}: expected {count} fields, got {len(fields)}")
    return fields


def _int(value: Any, name: str, low: int, high: int) -> int:
    if type(value) is not int or not low <= value <= high:
        raise Reject("malformed", f"{name}: expected an integer from {low} to {high}")
    return value


def _uint(value: Any, name: str, high: int) -> int:
    return _int(value, name, 0, high)


def _part(value: Any, name: str) -> int:
    return _uint(value, name, STATE_PARTS_MAX)


def _real(value: Any, name: str, low: float, high: float) -> float:
    if type(value) is not float or not low <= value <= high:
        raise Reject("malformed", f"{name}: expected a number from {low} to {high}")
    return value


def _bound(value: Any, name: str, low: float) -> float:
    """A length that bounds another; -1 stands for none."""
    return inf if value == -1.0 and type(value) is float else _real(value, name, low, LENGTH_MAX)


def _bool(value: Any, name: str) -> bool:
    if type(value) is not bool:
        raise Reject("malformed", f"{name}: expected true or false")
    return value


def _number(value: Any) -> int | float:
    if type(value) is float and isfinite(value):
        return value
    if type(value) is int and -U63 <= value <= U63:
        return value
    raise Reject("malformed", "a codec field is not a number")


def _digest(value: Any, name: str) -> bytes:
    if not isinstance(value, bytes) or len(value) != 32:
        raise Reject("malformed", f"{name}: expected 32 bytes")
    return value
