"""How a subject shows its work to an evaluator: the message, and what its body holds. Knows fields; judges nothing.

Body: the coded update | of an audit also: the body of the message that stands for the work | the model it was made of
(float32) | the reference (int32), little-endian.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, NamedTuple

import numpy as np
import torch
from torch import Tensor

from p2pfl.core.ids import NodeId
from p2pfl.core.limits import HEADER_BYTES_MAX, SECTIONS_MAX
from p2pfl.core.noise import Key
from p2pfl.core.party import Buffer
from p2pfl.errors import Reject
from p2pfl.ledger.feeds.kinds import SUBJECTS_MAX
from p2pfl.mixing.reference import EXPONENT_MAX, EXPONENT_MIN, Reference
from p2pfl.valuation import Account, Opening
from p2pfl.valuation.felt import BUCKETS, SCALE_MAX
from p2pfl.wire.messages import Section, sections_from, sections_to

WINDOW_MAX = (1 << 63) - 1
ACCOUNT_BYTES = BUCKETS + 48
"""Of a row [node, scale, values] in a header."""


class Audit(NamedTuple):
    """With what the message was made, and the other end's signed head of the same exchange."""

    key: bytes
    damp: float
    exponents: tuple[int, ...]
    sections: tuple[Section, ...]
    head: bytes


@dataclass(frozen=True, slots=True)
class Shown:
    """The work of an accounting window, opened. `audit`: only for auditors. `accounts`: what the author did meanwhile
    to the models of its neighbours, of those to whom the evaluator listens."""

    KIND: ClassVar[str] = "shown"
    recipe: bytes
    to: bytes
    window: int
    opening: Opening
    sections: tuple[Section, ...]
    audit: Audit | None
    accounts: Mapping[NodeId, Account] = field(default_factory=dict)

    def to_fields(self) -> list[Any]:
        audit: list[Any] = []
        if self.audit is not None:
            a = self.audit
            audit = [a.key, a.damp, list(a.exponents), sections_to(a.sections), a.head]
        opening = self.opening.to_fields()
        accounts = [[node, *account] for node, account in sorted(self.accounts.items())]
        return [self.recipe, self.to, self.window, opening, sections_to(self.sections), audit, accounts]

    @classmethod
    def from_fields(cls, fields: list[Any]) -> "Shown":
        """Raises Reject."""
        match fields:
            case [bytes(recipe), bytes(to), int(window), list(opening), sections, list(audit), list(accounts)]:
                if len(recipe) != 32 or len(to) != 32 or type(window) is not int or not 0 <= window <= WINDOW_MAX:
                    raise Reject("malformed", "shown: expected ids of 32 bytes and a window")
                whole = (sections_from(sections), _audit(audit), _accounts(accounts))
                return cls(recipe, to, window, Opening.from_fields(opening), *whole)
        raise Reject("malformed", "shown: expected [recipe, to, window, opening, sections, audit, accounts]")

    @property
    def update_bytes(self) -> int:
        return sum(section.size_bytes for section in self.sections)

    @property
    def said_bytes(self) -> int:
        return 0 if self.audit is None else sum(section.size_bytes for section in self.audit.sections)

    def body_len(self, num_params: int) -> int:
        """What the body must have."""
        return self.update_bytes + (0 if self.audit is None else self.said_bytes + 8 * num_params)


def _audit(fields: list[Any]) -> Audit | None:
    match fields:
        case []:
            return None
        case [bytes(key), float(damp), list(exponents), sections, bytes(head)]:
            good = len(key) == 32 and 0.1 <= damp <= 1.0 and len(head) <= HEADER_BYTES_MAX
            whole = all(type(e) is int and EXPONENT_MIN <= e <= EXPONENT_MAX for e in exponents)
            if good and whole and 0 < len(exponents) <= SECTIONS_MAX:
                return Audit(key, damp, tuple(exponents), sections_from(sections), head)
    raise Reject("malformed", "shown: expected an audit of [key, damp, exponents, sections, head]")


def _accounts(rows: list[Any]) -> dict[NodeId, Account]:
    found = dict[NodeId, Account]()
    for row in rows:
        match row:
            case [bytes(node), float(scale), bytes(values)] if len(node) == 32 and len(values) == BUCKETS:
                if 0 <= scale < SCALE_MAX:
                    found[NodeId(node)] = Account(scale, values)
    if len(found) != len(rows) or len(rows) > SUBJECTS_MAX:
        raise Reject(
            "malformed", f"shown: expected at most {SUBJECTS_MAX} accounts [node, scale, values], each node once"
        )
    return found


class Parts(NamedTuple):
    """A body's pieces."""

    update: memoryview
    said: memoryview
    model: Tensor
    reference: Tensor


def pack(update: bytes, audited: tuple[bytes, Tensor, Reference] | None) -> tuple[bytes, ...]:
    if audited is None:
        return (update,)
    said, x, reference = audited
    model = x.detach().cpu().float().contiguous().numpy().astype("<f4", copy=False).tobytes()
    return (update, said, model, reference.values.cpu().numpy().astype("<i4", copy=False).tobytes())


def unpack(shown: Shown, body: Buffer, num_params: int) -> Parts:
    """`body` has the length that `shown` says."""
    view = memoryview(body).cast("B")
    a, b = shown.update_bytes, shown.update_bytes + shown.said_bytes
    rest = view[b:]
    if shown.audit is None:
        return Parts(view[:a], view[a:b], torch.empty(0), torch.empty(0, dtype=torch.int32))
    model = torch.from_numpy(np.frombuffer(rest[: 4 * num_params], "<f4").astype(np.float32))
    reference = torch.from_numpy(np.frombuffer(rest[4 * num_params :], "<i4").astype(np.int32))
    return Parts(view[:a], view[a:b], model, reference)


@dataclass(frozen=True, eq=False)
class Work:
    """One's own work of a window, as it was committed to. q (P,): the update as it is decoded."""

    opening: Opening
    salt: bytes  # for the draw
    sections: tuple[Section, ...]
    update: bytes
    q: Tensor
    key: Key
    damp: float
    said: bytes
    said_sections: tuple[Section, ...]
    x: Tensor
    reference: Reference
    head: bytes

    def show(
        self, recipe: bytes, to: NodeId, window: int, audited: bool, accounts: Mapping[NodeId, Account] | None = None
    ) -> tuple[Shown, tuple[bytes, ...]]:
        """The message and its body for one evaluator."""
        audit = None
        if audited:
            audit = Audit(self.key, self.damp, self.reference.exponents, self.said_sections, self.head)
        shown = Shown(recipe, to, window, self.opening, self.sections, audit, accounts or {})
        return shown, pack(self.update, (self.said, self.x, self.reference) if audited else None)
