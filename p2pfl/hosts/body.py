"""Bytes of messages through aiohttp: parts out without joining them, a body in without growing it. Knows no verdict.

Out: large parts leave as slices of 1 MiB of the caller's memory, small neighbours are joined into one write. In: one
buffer of the known size, filled and hashed piece by piece as the network delivers.
"""

import asyncio
from collections.abc import Callable, Iterator

from aiohttp import ClientError, StreamReader
from aiohttp.abc import AbstractStreamWriter
from aiohttp.http import StreamWriter
from aiohttp.payload import Payload

from p2pfl.core.limits import CHUNK_BYTES, KIB
from p2pfl.core.party import Buffer, Parts
from p2pfl.wire import envelope

JOIN_BYTES = 256 * KIB
"""Parts up to this size together are copied into one write: cheaper than waking the other side for each."""


class Gone(Exception):
    """The other side closed or broke the connection before its message was whole."""


def size_of(parts: Parts) -> int:
    return sum(memoryview(part).nbytes for part in parts)


def slices(parts: Parts) -> Iterator[Buffer]:
    """The bytes of `parts` in order, in pieces of at most CHUNK_BYTES; only parts within JOIN_BYTES are copied."""
    small: list[memoryview] = []
    room = JOIN_BYTES
    for part in parts:
        view = memoryview(part).cast("B")
        if len(view) > room:
            if small:
                yield b"".join(small)
            small, room = [], JOIN_BYTES
        if len(view) > JOIN_BYTES:
            yield from (view[at : at + CHUNK_BYTES] for at in range(0, len(view), CHUNK_BYTES))
        else:
            small.append(view)
            room -= len(view)
    if small:
        yield b"".join(small)


class PartsPayload(Payload):
    """Parts as the body of a request or a response of known length. `whole` is true once all of it was written.

    A write that ends early, whatever the reason, aborts the connection: what the transport still holds would otherwise
    keep the socket open for as long as the receiver likes.
    """

    _autoclose = True  # holds memory only
    _value: Parts

    def __init__(self, parts: Parts, each_s: float) -> None:
        """`each_s` bounds how long one slice may wait for the receiver; `write` raises ConnectionError beyond it."""
        super().__init__(parts)
        self._size = size_of(parts)
        self._each_s = each_s
        self.whole = False

    def decode(self, encoding: str = "utf-8", errors: str = "strict") -> str:
        return b"".join(self._value).decode(encoding, errors)

    async def write(self, writer: AbstractStreamWriter) -> None:
        assert isinstance(writer, StreamWriter)
        try:
            async with asyncio.timeout(self._each_s) as clock:
                for piece in slices(self._value):
                    await writer.write(piece)
                    clock.reschedule(asyncio.get_running_loop().time() + self._each_s)
            self.whole = True
        except TimeoutError:
            raise ConnectionError(f"the receiver took nothing for {self._each_s:g} s") from None
        finally:
            self._value = ()  # an idle connection remembers its last response: not the model in it
            if not self.whole and writer.transport is not None:
                writer.transport.abort()

    async def write_with_length(self, writer: AbstractStreamWriter, content_length: int | None) -> None:
        assert content_length in (None, self._size)
        await self.write(writer)


async def read_piece(content: StreamReader) -> bytes:
    """What has arrived, at least one byte. Raises Gone at the end or when the connection is lost."""
    try:
        piece = await content.readany()
    except (ClientError, OSError, RuntimeError) as error:  # RuntimeError: lost before anybody read from it
        raise Gone(str(error) or type(error).__name__) from None
    if not piece:
        raise Gone("ended early")
    return piece


async def read_exactly(content: StreamReader, size: int) -> tuple[bytes, memoryview]:
    """The first `size` bytes, and what came along. Raises Gone."""
    raw = bytearray()
    rest = await _grow(raw, size, content, memoryview(b""))
    return bytes(raw), rest


async def read_head(content: StreamReader, first: Buffer = b"") -> tuple[bytes, memoryview]:
    """A message's head, and the first bytes of its body if they came along. `first` was read before.

    Raises Reject or Gone.
    """
    raw = bytearray()
    rest = await _grow(raw, envelope.PREFIX_BYTES, content, memoryview(first))
    rest = await _grow(raw, envelope.head_length(raw), content, rest)
    return bytes(raw), rest


async def _grow(raw: bytearray, size: int, content: StreamReader, rest: memoryview) -> memoryview:
    """Lengthens `raw` to `size` bytes from `rest`, then from what arrives; returns what is over."""
    while len(raw) < size:
        if not rest:
            rest = memoryview(await read_piece(content))
        missing = size - len(raw)
        raw += rest[:missing]
        rest = rest[missing:]
    return rest


async def read_into(
    content: StreamReader, view: memoryview, seen: Callable[[memoryview], None], first: Buffer = b""
) -> None:
    """Fills `view`, beginning with `first`, and shows each piece in place to `seen`. Raises what `seen` raises, or Gone
    if the message has fewer bytes or more."""
    at = 0
    piece: Buffer = first
    while True:
        end = at + len(piece)
        if end > len(view):
            raise Gone(f"sent more than the {len(view)} bytes announced")
        view[at:end] = piece
        seen(view[at:end])
        at = end
        if at == len(view):
            return
        piece = await read_piece(content)
