"""One message on the wire: a signed header first, a raw body after. Knows no message's meaning.

Layout (docs/formats/envelope.md):

    "P2PF" | version u8 = 1 | flags u8 = 0 | header length u32 big-endian | signature 64 | header | body

    header    = canonical msgpack [kind, author, network, body_len, chunks, fields]
    chunks    = BLAKE3 digests (32 bytes each, concatenated) of the body's pieces of 1 MiB
    signature = Ed25519 by author over "p2pfl/v1/" + kind + "\\0" + BLAKE3(header)

The body is never part of msgpack and never signed directly: the header names its length and digests, so a receiver
can admit or refuse a message before it reads a byte of the body, and refuses a false body chunk by chunk.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

from blake3 import blake3

from p2pfl.core.ids import NodeId
from p2pfl.core.limits import BODY_BYTES_MAX, CHUNK_BYTES, HEADER_BYTES_MAX
from p2pfl.core.party import Buffer, Parts
from p2pfl.errors import Reject
from p2pfl.wire import canonical
from p2pfl.wire.keyfile import verify

MAGIC = b"P2PF"
VERSION = 1
PREFIX_BYTES = 10
SIGNATURE_BYTES = 64
HEAD_FIXED_BYTES = PREFIX_BYTES + SIGNATURE_BYTES
HEAD_BYTES_MAX = HEAD_FIXED_BYTES + HEADER_BYTES_MAX
DIGEST_BYTES = 32
KIND_CHARS_MAX = 32


class Signs(Protocol):
    node: NodeId

    def sign(self, text: bytes) -> bytes: ...


@dataclass(frozen=True, slots=True)
class Head:
    """An opened head. `authentic()` must be true before anything in it is believed."""

    kind: str
    author: NodeId
    network: bytes
    body_len: int
    chunks: bytes
    fields: list[Any]
    header: bytes
    signature: bytes

    def authentic(self) -> bool:
        return verify(self.author, _signed_text(self.kind, self.header), self.signature)

    @property
    def digest(self) -> bytes:
        """Names the whole message: the header holds the digests of the body."""
        return blake3(self.header).digest()

    @property
    def raw(self) -> bytes:
        """The head as it came: a proof of what its author said, without the body."""
        return _join_head(self.header, self.signature)


def _signed_text(kind: str, header: bytes) -> bytes:
    return b"p2pfl/v1/" + kind.encode() + b"\0" + blake3(header).digest()


def pieces(parts: Iterable[Buffer]) -> Iterator[list[memoryview]]:
    """The body's chunks of CHUNK_BYTES (the last may be shorter), each as views of `parts`; nothing is copied."""
    chunk: list[memoryview] = []
    room = CHUNK_BYTES
    for part in parts:
        view = memoryview(part).cast("B")
        while len(view):
            take = view[:room]
            chunk.append(take)
            room -= len(take)
            view = view[len(take) :]
            if room == 0:
                yield chunk
                chunk, room = [], CHUNK_BYTES
    if chunk:
        yield chunk


def chunk_digests(parts: Iterable[Buffer]) -> bytes:
    """32 bytes for each chunk of the body."""
    digests = []
    for chunk in pieces(parts):
        hasher = blake3()
        for view in chunk:
            hasher.update(view)
        digests.append(hasher.digest())
    return b"".join(digests)


def seal(signer: Signs, network: bytes, kind: str, fields: list[Any], body: Parts = ()) -> Parts:
    """The parts of a message to send: the head, then the body's parts as they are.

    Raises ValueError if the header or body would break the wire's limits: that is our own fault, not a peer's.
    """
    return seal_digested(signer, network, kind, fields, body, chunk_digests(body))


def seal_digested(signer: Signs, network: bytes, kind: str, fields: list[Any], body: Parts, chunks: bytes) -> Parts:
    """As `seal`, with the chunk digests computed before (off the event loop, for long bodies)."""
    body_len = sum(memoryview(p).nbytes for p in body)
    header = canonical.packb([kind, signer.node, network, body_len, chunks, fields])
    if len(header) > HEADER_BYTES_MAX or body_len > BODY_BYTES_MAX:
        raise ValueError(f"a {kind} of {len(header)} + {body_len} bytes is over the wire's limits")
    signature = signer.sign(_signed_text(kind, header))
    return (_join_head(header, signature), *body)


