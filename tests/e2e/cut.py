"""A middle that can be cut: stands before one node, passes everything on, and while it is cut off drops what comes from
the other side. Knows HTTP's frames and who signed a message; nothing else.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

from p2pfl.errors import Reject
from p2pfl.wire.envelope import head_length, open_head

HEAD_BYTES_MAX = 1 << 16


class Cut:
    """`target`: (host, port) of the node behind it. `is_cut(author)`: whether what that node says is dropped now."""

    def __init__(self, target: tuple[str, int], is_cut: Callable[[bytes], bool]) -> None:
        self.target, self.is_cut = target, is_cut
        self.dropped = 0
        self._serving: set[asyncio.Task[None]] = set()

    @asynccontextmanager
    async def listening(self, port: int) -> AsyncIterator["Cut"]:
        server = await asyncio.start_server(self._accept, "127.0.0.1", port, limit=1 << 24)
        try:
            yield self
        finally:
            server.close()
            serving = tuple(self._serving)
            for task in serving:
                task.cancel()
            await asyncio.gather(*serving, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._serving.add(task)
        try:
            await self._serve(reader, writer)
        except asyncio.CancelledError:
            return  # the middle ends
        finally:
            self._serving.discard(task)
            writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            head = await reader.readuntil(b"\r\n\r\n")
            body = await reader.readexactly(length_of(head))
            if self._drops(body):
                self.dropped += 1
                await asyncio.sleep(60.0)  # a cut line is silent
                return
            there, back = await asyncio.open_connection(*self.target)
            try:
                back.write(closing(head) + body)
                await back.drain()
                writer.write(await there.read(-1))
                await writer.drain()
            finally:
                back.close()

    def _drops(self, body: bytes) -> bool:
        try:
            return self.is_cut(open_head(body[: head_length(body)]).author)
        except Reject:
            return False  # no message of a node


def length_of(head: bytes) -> int:
    for line in head.split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.strip().lower() == b"content-length":
            return int(value)
    return 0


def closing(head: bytes) -> bytes:
    """The same request, on a connection of its own."""
    lines = [line for line in head.split(b"\r\n\r\n")[0].split(b"\r\n") if not line.lower().startswith(b"connection:")]
    return b"\r\n".join([*lines, b"Connection: close"]) + b"\r\n\r\n"
