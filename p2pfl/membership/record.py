"""What a member says of itself, signed. Knows bytes and bounds; believes nothing that it has not verified.

A record names its subject, where it is reached, and what it speaks. A later one (a higher incarnation) takes the place
of an earlier one; only its subject can make it. The session tells one life of a process from the next, and two machines
with one key from each other. Layout, bounds and vectors: docs/formats/member.md.

    record = canonical msgpack [1, 1, network, node, incarnation, session, urls, certificate, software, low, high,
                                flags, token, signature]
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from enum import IntFlag
from typing import Any

from p2pfl.core.ids import NodeId
from p2pfl.errors import Reject
from p2pfl.membership.bounds import (
    SOFTWARE_CHARS_MAX,
    STATEMENT_BYTES_MAX,
    TOKEN_BYTES_MAX,
    URL_CHARS_MAX,
    URLS_MAX,
    VERSION_HIGH,
    VERSION_LOW,
)
from p2pfl.wire import canonical
from p2pfl.wire.envelope import Signs
from p2pfl.wire.fields import blob, exactly, items, node_id, text, whole
from p2pfl.wire.keyfile import verify

VERSION = 1
RECORD = 1
SESSION_BYTES = 16
INCARNATION_MAX = (1 << 53) - 1
DOMAIN = b"p2pfl/v1/member.record\0"


class Flag(IntFlag):
    """What a member is. LISTENS: others can connect to it; without it, it asks by itself."""

    LISTENS = 1
    DRAINING = 2
    OBSERVER = 4


ALL_FLAGS = int(Flag.LISTENS | Flag.DRAINING | Flag.OBSERVER)


@dataclass(frozen=True, slots=True)
class Record:
    """versions: the lowest and highest version of the formats that it speaks. certificate: SHA-256 of its TLS
    certificate, or b"". token: what admits it, or b"". `raw` holds all of it, signed."""

    network: bytes
    node: NodeId
    incarnation: int
    session: bytes
    urls: tuple[str, ...]
    certificate: bytes = b""
    software: str = ""
    versions: tuple[int, int] = (VERSION_LOW, VERSION_HIGH)
    flags: Flag = Flag.LISTENS
    token: bytes = field(default=b"", repr=False)
    raw: bytes = field(default=b"", repr=False)

    @property
    def subject(self) -> NodeId:
        return self.node

    @property
    def listens(self) -> bool:
        return Flag.LISTENS in self.flags and bool(self.urls)

    def signed(self, signer: Signs) -> "Record":
        """The same with its bytes. Raises ValueError if it breaks a bound: then it is our own fault."""
        fields = self._fields()
        raw = canonical.packb([VERSION, RECORD, *fields, signer.sign(DOMAIN + canonical.packb(fields))])
        try:
            return parse_record(raw)
        except Reject as reject:
            raise ValueError(f"not a record: {reject}") from None

    def next(self, signer: Signs, incarnation: int, **changes: Any) -> "Record":
        """A later one, signed."""
        return replace(self, incarnation=incarnation, raw=b"", **changes).signed(signer)

    def speaks(self) -> bool:
        """Whether it has a version of the formats in common with this software."""
        return self.versions[0] <= VERSION_HIGH and self.versions[1] >= VERSION_LOW

    def _fields(self) -> list[Any]:
        return [
            *(self.network, self.node, self.incarnation, self.session, list(self.urls), self.certificate),
            *(self.software, *self.versions, int(self.flags), self.token),
        ]


def is_record(raw: bytes) -> bool:
    """Whether these bytes begin as a record does: an array of 14, version 1, tag 1."""
    return raw[:3] == b"\x9e\x01\x01"


def parse_record(raw: bytes) -> Record:
    """The record of these bytes, its signature verified. Raises Reject."""
    match canonical.unpackb(raw, STATEMENT_BYTES_MAX):
        case [1, 1, *fields, bytes(signature)] if len(fields) == 11:
            pass
        case _:
            raise Reject("malformed", "not a member's record")
    low, high = whole(fields[7], "low", 1 << 16), whole(fields[8], "high", 1 << 16)
    flags = whole(fields[9], "flags", 255)
    record = Record(
        network=exactly(fields[0], "network", 32),
        node=node_id(fields[1], "node"),
        incarnation=whole(fields[2], "incarnation", INCARNATION_MAX),
        session=exactly(fields[3], "session", SESSION_BYTES),
        urls=tuple(_url(value) for value in items(fields[4], "urls", URLS_MAX)),
        certificate=blob(fields[5], "certificate", 32),
        software=text(fields[6], "software", SOFTWARE_CHARS_MAX),
        versions=(low, high),
        flags=Flag(flags & ALL_FLAGS),
        token=blob(fields[10], "token", TOKEN_BYTES_MAX),
        raw=raw,
    )
    if low > high or flags & ~ALL_FLAGS or len(record.certificate) not in (0, 32):
        raise Reject("malformed", "record: versions, flags or certificate out of range")
    if not verify(record.node, DOMAIN + canonical.packb(fields), signature):
        raise Reject("signature", "a record that its subject has not signed")
    return record


def _url(value: Any) -> str:
    """http(s)://host:port, printable ASCII without what could break out of a line of text."""
    url = text(value, "url", URL_CHARS_MAX)
    scheme, _, rest = url.partition("://")
    if scheme not in ("http", "https") or not rest or set(rest) & set(" \"'\\<>/?#@"):
        raise Reject("malformed", "url: expected http(s)://host:port")
    return url


def newer(records: Sequence[Record]) -> Record:
    """The one that counts: of the highest incarnation; of two at one (its key is in use twice), by its bytes."""
    return max(records, key=lambda record: (record.incarnation, record.raw))
