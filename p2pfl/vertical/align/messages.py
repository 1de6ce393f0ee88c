"""What parties of an alignment say, as values and as bytes. Knows shapes and bounds; knows no route and no set.

A packed message is the version byte 1, then one msgpack list: [0, terms, session, count, have, ask] for a Standing,
[1, stream, chunk, blob] for Points, [2, stream, chunk, total, blob] for Matches. docs/vertical_alignment.md has it all.
"""

from dataclasses import dataclass
from typing import Any

import msgpack

from p2pfl.core.party import Buffer
from p2pfl.errors import Reject
from p2pfl.vertical.align.bounds import (
    ALIGN_CHUNK_POINTS,
    ALIGN_CHUNK_ROWS,
    ALIGN_IDS_MAX,
    ALIGN_MESSAGE_BYTES_MAX,
    ALIGN_PARTIES_MAX,
)

VERSION = 1
TERMS_BYTES = 32
SESSION_BYTES = 16
POINT_BYTES = 32
PLACE_BYTES = 4
STREAMS_MAX = ALIGN_PARTIES_MAX * (ALIGN_PARTIES_MAX + 1)


@dataclass(frozen=True, slots=True)
class Standing:
    """Where I stand: my terms' digest, my session (new with new secrets), how many ids I declare, and for each stream
    from you to me, in the order of their numbers, how many chunks I hold. `ask`: send me the rest, and say the same."""

    terms: bytes
    session: bytes
    count: int
    have: tuple[int, ...]
    ask: bool


@dataclass(frozen=True, slots=True)
class Points:
    """Points of one chunk of a stream, 32 bytes each."""

    stream: int
    chunk: int
    blob: bytes


@dataclass(frozen=True, slots=True)
class Matches:
    """A chunk of your common rows, `total` in all: places in your own shuffled order, 4 bytes each, big-endian."""

    stream: int
    chunk: int
    total: int
    blob: bytes


Message = Standing | Points | Matches


def pack(message: Message) -> bytes:
    match message:
        case Standing(terms, session, count, have, ask):
            fields = [0, terms, session, count, list(have), ask]
        case Points(stream, chunk, blob):
            fields = [1, stream, chunk, blob]
        case Matches(stream, chunk, total, blob):
            fields = [2, stream, chunk, total, blob]
    packed: bytes = msgpack.packb(fields)
    return bytes([VERSION]) + packed


def unpack(data: Buffer) -> Message:
    """The inverse of `pack`, every field of its type and within its bounds. Reject on anything else."""
    if not 1 < len(data) <= ALIGN_MESSAGE_BYTES_MAX:
        raise Reject("psi-message", f"expected at most {ALIGN_MESSAGE_BYTES_MAX} bytes, got {len(data)}")
    if data[0] != VERSION:
        raise Reject("psi-version", f"expected alignment messages of version {VERSION}, got {data[0]}")
    try:
        fields = msgpack.unpackb(memoryview(data)[1:], use_list=True, strict_map_key=True, max_map_len=0)
    except (ValueError, msgpack.exceptions.UnpackException) as error:
        raise Reject("psi-message", f"expected one msgpack list: {type(error).__name__}") from error
    return _message(fields)


def _message(fields: Any) -> Message:
    match fields:
        case [0, bytes(terms), bytes(session), count, [*have], bool(ask)]:
            _check(len(terms) == TERMS_BYTES and len(session) == SESSION_BYTES, "a digest and a session")
            _check(_is_count(count, ALIGN_IDS_MAX) and count > 0, f"1 to {ALIGN_IDS_MAX} ids")
            _check(len(have) <= STREAMS_MAX and all(_is_count(n, ALIGN_IDS_MAX) for n in have), "a few counts")
            return Standing(terms, session, count, tuple(have), ask)
        case [1, stream, chunk, bytes(blob)]:
            _check_place(stream, chunk)
            _check_blob(blob, POINT_BYTES, ALIGN_CHUNK_POINTS)
            return Points(stream, chunk, blob)
        case [2, stream, chunk, total, bytes(blob)]:
            _check_place(stream, chunk)
            _check(_is_count(total, ALIGN_IDS_MAX), f"at most {ALIGN_IDS_MAX} rows")
            _check_blob(blob, PLACE_BYTES, ALIGN_CHUNK_ROWS)
            return Matches(stream, chunk, total, blob)
    raise Reject("psi-message", "expected a Standing, Points or Matches")


def _check_place(stream: object, chunk: object) -> None:
    _check(_is_count(stream, STREAMS_MAX) and _is_count(chunk, ALIGN_IDS_MAX), "a stream and a chunk")


def _check_blob(blob: bytes, size: int, most: int) -> None:
    fits = len(blob) % size == 0 and len(blob) <= size * most
    _check(fits, f"at most {most} items of {size} bytes")


def _is_count(value: object, most: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= most


def _check(holds: bool, expected: str) -> None:
    if not holds:
        raise Reject("psi-message", f"expected {expected}")
