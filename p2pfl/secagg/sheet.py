"""A chair's sheet: the statements of one step, its own among them, in the order of the authors. Knows signed heads.

A sheet is one message of the chair: its own statement's payload, and as the body the others' signed heads. So every
statement in it is signed by who made it; what the chair can do is to leave some out, and to send two sheets. The digest
names chair's payload and body: two of one step are a proof.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import msgpack
from blake3 import blake3

from p2pfl.core.ids import NodeId
from p2pfl.core.party import Buffer
from p2pfl.errors import Reject
from p2pfl.secagg.blame import Blame
from p2pfl.secagg.cell import CELL_MAX, Cell
from p2pfl.secagg.statements import HEAD_BYTES_MAX, CellMessage, Statement, Step, as_lists

LENGTH_BYTES = 2
SHEET_BYTES_MAX = CELL_MAX * (HEAD_BYTES_MAX + LENGTH_BYTES)
"""A sheet's body."""


class Notary(Protocol):
    """Opens signed heads, and digests bodies as the wire does."""

    def open(self, raw: bytes) -> Statement:
        """The statement in a signed head of this network, signature checked. Raises Reject."""
        ...

    def chunks(self, body: Buffer) -> bytes:
        """The digests that the head of a message with this body holds."""
        ...


@dataclass(frozen=True, slots=True)
class Sheet:
    """head: the chair's signed head, empty at the chair. payloads: of everybody in the sheet, by author, ascending."""

    step: Step
    digest: bytes
    head: bytes
    payloads: Mapping[NodeId, tuple[object, ...]]
    heads: Mapping[NodeId, bytes]

    @property
    def authors(self) -> tuple[NodeId, ...]:
        return tuple(self.payloads)


def sheet_digest(cell: bytes, step: Step, payload: tuple[object, ...], chunks: bytes) -> bytes:
    """Names what a sheet says."""
    raw: bytes = msgpack.packb([cell, int(step), as_lists(payload), chunks])
    return blake3(raw, derive_key_context="p2pfl secagg sheet v1").digest()


def pack_heads(heads: list[bytes]) -> bytes:
    """Each with its length before it (u16, big-endian)."""
    return b"".join(len(head).to_bytes(LENGTH_BYTES, "big") + head for head in heads)


def make_sheet(
    cell: Cell, step: Step, own: tuple[object, ...], statements: Mapping[NodeId, Statement], notary: Notary
) -> tuple[Sheet, bytes]:
    """At the chair: the sheet and its body."""
    ordered = [statements[author] for author in sorted(statements)]
    body = pack_heads([statement.raw for statement in ordered])
    payloads = {cell.chair: own} | {statement.author: statement.message.payload for statement in ordered}
    digest = sheet_digest(cell.id, step, own, notary.chunks(body))
    payloads = {author: payloads[author] for author in sorted(payloads)}
    return Sheet(step, digest, b"", payloads, {s.author: s.raw for s in ordered}), body


def open_sheet(cell: Cell, step: Step, sheet: Statement, body: Buffer, notary: Notary) -> Sheet:
    """At a member. Raises Blame of the chair for whatever is wrong with it: an honest one opens all that it quotes. But
    Reject for a body that is not the head's: the way may have damaged it.
    """
    chair = cell.chair
    message = sheet.message
    if notary.chunks(body) != sheet.chunks:
        raise Reject("chunk-digest", "the body is not what its signed header says")
    try:
        if sheet.author != chair or message.step != step or message.cell != cell.id:
            raise Reject("not-the-sheet", f"expected {step.name} of this cell, got {message.step.name}")
        payloads: dict[NodeId, tuple[object, ...]] = {chair: message.payload}
        heads: dict[NodeId, bytes] = {}
        for raw in _heads_in(body):
            found = notary.open(raw)
            said = found.message
            if said.cell != cell.id or said.step != step - 1 or said.to != chair:
                raise Reject("quotes-another", f"expected {Step(step - 1).name} of this cell, got {said.step.name}")
            if found.author not in cell.members or found.author in payloads:
                raise Reject("quotes-a-stranger", "expected members, each once")
            payloads[found.author], heads[found.author] = said.payload, raw
    except Reject as refusal:
        raise Blame(chair, refusal.code, refusal.detail, (sheet.raw,)) from None
    digest = sheet_digest(cell.id, step, message.payload, sheet.chunks)
    return Sheet(step, digest, sheet.raw, {author: payloads[author] for author in sorted(payloads)}, heads)


def check_same(cell: Cell, mine: Sheet, author: NodeId, head: bytes, notary: Notary) -> None:
    """Whether `author` answers to the sheet that I have. Raises Blame: of the chair if it signed two, else of him."""
    if author == cell.chair:
        return  # its statement is in the sheet that it signed
    try:
        quoted = notary.open(head)
        said: CellMessage = quoted.message
        if quoted.author != cell.chair or said.cell != cell.id or said.step != mine.step:
            raise Reject("false-sheet", f"it does not quote the chair's {mine.step.name}")
    except Reject as refusal:
        raise Blame(author, refusal.code, refusal.detail) from None
    if sheet_digest(cell.id, mine.step, said.payload, quoted.chunks) != mine.digest:
        raise Blame(cell.chair, "two-sheets", f"signed two sheets {mine.step.name} in one cell", (mine.head, head))


def _heads_in(body: Buffer) -> list[bytes]:
    if memoryview(body).nbytes > SHEET_BYTES_MAX:
        raise Reject("too-long", f"expected a sheet of at most {SHEET_BYTES_MAX} bytes")
    return unpack_heads(bytes(body), CELL_MAX, HEAD_BYTES_MAX)


def unpack_heads(body: bytes, most: int, bytes_max: int) -> list[bytes]:
    """The heads of a body, of 1 to `bytes_max` bytes each, after their lengths (u16, big-endian). Raises Reject."""
    heads: list[bytes] = []
    at = 0
    while at < len(body) and len(heads) < most:
        start = at + LENGTH_BYTES
        at = start + int.from_bytes(body[at:start], "big")
        heads.append(body[start:at])
    if at != len(body) or not all(0 < len(head) <= bytes_max for head in heads):
        raise Reject("malformed", f"expected up to {most} signed heads, each with its length")
    return heads