def head_digest(head: Buffer) -> bytes:
    """The digest of a whole head, as `Head.digest` gives it, of one that is known to be sound."""
    return blake3(memoryview(head)[HEAD_FIXED_BYTES:]).digest()


def _join_head(header: bytes, signature: bytes) -> bytes:
    return MAGIC + bytes([VERSION, 0]) + len(header).to_bytes(4, "big") + signature + header


def head_length(prefix: Buffer) -> int:
    """The length of the whole head, from its first PREFIX_BYTES. Raises Reject for another protocol or version."""
    raw = bytes(prefix[:PREFIX_BYTES])
    if len(raw) < PREFIX_BYTES or raw[:4] != MAGIC:
        raise Reject("not-p2pfl", "expected a message that begins with P2PF")
    if raw[4] != VERSION or raw[5] != 0:
        raise Reject("version", f"expected version {VERSION} flags 0, got version {raw[4]} flags {raw[5]}")
    length = int.from_bytes(raw[6:10], "big")
    if not 0 < length <= HEADER_BYTES_MAX:
        raise Reject("header-length", f"expected 1 to {HEADER_BYTES_MAX} bytes, got {length}")
    return HEAD_FIXED_BYTES + length


def open_head(head: Buffer) -> Head:
    """Parse a head of exactly its own length. Raises Reject; does not yet check the signature."""
    raw = bytes(head)
    if len(raw) != head_length(raw):
        raise Reject("malformed", f"expected a head of {head_length(raw)} bytes, got {len(raw)}")
    header = raw[HEAD_FIXED_BYTES:]
    match canonical.unpackb(header, HEADER_BYTES_MAX):
        case [str(kind), bytes(author), bytes(network), int(body_len), bytes(chunks), list(fields)]:
            pass
        case _:
            raise Reject("malformed", "the header is not [kind, author, network, body_len, chunks, fields]")
    if not 0 < len(kind) <= KIND_CHARS_MAX or len(author) != 32 or len(network) != 32:
        raise Reject("malformed", "kind, author or network of a wrong length")
    if isinstance(body_len, bool) or not 0 <= body_len <= BODY_BYTES_MAX:
        raise Reject("body-length", f"expected 0 to {BODY_BYTES_MAX} bytes, got {body_len}")
    if len(chunks) != DIGEST_BYTES * -(-body_len // CHUNK_BYTES):
        raise Reject("malformed", f"expected a digest for each chunk of {body_len} bytes, got {len(chunks)} bytes")
    return Head(kind, NodeId(author), network, body_len, chunks, fields, header, raw[PREFIX_BYTES:HEAD_FIXED_BYTES])


def split(message: Buffer) -> tuple[Head, memoryview]:
    """A whole message (a reply): its head and a view of its body, lengths checked, chunk digests not. Raises Reject."""
    view = memoryview(message).cast("B")
    cut = head_length(view)
    head = open_head(view[:cut])
    if len(view) != cut + head.body_len:
        raise Reject("malformed", f"expected a body of {head.body_len} bytes, got {len(view) - cut}")
    return head, view[cut:]


def check_body(head: Head, body: Buffer) -> None:
    """Raises Reject if a chunk of a whole body is not what the head says."""
    if chunk_digests((body,)) != head.chunks:
        raise Reject("chunk-digest", "the body is not what its signed header says")


class ChunkCheck:
    """Checks a body while it arrives. Feed it views in order; it raises Reject at the first false chunk."""

    def __init__(self, chunks: bytes) -> None:
        self._expected = chunks
        self._index = 0
        self._room = CHUNK_BYTES
        self._hasher = blake3()

    def feed(self, view: memoryview) -> None:
        while len(view):
            take = view[: self._room]
            self._hasher.update(take)
            self._room -= len(take)
            view = view[len(take) :]
            if self._room == 0:
                self._close_chunk()

    def finish(self) -> None:
        if self._room < CHUNK_BYTES:
            self._close_chunk()
        if self._index * DIGEST_BYTES != len(self._expected):
            raise Reject("malformed", "the body ended early")

    def _close_chunk(self) -> None:
        at = self._index * DIGEST_BYTES
        if self._hasher.digest() != self._expected[at : at + DIGEST_BYTES]:
            raise Reject("chunk-digest", f"chunk {self._index} is not what its signed header says")
        self._index += 1
        self._room = CHUNK_BYTES
        self._hasher = blake3()
