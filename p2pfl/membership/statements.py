"""What members and authorities say of each other, signed: five kinds of one form. Knows bytes; judges nobody.

| tag | kind     | about           | number          | author                       |
|-----|----------|-----------------|-----------------|------------------------------|
| 2   | SUSPECT  | a member        | its incarnation | the accuser                  |
| 3   | DEAD     | a member        | its incarnation | the accuser                  |
| 4   | LEFT     | a member        | its incarnation | the member itself            |
| 5   | EPOCH    | 32 zeros        | the epoch       | an authority of the network  |
| 6   | REVOKED  | a key or token  | 0               | an authority of the network  |

    statement = canonical msgpack [1, tag, network, about, number, author, signature]

Layout and vectors: docs/formats/member.md.
"""

from dataclasses import dataclass, field
from enum import IntEnum

from p2pfl.core.ids import NodeId
from p2pfl.errors import Reject
from p2pfl.membership.bounds import STATEMENT_BYTES_MAX
from p2pfl.membership.record import INCARNATION_MAX, RECORD, Record, parse_record
from p2pfl.wire import canonical
from p2pfl.wire.envelope import Signs
from p2pfl.wire.fields import exactly, node_id, whole
from p2pfl.wire.keyfile import verify

VERSION = 1
NOBODY = bytes(32)


class Tag(IntEnum):
    SUSPECT = 2
    DEAD = 3
    LEFT = 4
    EPOCH = 5
    REVOKED = 6


@dataclass(frozen=True, slots=True)
class Statement:
    """See the table. `raw` holds all of it, signed."""

    tag: Tag
    network: bytes
    about: bytes
    number: int
    author: NodeId
    raw: bytes = field(default=b"", repr=False)

    @property
    def subject(self) -> NodeId:
        return NodeId(self.about)


def state(signer: Signs, tag: Tag, network: bytes, about: bytes, number: int = 0) -> Statement:
    """A statement by `signer`."""
    fields = [network, about, number, signer.node]
    raw = canonical.packb([VERSION, int(tag), *fields, signer.sign(_text(tag, fields))])
    return Statement(tag, network, about, number, signer.node, raw)


def parse_statement(raw: bytes) -> Statement | Record:
    """The record or statement of these bytes, its signature verified. Raises Reject."""
    value = canonical.unpackb(raw, STATEMENT_BYTES_MAX)
    if not isinstance(value, list) or len(value) < 2:
        raise Reject("malformed", "a statement begins with its version and tag")
    if type(value[0]) is not int or value[0] != VERSION:
        raise Reject("version", f"expected statement version {VERSION}, got {str(value[0])[:20]}")
    if value[1] == RECORD and type(value[1]) is int:
        return parse_record(raw)
    if type(value[1]) is not int or value[1] not in set(Tag) or len(value) != 7:
        raise Reject("malformed", "a statement is [1, tag, network, about, number, author, signature]")
    tag = Tag(value[1])
    fields = value[2:6]
    found = Statement(
        tag,
        exactly(fields[0], "network", 32),
        exactly(fields[1], "about", 32),
        whole(fields[2], "number", INCARNATION_MAX),
        node_id(fields[3], "author"),
        raw,
    )
    if (tag is Tag.LEFT and found.about != found.author) or (tag is Tag.EPOCH and found.about != NOBODY):
        raise Reject("malformed", f"{tag.name.lower()}: about whom nobody can say that")
    if not verify(found.author, _text(tag, fields), exactly(value[6], "signature", 64)):
        raise Reject("signature", "a statement that its author has not signed")
    return found


def _text(tag: Tag, fields: list[object]) -> bytes:
    return b"p2pfl/v1/member." + tag.name.lower().encode() + b"\0" + canonical.packb(fields)
