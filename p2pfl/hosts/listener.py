"""The listening sockets and their connections, as aiohttp makes them, behind a gate. Knows sockets; knows no route.

Whoever the gate turns away costs one accept and one close: there is no transport, no TLS and no parser for it yet. A
connection has `header_s` for the handshake, and as a stranger's for each whole request line with headers.
"""

import asyncio
import errno
import logging
import socket
import ssl
from collections.abc import Awaitable, Callable
from functools import partial
from types import TracebackType

from aiohttp import web
from aiohttp.http import HttpProcessingError

from p2pfl.core.urls import shown
from p2pfl.errors import HostError
from p2pfl.hosts.gate import Gate
from p2pfl.hosts.settings import HttpSettings

GRACE_S = 0.1
"""For requests whose connection was just aborted to notice it."""
BACKLOG = 128
PORT_MAX = 65_535
SWEEPS = 4
"""Looks for silent strangers in the time that one has."""
EXHAUSTED = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}
EXHAUSTED_S = 0.5
"""Pause of accepting when the system has no more to give."""


class Bugs(logging.Filter):
    """Lets through what is our own fault. Text that is not HTTP is not: strangers must not fill the log."""

    def filter(self, record: logging.LogRecord) -> bool:
        return not (record.exc_info and isinstance(record.exc_info[1], HttpProcessingError))


LOGGER = logging.getLogger("p2pfl.http")
LOGGER.addFilter(Bugs())


class Connections(web.Server):
    """aiohttp's connection factory, which can end all connections by force, and tells the gate of each end."""

    def __init__(
        self, handle: Callable[[web.BaseRequest], Awaitable[web.StreamResponse]], gate: Gate, s: HttpSettings
    ) -> None:
        super().__init__(
            handle,
            access_log=None,
            logger=LOGGER,
            auto_decompress=False,
            keepalive_timeout=s.idle_s * 1.5,
            lingering_time=0,
        )
        self._gate = gate
        self._transports: dict[object, asyncio.Transport] = {}
        self._links: dict[object, object] = {}  # the gate's names: a transport that is gone knows its own no more

    def connection_made(self, handler: web.RequestHandler, transport: asyncio.Transport) -> None:
        super().connection_made(handler, transport)
        self._transports[handler] = transport
        self._links[handler] = transport.get_extra_info("peername")

    def connection_lost(self, handler: web.RequestHandler, exc: BaseException | None = None) -> None:
        super().connection_lost(handler, exc)
        if self._transports.pop(handler, None) is not None:
            self._gate.close(self._links.pop(handler))

    def abort(self) -> None:
        for transport in list(self._transports.values()):
            transport.abort()


class Listener:
    """`async with` it; then `handle` is called for each request on `port`. Raises HostError if it cannot listen."""

    def __init__(
        self,
        listen: tuple[str, int],
        handle: Callable[[web.BaseRequest], Awaitable[web.StreamResponse]],
        settings: HttpSettings,
        gate: Gate,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._listen = listen
        self._handle = handle
        self._settings = settings
        self._gate = gate
        self._tls = tls
        self._sockets: list[socket.socket] = []
        self._arriving: set[asyncio.Task[None]] = set()
        self._timers: set[asyncio.TimerHandle] = set()
        self.port = 0

    async def __aenter__(self) -> "Listener":
        host, port = self._listen
        self._loop = asyncio.get_running_loop()
        self._connections = Connections(self._handle, self._gate, self._settings)
        try:
            if not 0 <= port <= PORT_MAX:
                raise OverflowError(f"expected a port from 0 to {PORT_MAX}")
            infos = await self._loop.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
            for family, address in dict.fromkeys((info[0], info[4][0]) for info in infos):
                self._sockets.append(socket.create_server((str(address), port), family=family, backlog=BACKLOG))
        except (OSError, OverflowError) as error:
            self._close()
            raise HostError(cannot_listen(host, port, error)) from None
        for listening in self._sockets:
            listening.setblocking(False)
            self._resume(listening)
        self.port = self._sockets[0].getsockname()[1]
        self._sweep()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close()
        for task in self._arriving:
            task.cancel()
        await asyncio.gather(*self._arriving, return_exceptions=True)
        await asyncio.sleep(0)  # connections accepted last are made in the loop's next turn
        self._connections.abort()
        self._connections.pre_shutdown()
        await self._connections.shutdown(GRACE_S)
        await asyncio.sleep(0)  # transports close in the loop's next turn

    def _close(self) -> None:
        for timer in self._timers:
            timer.cancel()
        for listening in self._sockets:
            self._loop.remove_reader(listening.fileno())
            listening.close()
        self._sockets.clear()

    # ------------------------------------------------------------------------------------------ accepting

    def _resume(self, listening: socket.socket) -> None:
        self._loop.add_reader(listening.fileno(), self._accept, listening)

    def _accept(self, listening: socket.socket) -> None:
        """Takes what has arrived, but not for ever: others wait for the loop."""
        for _ in range(BACKLOG):
            try:
                accepted, peer = listening.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                if error.errno not in EXHAUSTED:
                    raise
                self._loop.remove_reader(listening.fileno())
                self._later(EXHAUSTED_S, partial(self._resume, listening))
                return
            self._arrived(accepted, peer)

    def _arrived(self, accepted: socket.socket, peer: tuple[str, int]) -> None:
        link: list[Callable[[], object]] = [accepted.close]
        if not self._gate.open(peer, peer[0], self._loop.time(), lambda: link[0]()):
            accepted.close()
            return
        accepted.setblocking(False)
        task = self._loop.create_task(self._connect(accepted, peer, link))
        self._arriving.add(task)
        task.add_done_callback(self._arriving.discard)
        link[0] = task.cancel

    async def _connect(self, accepted: socket.socket, peer: tuple[str, int], link: list[Callable[[], object]]) -> None:
        """Makes it aiohttp's, after TLS has shaken hands."""
        within_s = None if self._tls is None else self._settings.header_s
        try:
            transport, _ = await self._loop.connect_accepted_socket(
                self._connections, accepted, ssl=self._tls, ssl_handshake_timeout=within_s
            )
        except OSError:  # no TLS, not in time, or gone again
            self._gate.close(peer)
            accepted.close()
        except BaseException:
            self._gate.close(peer)
            accepted.close()
            raise
        else:
            link[0] = transport.abort

    # ------------------------------------------------------------------------------------------ silence

    def _sweep(self) -> None:
        self._gate.silent(self._loop.time(), self._settings.header_s)
        self._later(self._settings.header_s / SWEEPS, self._sweep)

    def _later(self, seconds: float, call: Callable[[], None]) -> None:
        def ring() -> None:
            self._timers.discard(timer)
            call()

        timer = self._loop.call_later(seconds, ring)
        self._timers.add(timer)


def cannot_listen(host: str, port: int, error: OSError | OverflowError) -> str:
    """What stands in the way, and what to do about it, after a semicolon if anything is known."""
    known = {
        errno.EADDRINUSE: "another program uses this port; stop it, or choose another port (0 takes a free one)",
        errno.EADDRNOTAVAIL: "no such address on this machine; use one of its own, or 0.0.0.0 for all of them",
        errno.EACCES: "not allowed to; choose a port from 1024 on",
    }
    number = error.errno if isinstance(error, OSError) else None
    return f"cannot listen on {shown(host, port)}: {known.get(number or 0, str(error))}"
