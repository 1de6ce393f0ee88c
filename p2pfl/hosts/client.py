"""The sending half of a node: one attempt for each Send. Knows HTTP and addresses; knows no Party.

Repeats, back-off and what an answer means are the Party's. An https address must lead to the very node that is meant
(tls.py); an http address beyond this machine is used only where the network does without TLS. Two sessions, so that
small control messages never queue behind bodies on the way to the same neighbour.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from types import TracebackType
from typing import Any

import aiohttp

from p2pfl.core.ids import NodeId, short
from p2pfl.core.limits import CONTROL_BYTES_MAX
from p2pfl.core.party import Answered, Buffer, Send, SendFailed, Verdict
from p2pfl.core.urls import NOWHERE, is_guarded
from p2pfl.hosts.body import JOIN_BYTES, Gone, PartsPayload, read_into, size_of
from p2pfl.hosts.buffers import BufferPool
from p2pfl.hosts.places import Places
from p2pfl.hosts.settings import HttpSettings
from p2pfl.hosts.tls import mismatch

VERDICTS = {200: Verdict.ACCEPT, 204: Verdict.IGNORE, 403: Verdict.REJECT, 503: Verdict.BUSY}
REASON_CHARS_MAX = 500
_HEADERS = {"User-Agent": "p2pfl", "Accept-Encoding": "identity", "Content-Type": "application/octet-stream"}


class Unusable(Exception):
    """An answer that is none of the four verdicts, or breaks the bounds of this Send."""


class Client:
    """`async with` it. `plain`: whether what others could read and change may leave this machine. `deliver`: how to
    reach nodes that fetch."""

    def __init__(
        self,
        places: Places,
        pool: BufferPool,
        settings: HttpSettings,
        plain: bool = False,
        deliver: Callable[[Send], Awaitable[Answered | SendFailed]] | None = None,
    ) -> None:
        self._places = places
        self._plain = plain
        self._deliver = deliver
        self._pool = pool
        self._settings = settings
        self._stack = AsyncExitStack()
        self._sessions: dict[str, aiohttp.ClientSession] = {}

    async def __aenter__(self) -> "Client":
        s = self._settings
        for path, per_host in (("exchange", s.exchange_per_host), ("gossip", s.gossip_per_host)):
            self._sessions[path] = await self._stack.enter_async_context(_session(per_host, s))
        self._fetching = await self._stack.enter_async_context(_session(0, s))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.aclose()
        await asyncio.sleep(0)  # transports close in the loop's next turn

    async def attempt(self, send: Send) -> Answered | SendFailed:
        """One POST, until the deadline. Never raises for anything that the network or the peer does."""
        try:
            async with asyncio.timeout_at(send.deadline):
                if self._places.url(send.to) == NOWHERE and self._deliver is not None:
                    return await self._deliver(send)
                return await self._post(send)
        except aiohttp.ServerFingerprintMismatch as error:
            reason = mismatch(error)
        except aiohttp.ClientConnectorError as error:
            self._places.unreachable(send.to)
            reason = str(error)
        except (aiohttp.ClientError, Unusable, Gone) as error:  # before TimeoutError: some of these are one, too
            reason = str(error) or type(error).__name__
        except TimeoutError:
            reason = "no answer by the deadline"
        except (OSError, ValueError) as error:
            reason = f"{type(error).__name__}: {error}"
        return SendFailed(send.key, one_line(reason))

    def post(self, node: NodeId, path: str, body: Any) -> Any:
        """One POST to a node, as a context with its response. Raises Unusable without a way there."""
        base = self._places.url(node)
        if base is None:
            raise Unusable(f"no address is known for {short(node)}")
        if base == NOWHERE:
            raise Unusable(f"neither {short(node)} nor this node can be reached: one of them has to listen")
        if not (self._plain or is_guarded(base)):
            raise Unusable(f"{base} is not https, and this network does not do without TLS")
        url = f"{base.rstrip('/')}/v1/{path}"
        session = self._sessions.get(path, self._fetching)
        return session.post(url, data=body, headers=_HEADERS, allow_redirects=False, ssl=self._places.pin(node))

    async def _post(self, send: Send) -> Answered:
        payload = None if size_of(send.data) <= JOIN_BYTES else PartsPayload(send.data, self._settings.chunk_s)
        body = b"".join(send.data) if payload is None else payload
        async with self.post(send.to, send.path, body) as response:
            try:
                verdict = VERDICTS.get(response.status)
                limit = send.reply_limit if verdict is Verdict.ACCEPT else CONTROL_BYTES_MAX
                data = b"" if verdict is Verdict.IGNORE else await self._read(response, limit)
            except BaseException:
                response.close()  # what is unread on it must not be taken for the next answer
                raise
            if payload is not None and not payload.whole:
                response.close()  # refused before the end: do not go on sending
        if verdict is None:
            raise Unusable(f"status {response.status}: {bytes(data).decode(errors='replace')}")
        return Answered(send.key, verdict, data)

    async def _read(self, response: aiohttp.ClientResponse, limit: int) -> Buffer:
        length = response.content_length
        if length is None or "Content-Encoding" in response.headers:
            raise Unusable(f"status {response.status} without a plain body of known length")
        if length > limit:
            raise Unusable(f"status {response.status} with {length} bytes, expected at most {limit}")
        view = self._pool.take(length)
        await read_into(response.content, view, _unchecked)
        return view


def _session(per_host: int, settings: HttpSettings) -> aiohttp.ClientSession:
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0, limit_per_host=per_host, keepalive_timeout=settings.idle_s),
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=False,
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=settings.connect_s),
    )


def _unchecked(view: memoryview) -> None:
    """A reply's digests are checked by the Party's task, off the event loop."""


def one_line(text: str) -> str:
    """Printable, one line, bounded: a peer may have had a say in it."""
    line = " ".join(text.split())
    return "".join(c if c.isprintable() else "?" for c in line)[:REASON_CHARS_MAX]
