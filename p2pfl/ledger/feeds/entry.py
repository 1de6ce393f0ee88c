"""One signed statement of one author at one position of its feed. Knows bytes and signatures; knows no other entry.

    body = canonical msgpack [1, net, author, incarnation, seq, prev, round, kind, payload, refs]
    id   = SHA-256("p2pfl/entry/v1\\0" + body)
    raw  = canonical msgpack [body, Ed25519 signature by author over "p2pfl/entry/v1\\0" + body]

The id does not cover the signature: two signatures on one body are not two statements. `raw` is kept as it came and
never encoded again. Layout, bounds and vectors: docs/formats/feed.md.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any, cast

from p2pfl.core.ids import NodeId, short
from p2pfl.core.limits import FEED_ENTRY_BYTES_MAX, ROUNDS_MAX
from p2pfl.core.party import Buffer
from p2pfl.errors import Reject
from p2pfl.ledger.feeds.kinds import WHOLE_MAX, Payload, freeze
from p2pfl.ledger.feeds.packed import check_values, unpack_unchecked
from p2pfl.ledger.feeds.shapes import KINDS, check_payload
from p2pfl.wire import canonical
from p2pfl.wire.envelope import SIGNATURE_BYTES, Signs
from p2pfl.wire.keyfile import verify

VERSION = 1
DOMAIN = b"p2pfl/entry/v1\0"
ID_BYTES = 32
NO_ENTRY = bytes(ID_BYTES)
"""`prev` of the first entry."""

OPENING = "feed.open"
INCARNATION_MAX = (1 << 32) - 1
REFS_MAX = 64
PAYLOAD_DEPTH_MAX = 5
"""Arrays in arrays of a payload whose kind is unknown."""
_TYPES = (int, bytes, bytes, int, int, bytes, int, str, tuple, tuple)
_Fields = tuple[int, bytes, bytes, int, int, bytes, int, str, Payload, tuple[bytes, ...]]
_KIND = re.compile(r"[a-z][a-z0-9.]{0,31}")


@dataclass(frozen=True, slots=True)
class Entry:
    """A parsed entry. Its position is (author, incarnation, seq). Made by `make` and `parse` only."""

    net: bytes
    author: NodeId
    incarnation: int
    seq: int
    prev: bytes
    round: int
    kind: str
    payload: Payload = field(repr=False)
    refs: tuple[bytes, ...] = field(repr=False)
    id: bytes
    body: bytes = field(repr=False)
    signature: bytes = field(repr=False)
    raw: bytes = field(repr=False)

    @property
    def known(self) -> bool:
        """Whether this version of p2pfl understands the kind."""
        return self.kind in KINDS

    @property
    def name(self) -> str:
        """For messages to people: author, incarnation, position, id, shortened."""
        return name_of(self.author, self.incarnation, self.seq, self.id)


def name_of(author: bytes, incarnation: int, seq: int, id_: bytes) -> str:
    """How messages name an entry: `3fa9c0de/0/17 (8a3b02c4)`."""
    return f"{short(author)}/{incarnation}/{seq} ({short(id_)})"


def make(
    signer: Signs,
    net: bytes,
    position: tuple[int, int],
    prev: bytes,
    round_: int,
    kind: str,
    payload: Sequence[Any],
    refs: Sequence[bytes] = (),
) -> Entry:
    """A signed entry at `position` = (incarnation, seq). Raises ValueError if it breaks the format: our own fault."""
    incarnation, seq = position
    fields = [VERSION, net, signer.node, incarnation, seq, prev, round_, kind, payload, list(refs)]
    try:
        freeze(fields)
        body = canonical.packb(fields)
        return parse(canonical.packb([body, signer.sign(DOMAIN + body)]))
    except (Reject, OverflowError) as error:
        raise ValueError(f"a {kind} entry cannot be written: {error}") from None


def parse(raw: Buffer) -> Entry:
    """The entry whose canonical bytes are `raw`. Raises Reject for anything else; does not check the signature."""
    raw = bytes(raw)
    outer = unpack_unchecked(raw, FEED_ENTRY_BYTES_MAX)
    if tuple(map(type, outer)) != (bytes, bytes) or len(outer[1]) != SIGNATURE_BYTES:  # type: ignore[arg-type]
        raise Reject("malformed", f"an entry is [body, signature of {SIGNATURE_BYTES} bytes]")
    body, signature = cast(tuple[bytes, bytes], outer)
    fields = unpack_unchecked(body, FEED_ENTRY_BYTES_MAX)
    if not fields or type(fields[0]) is not int:
        raise Reject("malformed", "a body begins with its version")
    if fields[0] != VERSION:
        raise Reject("version", f"expected feed entry version {VERSION}, got {fields[0]}: made by another p2pfl")
    if tuple(map(type, fields)) != _TYPES:
        raise Reject("malformed", "a body is [1, net, author, incarnation, seq, prev, round, kind, payload, refs]")
    _, net, author, incarnation, seq, prev, round_, kind, payload, refs = cast(_Fields, fields)
    if not len(net) == len(author) == len(prev) == ID_BYTES or (refs and not _are_ids(refs)):
        raise Reject("malformed", f"net, author, prev and at most {REFS_MAX} refs have {ID_BYTES} bytes each")
    if not (0 <= incarnation <= INCARNATION_MAX and 0 <= seq <= WHOLE_MAX and 0 <= round_ <= ROUNDS_MAX):
        _refuse_numbers(incarnation, seq, round_)
    if kind not in KINDS or seq == 0 or kind == OPENING or prev == NO_ENTRY:
        _check_kind(kind, seq, prev)
    _check_payload(kind, payload)
    id_ = sha256(DOMAIN + body).digest()
    return Entry(net, NodeId(author), incarnation, seq, prev, round_, kind, payload, refs, id_, body, signature, raw)


def check_signature(entry: Entry) -> bool:
    """Whether the author signed this body."""
    return verify(entry.author, DOMAIN + entry.body, entry.signature)


def _check_payload(kind: str, payload: Payload) -> None:
    """A kind that we know checks each value, its type too; what it refuses may be no value of an entry at all."""
    if kind not in KINDS:
        check_values(payload, PAYLOAD_DEPTH_MAX)
        return
    try:
        check_payload(kind, payload)
    except Reject:
        check_values(payload, PAYLOAD_DEPTH_MAX)
        raise


def _are_ids(refs: tuple[object, ...]) -> bool:
    return len(refs) <= REFS_MAX and all(type(ref) is bytes and len(ref) == ID_BYTES for ref in refs)


def _refuse_numbers(incarnation: int, seq: int, round_: int) -> None:
    for name, value, top in (
        ("incarnation", incarnation, INCARNATION_MAX),
        ("seq", seq, WHOLE_MAX),
        ("round", round_, ROUNDS_MAX),
    ):
        if not 0 <= value <= top:
            raise Reject("malformed", f"{name}: expected 0 to {top}, got {value}")


def _check_kind(kind: str, seq: int, prev: bytes) -> None:
    if not _KIND.fullmatch(kind):
        raise Reject("malformed", "kind: expected 1 to 32 of a-z, 0-9 and dots, a letter first")
    first = (seq == 0, prev == NO_ENTRY, kind == OPENING)
    if any(first) != all(first):
        raise Reject("malformed", f"seq 0, no predecessor and {OPENING} go together; got seq {seq}, {kind}")
