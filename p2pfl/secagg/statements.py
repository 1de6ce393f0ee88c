"""What members of a cell say, as frozen values with their fields checked. Knows fields; no step of the protocol.

One message kind, `CellMessage`; its `step` says what its payload is. docs/formats/secagg.md.
"""

from dataclasses import dataclass
from enum import IntEnum
from typing import Any, ClassVar

from p2pfl.core.ids import NodeId
from p2pfl.core.limits import KIB, ROUNDS_MAX
from p2pfl.errors import Reject
from p2pfl.secagg.cell import CELL_MAX
from p2pfl.secagg.masks import KEY_BYTES
from p2pfl.secagg.shares import SHARE_BYTES

VERSION = 1
DIGEST_BYTES = 32
SEALED_BYTES = 2 * SHARE_BYTES + 16
"""Two shares under ChaCha20-Poly1305."""
HEAD_BYTES_MAX = 8 * KIB
"""A signed head that is quoted: the longest holds the portions of CELL_MAX members."""


class Step(IntEnum):
    """Odd: a member to its chair; even: the chair's sheet of them. SLICE and TOTAL go from member to member."""

    KEYS = 1
    ROSTER = 2
    SHARES = 3
    DEALT = 4
    HELD = 5
    SURVIVORS = 6
    ANSWERS = 7
    OPENED = 8
    SLICE = 9
    TOTAL = 10


@dataclass(frozen=True, slots=True)
class CellMessage:
    """One statement in one cell. Body: a sheet's quoted heads, or the words of a slice or total."""

    KIND: ClassVar[str] = "cell"
    recipe: bytes
    to: bytes
    cell: bytes
    round: int
    step: Step
    payload: tuple[Any, ...]

    def to_fields(self) -> list[Any]:
        return [VERSION, self.recipe, self.to, self.cell, self.round, int(self.step), as_lists(self.payload)]

    @classmethod
    def from_fields(cls, fields: list[Any]) -> "CellMessage":
        """Raises Reject. The payload is checked by `payload_of`, where the step is expected."""
        match fields:
            case [int(version), bytes(recipe), bytes(to), bytes(cell), int(round_), int(step), list(payload)]:
                _check(type(version) is int and version == VERSION, f"version {VERSION}", version)
                _check(len(recipe) == len(to) == len(cell) == DIGEST_BYTES, "ids of 32 bytes", "others")
                _check(type(round_) is int and 0 <= round_ <= ROUNDS_MAX, "a round", round_)
                _check(type(step) is int and step in set(Step), "a known step", step)
                return cls(recipe, to, cell, round_, Step(step), tuple(payload))
        raise Reject("malformed", "cell: expected [version, recipe, to, cell, round, step, payload]")


@dataclass(frozen=True, slots=True)
class Keys:
    """One-time X25519 public keys: `mask` for masks, `seal` for what only one member may read. `note`: a number in the
    clear that the caller wants everybody to see."""

    mask: bytes
    seal: bytes
    note: int

    def payload(self) -> tuple[Any, ...]:
        return (self.mask, self.seal, self.note)

    @classmethod
    def parse(cls, payload: tuple[Any, ...]) -> "Keys":
        match payload:
            case (bytes(mask), bytes(seal), int(note)):
                _check(len(mask) == len(seal) == KEY_BYTES and mask != seal, "two keys of 32 bytes", "others")
                _check(type(note) is int and 0 <= note <= ROUNDS_MAX, "a note up to a million", note)
                return cls(mask, seal, note)
        raise Reject("malformed", "cell keys: expected [mask, seal, note]")


@dataclass(frozen=True, slots=True)
class Portion:
    """What a dealer gives one holder: both shares sealed, and commitments to them."""

    sealed: bytes
    self_share: bytes
    mask_share: bytes


