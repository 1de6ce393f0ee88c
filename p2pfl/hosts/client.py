"""The sending half of a node: one attempt for each Send. Knows HTTP and addresses; knows no Party.

Repeats, back-off and what an answer means are the Party's. Two sessions, so that small control messages never queue
behind bodies on the way to the same neighbour.
"""

import asyncio
from collections.abc import Mapping
from contextlib import AsyncExitStack
from types import TracebackType

import aiohttp

from p2pfl.core.ids import NodeId, short
from p2pfl.core.limits import CONTROL_BYTES_MAX
from p2pfl.core.party import Answered, Buffer, Locate, Send, SendFailed, Verdict
from p2pfl.hosts.body import JOIN_BYTES, Gone, PartsPayload, read_into, size_of
from p2pfl.hosts.buffers import BufferPool
from p2pfl.hosts.settings import HttpSettings

VERDICTS = {200: Verdict.ACCEPT, 204: Verdict.IGNORE, 403: Verdict.REJECT, 503: Verdict.BUSY}
REASON_CHARS_MAX = 500
_HEADERS = {"User-Agent": "p2pfl", "Accept-Encoding": "identity", "Content-Type": "application/octet-stream"}


class Unusable(Exception):
    """An answer that is none of the four verdicts, or breaks the bounds of this Send."""


class Client:
    """`async with` it. `addresses` is looked up at each Send, so it may change while the host runs; what a Locate said
    of a node counts before it."""

    def __init__(self, addresses: Mapping[NodeId, str], pool: BufferPool, settings: HttpSettings) -> None:
        self._addresses = addresses
        self._located: dict[NodeId, Locate] = {}
        self._pool = pool
        self._settings = settings
        self._stack = AsyncExitStack()
        self._sessions: dict[str, aiohttp.ClientSession] = {}

    async def __aenter__(self) -> "Client":
        s = self._settings
        for path, per_host in (("exchange", s.exchange_per_host), ("gossip", s.gossip_per_host)):
            self._sessions[path] = await self._stack.enter_async_context(_session(per_host, s))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.aclose()
        await asyncio.sleep(0)  # transports close in the loop's next turn

    def locate(self, place: Locate) -> None:
        """Where the node is from now on."""
        self._located[place.node] = place

    def _base(self, node: NodeId) -> str | None:
        place = self._located.get(node)
        if place is not None:
            return place.urls[0] if place.urls else None
        return self._addresses.get(node)

    async def attempt(self, send: Send) -> Answered | SendFailed:
        """One POST, until the deadline. Never raises for anything that the network or the peer does."""
        base = self._base(send.to)
        if base is None:
            return SendFailed(send.key, f"no address is known for {short(send.to)}")
        try:
            async with asyncio.timeout_at(send.deadline):
                return await self._post(send, f"{base.rstrip('/')}/v1/{send.path}")
        except (aiohttp.ClientError, Unusable, Gone) as error:  # before TimeoutError: some of these are one, too
            reason = str(error) or type(error).__name__
        except TimeoutError:
            reason = "no answer by the deadline"
        except (OSError, ValueError) as error:
            reason = f"{type(error).__name__}: {error}"
        return SendFailed(send.key, one_line(reason))

    async def _post(self, send: Send, url: str) -> Answered:
        payload = None if size_of(send.data) <= JOIN_BYTES else PartsPayload(send.data, self._settings.chunk_s)
        body = b"".join(send.data) if payload is None else payload
        async with self._sessions[send.path].post(url, data=body, headers=_HEADERS, allow_redirects=False) as response:
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
