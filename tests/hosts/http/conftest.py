"""What the tests of the HTTP host share: a Party made of rules, a store that remembers the order, a clean-up check."""

import asyncio
import os
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest

from p2pfl.core.ids import NodeId
from p2pfl.core.party import Effect, Emit, Event, Put, Restored, Stop, Stopping
from p2pfl.hosts.http import HttpHost
from p2pfl.hosts.settings import HttpSettings
from p2pfl.wire import envelope
from p2pfl.wire.keyfile import Signer

NETWORK = bytes(32)
PATIENCE_S = 30.0
ALICE, BOB = Signer(b"a" * 32), Signer(b"b" * 32)


@dataclass(frozen=True)
class Do:
    """A task that is its own work."""

    call: Callable[[], Any]
    lane: str = "wire"


class DoIt:
    def run(self, task: Any) -> Any:
        return task.call()


class Toy:
    """Answers an event by the rule for its type; remembers all events."""

    def __init__(self, rules: Mapping[type, Callable[[Any, float], list[Effect]]] | None = None) -> None:
        self.rules = {Stopping: lambda event, now: [Stop(0, event.reason)], **(rules or {})}
        self.events: list[Any] = []
        self._more = asyncio.Event()

    def handle(self, event: Event, now: float) -> list[Effect]:
        self.events.append(event)
        self._more.set()
        rule = self.rules.get(type(event))
        return rule(event, now) if rule else []

    async def saw(self, kind: type, count: int = 1) -> Any:
        """The `count`-th event of this kind, when it is there."""
        async with asyncio.timeout(PATIENCE_S):
            while len(found := [e for e in self.events if isinstance(e, kind)]) < count:
                self._more.clear()
                await self._more.wait()
        return found[count - 1]


@dataclass
class Memory:
    """A store that keeps the order of what happened to it. `gate` holds a commit up, `refuse` makes it fail."""

    log: list[Any] = field(default_factory=list)
    gate: threading.Event | None = None
    refuse: Exception | None = None

    def load(self) -> Restored:
        return {"kept": {b"k": b"v"}}

    def commit(self, puts: Sequence[Put]) -> None:
        if self.gate is not None:
            assert self.gate.wait(PATIENCE_S)
        if self.refuse is not None:
            raise self.refuse
        self.log.append([put.key for put in puts])

    def close(self) -> None:
        self.log.append("closed")


def make(party: Any, store: Any = None, addresses: Mapping[NodeId, str] | None = None, **more: Any) -> HttpHost:
    emitted: Callable[[Emit], None] = more.pop("on_emit", lambda emit: None)
    listen = more.pop("listen", ("127.0.0.1", 0))
    given = {name: more.pop(name) for name in ("read", "pages", "reach", "on_listening") if name in more}
    known = {} if addresses is None else addresses
    settings = HttpSettings(**more)
    return HttpHost(
        party, DoIt(), store or Memory(), known, listen, bytes(32), emitted, settings=settings, **given
    )  # fmt: skip


@asynccontextmanager
async def living(party: Any, store: Any = None, addresses: Any = None, **more: Any) -> AsyncIterator[HttpHost]:
    """A host that listens, until the block ends; its Stop must then come by itself."""
    ready: list[int] = []
    host = make(party, store, addresses, on_listening=ready.append, **more)
    running = asyncio.create_task(host.run())
    try:
        while not ready and not running.done():
            await asyncio.sleep(0)
        if running.done():
            running.result()
        yield host
    finally:
        host.stop()
        await running


def play(main: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Runs `main` and looks for what it left behind: tasks, threads, sockets, errors that nobody saw."""
    threads, sockets = set(threading.enumerate()), open_sockets()

    raised: list[Any] = []

    async def whole() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: raised.append(context))
        async with asyncio.timeout(PATIENCE_S):
            await main()
        await asyncio.sleep(0)
        assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(whole())
    assert not raised, "nothing raises in a callback"
    assert set(threading.enumerate()) == threads
    assert open_sockets() == sockets


def open_sockets() -> int:
    links = [os.path.join("/proc/self/fd", name) for name in os.listdir("/proc/self/fd")]
    return sum(os.path.lexists(link) and os.readlink(link).startswith("socket:") for link in links)


def seal(body: bytes = b"", signer: Signer = ALICE, kind: str = "ping") -> tuple[bytes, ...]:
    return tuple(bytes(part) for part in envelope.seal(signer, NETWORK, kind, [7], (body,) if body else ()))


def request(
    body: bytes, path: str = "/v1/exchange", method: str = "POST", length: int | None = -1, more: str = ""
) -> bytes:
    """The raw bytes of a request; `length` -1 is the true one, None leaves the header out."""
    announced = "" if length is None else f"Content-Length: {len(body) if length == -1 else length}\r\n"
    return f"{method} {path} HTTP/1.1\r\nHost: x\r\n{announced}{more}\r\n".encode() + body


async def read_reply(reader: asyncio.StreamReader) -> tuple[int, dict[str, str], bytes]:
    """Status, headers (lower case) and body."""
    lines = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
    headers = {k.lower(): v for k, v in (line.split(": ", 1) for line in lines[1:] if line)}
    return int(lines[0].split()[1]), headers, await reader.readexactly(int(headers.get("content-length", 0)))


async def raw(port: int, sent: bytes) -> tuple[int, dict[str, str], bytes]:
    """Sends bytes on a connection of their own and reads one reply."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(sent)
        return await read_reply(reader)
    finally:
        await hang_up(writer)


Line = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def connect(port: int) -> Line:
    return await asyncio.open_connection("127.0.0.1", port)


async def ask(line: Line, sent: bytes) -> tuple[int, dict[str, str], bytes]:
    """Sends bytes on a connection that stays, and reads one reply."""
    line[1].write(sent)
    return await read_reply(line[0])


async def turn() -> None:
    """Lets the others have the loop."""
    await asyncio.sleep(0.001)


async def hang_up(writer: asyncio.StreamWriter) -> None:
    writer.close()
    try:
        await writer.wait_closed()
    except ConnectionError:
        return


@asynccontextmanager
async def peer(serve: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]) -> AsyncIterator[str]:
    """The base URL of a peer that does as it likes."""

    serving: set[asyncio.Task[Any] | None] = set()

    async def one(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        serving.add(asyncio.current_task())
        try:
            await serve(reader, writer)
        finally:
            await hang_up(writer)
            serving.discard(asyncio.current_task())

    server = await asyncio.start_server(one, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        await server.wait_closed()
        while serving:
            await asyncio.sleep(0)


@pytest.fixture
def kit() -> SimpleNamespace:
    """Everything above, for tests in files of their own."""
    return SimpleNamespace(**{k: v for k, v in globals().items() if not k.startswith("_")})
