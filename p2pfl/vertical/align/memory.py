"""What a party of an alignment must not forget, as durable writes. Knows keys and bytes; knows no disk and no protocol.

Chunks are kept until the next party holds them, tags until the end; at the end only the rows stay.

    self            digest of terms and ids, session
    secret          the entropy; removed at the end
    have SS         chunks held of stream SS
    chunk SS CCCC   what became of a chunk: points to pass on, tags, or places
    total           how many common rows are announced
    rows            the result
"""

from collections.abc import Iterable, Mapping, Sequence

import msgpack
import numpy as np
from blake3 import blake3
from numpy.typing import NDArray

from p2pfl.errors import ConfigError
from p2pfl.vertical.align.actions import Keep
from p2pfl.vertical.align.own import digest_of
from p2pfl.vertical.align.terms import Terms

SELF, SECRET, HAVE, CHUNK, TOTAL, ROWS = b"self", b"secret", b"have", b"chunk", b"total", b"rows"


def begin(terms: Terms, items: Sequence[bytes], session: bytes, entropy: bytes) -> list[Keep]:
    return [Keep(SELF, _digest(terms, items) + session), Keep(SECRET, entropy)]


def session_of(kept: Mapping[bytes, bytes], terms: Terms, items: Sequence[bytes]) -> bytes | None:
    """The session that was under way; None if there was none. ConfigError if it was about other ids or terms."""
    value = kept.get(SELF)
    if value is None:
        return None
    if value[:32] != _digest(terms, items):
        raise ConfigError(
            "alignment: the ids or the terms have changed since it began; expected the same table and job as then "
            "(for new ones give the job a new name)"
        )
    return value[32:]


def hold(stream: int, chunk: int, value: bytes) -> list[Keep]:
    """The chunk is worked on, and with all before it held."""
    return [Keep(_chunk(stream, chunk), value), Keep(_have(stream), (chunk + 1).to_bytes(4, "big"))]


def forget(stream: int, chunk: int) -> Keep:
    return Keep(_chunk(stream, chunk), None)


def announce(total: int) -> Keep:
    return Keep(TOTAL, total.to_bytes(4, "big"))


def finish(rows: NDArray[np.int64], left: Iterable[tuple[int, int]]) -> list[Keep]:
    """The result; the secret and the chunks that are `left` go."""
    result = Keep(ROWS, rows.astype("<i8").tobytes())
    return [result, Keep(SECRET, None), *(forget(stream, chunk) for stream, chunk in left)]


def rows_of(kept: Mapping[bytes, bytes]) -> NDArray[np.int64] | None:
    value = kept.get(ROWS)
    return None if value is None else np.frombuffer(value, "<i8").astype(np.int64)


def total_of(kept: Mapping[bytes, bytes]) -> int | None:
    value = kept.get(TOTAL)
    return None if value is None else int.from_bytes(value, "big")


def have_of(kept: Mapping[bytes, bytes], stream: int) -> int:
    return int.from_bytes(kept.get(_have(stream), b""), "big")


def chunk_of(kept: Mapping[bytes, bytes], stream: int, chunk: int) -> bytes | None:
    return kept.get(_chunk(stream, chunk))


def _digest(terms: Terms, items: Sequence[bytes]) -> bytes:
    return blake3(msgpack.packb([terms.digest, digest_of(items)])).digest()


def _have(stream: int) -> bytes:
    return HAVE + stream.to_bytes(2, "big")


def _chunk(stream: int, chunk: int) -> bytes:
    return CHUNK + stream.to_bytes(2, "big") + chunk.to_bytes(4, "big")
