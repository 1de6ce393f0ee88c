"""The listening socket and its connections, as aiohttp makes them, bounded. Knows sockets; knows no route.

aiohttp closes a connection that sent no whole request line and headers within the idle time; how many there may be, and
that they end when the host does, is added here.
"""

import asyncio
import errno
import ssl
from collections.abc import Awaitable, Callable
from types import TracebackType

from aiohttp import web

from p2pfl.core.urls import shown
from p2pfl.errors import HostError
from p2pfl.hosts.settings import HttpSettings

GRACE_S = 0.1
"""For requests whose connection was just aborted to notice it."""


class Connections(web.Server):
    """aiohttp's connection factory, with a bound on open connections, which it can also end by force."""

    def __init__(self, handle: Callable[[web.BaseRequest], Awaitable[web.StreamResponse]], s: HttpSettings) -> None:
        super().__init__(
            handle,
            access_log=None,
            auto_decompress=False,
            keepalive_timeout=s.idle_s * 1.5,
            lingering_time=0,
        )
        self._connections_max = s.connections_max
        self._transports: dict[object, asyncio.Transport] = {}

    def connection_made(self, handler: web.RequestHandler, transport: asyncio.Transport) -> None:
        super().connection_made(handler, transport)
        self._transports[handler] = transport
        if len(self._transports) > self._connections_max:
            transport.abort()

    def connection_lost(self, handler: web.RequestHandler, exc: BaseException | None = None) -> None:
        super().connection_lost(handler, exc)
        self._transports.pop(handler, None)

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
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._listen = listen
        self._tls = tls
        self._handle = handle
        self._settings = settings
        self.port = 0

    async def __aenter__(self) -> "Listener":
        host, port = self._listen
        self._connections = Connections(self._handle, self._settings)
        loop = asyncio.get_running_loop()
        try:
            within_s = None if self._tls is None else self._settings.header_s
            self._server = await loop.create_server(
                self._connections, host, port, start_serving=False, ssl=self._tls, ssl_handshake_timeout=within_s
            )
            try:
                await self._server.start_serving()
            except BaseException:  # cancelled, perhaps: the sockets are open already
                self._server.close()
                raise
        except (OSError, OverflowError) as error:
            raise HostError(cannot_listen(host, port, error)) from None
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.close()
        await asyncio.sleep(0)  # connections accepted last are made in the loop's next turn
        self._connections.abort()
        self._connections.pre_shutdown()
        await self._connections.shutdown(GRACE_S)
        await asyncio.sleep(0)  # transports close in the loop's next turn


def cannot_listen(host: str, port: int, error: OSError | OverflowError) -> str:
    """What stands in the way, and what to do about it, after a semicolon if anything is known."""
    known = {
        errno.EADDRINUSE: "another program uses this port; stop it, or choose another port (0 takes a free one)",
        errno.EADDRNOTAVAIL: "no such address on this machine; use one of its own, or 0.0.0.0 for all of them",
        errno.EACCES: "not allowed to; choose a port from 1024 on",
    }
    number = error.errno if isinstance(error, OSError) else None
    return f"cannot listen on {shown(host, port)}: {known.get(number or 0, str(error))}"