@dataclass(frozen=True, slots=True)
class Deal:
    """sheet: the chair's head of the roster that this answers (empty in the chair's own). secret: commitment to the
    self-mask seed. portions: one for each member of the roster, in its order."""

    sheet: bytes
    secret: bytes
    portions: tuple[Portion, ...]

    def payload(self) -> tuple[Any, ...]:
        return (self.sheet, self.secret, tuple((p.sealed, p.self_share, p.mask_share) for p in self.portions))

    @classmethod
    def parse(cls, payload: tuple[Any, ...]) -> "Deal":
        match payload:
            case (bytes(sheet), bytes(secret), list(rows) | tuple(rows)):
                _check(len(sheet) <= HEAD_BYTES_MAX and len(secret) == DIGEST_BYTES, "a head and 32 bytes", "others")
                _check(len(rows) <= CELL_MAX, f"at most {CELL_MAX} portions", len(rows))
                return cls(sheet, secret, tuple(_portion(row) for row in rows))
        raise Reject("malformed", "cell shares: expected [sheet, secret, portions]")


@dataclass(frozen=True, slots=True)
class Held:
    """Whose slices the sender holds: bit k for the k-th dealer."""

    sheet: bytes
    holds: int

    def payload(self) -> tuple[Any, ...]:
        return (self.sheet, self.holds)

    @classmethod
    def parse(cls, payload: tuple[Any, ...]) -> "Held":
        match payload:
            case (bytes(sheet), int(holds)):
                _check(len(sheet) <= HEAD_BYTES_MAX, "a head", "a longer one")
                _check(type(holds) is int and 0 <= holds < 1 << CELL_MAX, "a bit for each member", holds)
                return cls(sheet, holds)
        raise Reject("malformed", "cell held: expected [sheet, holds]")


@dataclass(frozen=True, slots=True)
class Answers:
    """One share for each dealer, in order: of its self-mask seed if it survived, else of its mask key; empty if the
    sender was dealt none that is good."""

    sheet: bytes
    shares: tuple[bytes, ...]

    def payload(self) -> tuple[Any, ...]:
        return (self.sheet, self.shares)

    @classmethod
    def parse(cls, payload: tuple[Any, ...]) -> "Answers":
        match payload:
            case (bytes(sheet), list(shares) | tuple(shares)):
                _check(len(sheet) <= HEAD_BYTES_MAX and len(shares) <= CELL_MAX, "a head and shares", "others")
                for share in shares:
                    _check(isinstance(share, bytes) and len(share) in (0, SHARE_BYTES), "shares of 33 bytes", "others")
                return cls(sheet, tuple(shares))
        raise Reject("malformed", "cell answers: expected [sheet, shares]")


@dataclass(frozen=True, slots=True)
class Slice:
    """Of a SLICE or TOTAL: which sheet it follows (its digest), which slice it is."""

    sheet: bytes
    number: int

    def payload(self) -> tuple[Any, ...]:
        return (self.sheet, self.number)

    @classmethod
    def parse(cls, payload: tuple[Any, ...]) -> "Slice":
        match payload:
            case (bytes(sheet), int(number)):
                _check(len(sheet) == DIGEST_BYTES, "a digest of 32 bytes", "another")
                _check(type(number) is int and 0 <= number < CELL_MAX, "a slice's number", number)
                return cls(sheet, number)
        raise Reject("malformed", "cell slice: expected [sheet, number]")


@dataclass(frozen=True, slots=True)
class Statement:
    """What `author` has signed: a message, the digests of its body, and the signed head as it came."""

    author: NodeId
    message: CellMessage
    chunks: bytes
    raw: bytes


def _portion(row: Any) -> Portion:
    match row:
        case [bytes(sealed), bytes(self_share), bytes(mask_share)]:
            _check(len(sealed) == SEALED_BYTES, f"{SEALED_BYTES} sealed bytes", len(sealed))
            _check(len(self_share) == len(mask_share) == DIGEST_BYTES, "commitments of 32 bytes", "others")
            return Portion(sealed, self_share, mask_share)
    raise Reject("malformed", "cell shares: expected portions of [sealed, commitment, commitment]")


def as_lists(value: Any) -> Any:
    return [as_lists(item) for item in value] if isinstance(value, tuple | list) else value


def _check(holds: bool, expected: str, got: object) -> None:
    if not holds:
        raise Reject("malformed", f"cell: expected {expected}, got {str(got)[:40]}")
