"""A lossy middle: stands before one node, and lets requests or their replies get lost. Knows HTTP's frames only.

What is lost, and whether the connection then breaks or just falls silent, is drawn from a seed. Bounded: so many
bytes a message, so many seconds of silence.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

from p2pfl.core import noise

MESSAGE_BYTES_MAX = 1 << 24
HEAD_BYTES_MAX = 1 << 16
SILENCE_S_MAX = 30.0


class Proxy:
    """`url` is where it listens; `target` (host, port) is the node behind it and may be set later."""

    def __init__(self, request_loss: float, reply_loss: float, seed: int, silent: float = 0.5) -> None:
        self.request_loss, self.reply_loss, self.silent = request_loss, reply_loss, silent
        self.target: tuple[str, int] | None = None
        self.counts: Counter[str] = Counter()
        self.url = ""
        self._rng = noise.generator(noise.derive(noise.root(seed), "proxy"))
        self._serving: set[asyncio.Task[Any]] = set()

    @asynccontextmanager
    async def listening(self) -> AsyncIterator["Proxy"]:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0, limit=HEAD_BYTES_MAX)
        self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        try:
            yield self
        finally:
            server.close()
            for task in self._serving:
                task.cancel()
            await asyncio.gather(*self._serving, return_exceptions=True)
            await server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._serving.add(task)
        try:
            with suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
                while await self._one(reader, writer):
                    pass
        finally:
            self._serving.discard(task)
            await hang_up(writer)

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """One request and its reply. Returns whether the connection may carry another."""
        lost_request, lost_reply, quiet = self._rng.random(3) < (self.request_loss, self.reply_loss, self.silent)
        request = await read_message(reader)
        self.counts["requests"] += 1
        if lost_request:
            self.counts["requests lost"] += 1
            return await self._lose(reader, bool(quiet))
        reply = await self._forward(request)
        if lost_reply:
            self.counts["replies lost"] += 1
            return await self._lose(reader, bool(quiet))
        writer.write(reply)
        await writer.drain()
        return True

    async def _lose(self, reader: asyncio.StreamReader, quiet: bool) -> bool:
        """Say nothing until the other side gives up, or break the connection at once."""
        if quiet:
            with suppress(TimeoutError):
                async with asyncio.timeout(SILENCE_S_MAX):
                    await reader.read(1)
        return False

    async def _forward(self, request: bytes) -> bytes:
        if self.target is None:
            raise ConnectionRefusedError
        reader, writer = await asyncio.open_connection(*self.target, limit=HEAD_BYTES_MAX)
        try:
            writer.write(request)
            await writer.drain()
            return await read_message(reader)
        finally:
            await hang_up(writer)


async def read_message(reader: asyncio.StreamReader) -> bytes:
    """A request or reply, whole. Both ends of this network announce the length of every body."""
    head = await reader.readuntil(b"\r\n\r\n")
    length = 0
    for line in head.split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        if name.strip().lower() == b"content-length":
            length = int(value)
    if length > MESSAGE_BYTES_MAX:
        raise ConnectionError(f"a message of {length} bytes")
    return head + await reader.readexactly(length)


async def hang_up(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with suppress(OSError):
        await writer.wait_closed()
