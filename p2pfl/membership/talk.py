"""What members say to each other about the members: requests and answers. Knows bytes and bounds; does nothing.

    line = canonical msgpack [1, op, session, seq, yours, re, news, arguments]

session, seq: of the sender; together they come once (session.py). yours: the receiver's session as the sender knows it,
or empty in a push-pull, with which two begin. re: in an answer, the BLAKE3 of the question's header, so that an answer
cannot be used twice. news: signed statements, of anybody. Layout and vectors: docs/formats/member.md.
"""

import itertools
from dataclasses import dataclass
from typing import Any

from p2pfl.core.ids import NodeId
from p2pfl.errors import Reject
from p2pfl.membership.bounds import (
    ANSWER_ITEMS_MAX,
    COUNT_MAX,
    REVOCATIONS_MAX,
    ROWS_PER_PART,
    STATEMENT_BYTES_MAX,
    TALK_BYTES_MAX,
)
from p2pfl.membership.record import INCARNATION_MAX, SESSION_BYTES
from p2pfl.wire import canonical
from p2pfl.wire.fields import blob, exactly, items, node_id, whole

VERSION = 1
MARK_BYTES = 16
PROOF_BYTES_MAX = 8192
PARTS_MAX = 64
ROWS_MAX = 2 * ROWS_PER_PART
"""A part is a share of the keys; shares are not quite equal."""

Rows = tuple[tuple[NodeId, int, int], ...]
"""(member, incarnation, 0 here | 1 dead | 2 left), by key."""


@dataclass(frozen=True, slots=True)
class Ping:
    """Are you there? The challenge comes back; it is another session's name when a key is perhaps in use twice."""

    challenge: bytes = b""


@dataclass(frozen=True, slots=True)
class Reach:
    """Is that one there, as you see it? The answer is its Ack in your words, or nothing."""

    target: NodeId


@dataclass(frozen=True, slots=True)
class Sync:
    """Push-pull: a digest of all I know. With parts = 0 nothing else; or the rows of one part, and marks of what the
    authorities said."""

    digest: bytes
    part: int = 0
    parts: int = 0
    rows: Rows = ()
    marks: tuple[bytes, ...] = ()


@dataclass(frozen=True, slots=True)
class Tell:
    """Only news."""


@dataclass(frozen=True, slots=True)
class Ack:
    challenge: bytes = b""


@dataclass(frozen=True, slots=True)
class Synced:
    """same: we know the same. wants: members of whom I know less. more: there was more than fits."""

    same: bool
    wants: tuple[NodeId, ...] = ()
    more: bool = False


@dataclass(frozen=True, slots=True)
class Conflict:
    """Your key is in use: what its other holder answered just now, signed, to a ping that named your session."""

    proof: bytes


Words = Ping | Reach | Sync | Tell | Ack | Synced | Conflict
OPS: tuple[type[Words], ...] = (Ping, Reach, Sync, Tell, Ack, Synced, Conflict)
"""The op is the place in this row, from 1."""


@dataclass(frozen=True, slots=True)
class Line:
    session: bytes
    seq: int
    yours: bytes
    re: bytes
    news: tuple[bytes, ...]
    words: Words

    @property
    def raw(self) -> bytes:
        op = OPS.index(type(self.words)) + 1
        head = [VERSION, op, self.session, self.seq, self.yours, self.re, list(self.news)]
        return canonical.packb([*head, _arguments(self.words)])


def parse_line(raw: bytes) -> Line:
    """Raises Reject."""
    value = canonical.unpackb(raw, TALK_BYTES_MAX)
    if not isinstance(value, list) or not value or type(value[0]) is not int or value[0] != VERSION:
        raise Reject("version", f"expected members' talk of version {VERSION}: made by another p2pfl")
    if len(value) != 8:
        raise Reject("malformed", "members' talk is an array of 8")
    op, session, seq, yours, re, news, arguments = value[1:]
    words = _words(whole(op, "op", len(OPS)), arguments)
    yours, re = blob(yours, "yours", SESSION_BYTES), blob(re, "re", 32)
    if len(yours) not in (0, SESSION_BYTES) or len(re) not in (0, 32):
        raise Reject("malformed", "yours or re of a wrong length")
    if bool(re) != isinstance(words, Ack | Synced | Conflict):
        raise Reject("malformed", "answers, and only they, name a question")
    return Line(
        exactly(session, "session", SESSION_BYTES),
        whole(seq, "seq", COUNT_MAX),
        yours,
        re,
        tuple(blob(item, "news", STATEMENT_BYTES_MAX) for item in items(news, "news", ANSWER_ITEMS_MAX)),
        words,
    )


def _arguments(words: Words) -> list[Any]:
    match words:
        case Ping(challenge) | Ack(challenge):
            return [challenge]
        case Reach(target):
            return [target]
        case Sync():
            rows = [list(row) for row in words.rows]
            return [words.digest, words.part, words.parts, rows, list(words.marks)]
        case Synced():
            return [words.same, list(words.wants), words.more]
        case Conflict(proof):
            return [proof]
        case Tell():
            return []


def _words(op: int, arguments: Any) -> Words:
    match op, arguments:
        case 1, [challenge]:
            return Ping(_challenge(challenge))
        case 2, [target]:
            return Reach(node_id(target, "target"))
        case 3, [digest, part, parts, rows, marks]:
            return _sync(digest, part, parts, rows, marks)
        case 4, []:
            return Tell()
        case 5, [challenge]:
            return Ack(_challenge(challenge))
        case 6, [bool(same), wants, bool(more)]:
            return Synced(same, tuple(node_id(item, "wants") for item in items(wants, "wants", ROWS_MAX)), more)
        case 7, [proof]:
            return Conflict(blob(proof, "proof", PROOF_BYTES_MAX))
    raise Reject("malformed", f"members' talk: no op {op} with such arguments")


def _sync(digest: Any, part: Any, parts: Any, rows: Any, marks: Any) -> Sync:
    parts = whole(parts, "parts", PARTS_MAX)
    sync = Sync(
        exactly(digest, "digest", 32),
        whole(part, "part", max(0, parts - 1)),
        parts,
        tuple(_row(row) for row in items(rows, "rows", ROWS_MAX)),
        tuple(exactly(item, "mark", MARK_BYTES) for item in items(marks, "marks", REVOCATIONS_MAX + 1)),
    )
    keys = [row[0] for row in sync.rows]
    if any(a >= b for a, b in itertools.pairwise(keys)) or (not parts and (rows or marks)):
        raise Reject("malformed", "sync: expected rows by key, each once, and of a part")
    return sync


def _row(row: Any) -> tuple[NodeId, int, int]:
    match row:
        case [node, incarnation, state]:
            return node_id(node, "member"), whole(incarnation, "incarnation", INCARNATION_MAX), whole(state, "state", 2)
    raise Reject("malformed", "sync: a row is [member, incarnation, state]")


def _challenge(value: Any) -> bytes:
    challenge = blob(value, "challenge", SESSION_BYTES)
    if len(challenge) not in (0, SESSION_BYTES):
        raise Reject("malformed", "a challenge of a wrong length")
    return challenge
