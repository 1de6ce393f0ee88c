"""The receiving half of a node: its routes. Knows HTTP and status codes; knows no Party.

How a message is read is in intake.py; who may connect and how often, in gate.py; what waits for nodes that fetch, in
pickup.py.
"""

import asyncio
import ssl
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from types import TracebackType

from aiohttp import web

from p2pfl.core.party import Asked, Event, Reply, ReplyToken, Take, Verdict
from p2pfl.errors import P2PFLError
from p2pfl.hosts.body import JOIN_BYTES, Gone, PartsPayload, read_piece, size_of
from p2pfl.hosts.gate import Gate
from p2pfl.hosts.intake import Call, Intake
from p2pfl.hosts.listener import Listener
from p2pfl.hosts.pickup import PULL, PULLED, Pickup
from p2pfl.hosts.refusal import Refused, check_headers, headers, refusal
from p2pfl.hosts.settings import HttpSettings

STATUS = {Verdict.ACCEPT: 200, Verdict.IGNORE: 204, Verdict.REJECT: 403, Verdict.BUSY: 503}
POSTS = frozenset({"/v1/exchange", "/v1/gossip"})
ASKED = {"/v1/status": "status"}
READ = "/v1/ledger/"
"""Below it lie the pieces of what the node keeps, if the host was given somebody to read them."""
PIECE_CHARS_MAX = 128
HEALTH = "/healthz"

Route = Callable[[web.BaseRequest, Call], Awaitable[web.StreamResponse]]
Read = Callable[[str], bytes | None]
"""The piece of this name, None if there is none. Called on a thread of its own; knows the disk, not the Party."""

Page = Callable[[str], tuple[int, str, bytes]]
"""Status, content type and text of a small page beside the protocol, for a caller at this address; on the loop."""


def peer_of(request: web.BaseRequest) -> tuple[str, int]:
    """Address and port at the other end: the gate's name of the connection."""
    return (request.transport and request.transport.get_extra_info("peername")) or ("", 0)


class Server:
    """`async with` it; then it listens on `port`. Raises HostError on entry if it cannot listen."""

    def __init__(
        self,
        listen: tuple[str, int],
        deliver: Callable[[Event], None],
        intake: Intake,
        gate: Gate,
        settings: HttpSettings,
        read: Read | None = None,
        pages: Mapping[str, Page] | None = None,
        tls: ssl.SSLContext | None = None,
        pickup: Pickup | None = None,
    ) -> None:
        self._listener = Listener(listen, self._handle, settings, gate, tls)
        self._deliver = deliver
        self._intake = intake
        self._gate = gate
        self._settings = settings
        self._read = read
        self._pages = dict(pages or {})
        self.answered_with: Counter[tuple[str, int]] = Counter()
        """Requests by path (those that nobody knows, and pieces, as one each) and status."""
        self._reading = 0
        self._fetching: dict[str, Route] = {}
        if pickup is not None:
            self._fetching = {f"/v1/{PULL}": pickup.fetch, f"/v1/{PULLED}": pickup.answered}
        self._known = {*POSTS, *ASKED, HEALTH, *self._pages, *self._fetching}
        self.port = 0

    async def __aenter__(self) -> "Server":
        await self._listener.__aenter__()
        self.port = self._listener.port
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._intake.refuse()
        await self._listener.__aexit__(kind, error, trace)

    # ------------------------------------------------------------------------------------------ one request

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        with self._intake.called() as call:
            link, loop = peer_of(request), asyncio.get_running_loop()
            call.host, call.known = link[0], self._gate.is_proved(link)
            asked = self._gate.ask(link, loop.time())
            try:
                response = await (self._answer(request, call) if asked else self._slow_down())
                if call.author:
                    self._gate.prove(link, call.author)
                elif response.status >= 400 and not call.known:
                    response.force_close()
                self.answered_with[self._kind_of(request.path), response.status] += 1
                await self._write(request, response)
                await self._linger(request, call)
            finally:
                if asked:
                    self._gate.done(link, loop.time())
                if call.written is not None:
                    call.written()
        return response

    async def _slow_down(self) -> web.StreamResponse:
        return refusal(Refused(503, "slow-down", "too many requests from there"))

    async def _answer(self, request: web.BaseRequest, call: Call) -> web.StreamResponse:
        try:
            return await self._respond(request, call)
        except Refused as refused:
            return refusal(refused)

    async def _respond(self, request: web.BaseRequest, call: Call) -> web.StreamResponse:
        path = request.path
        if self._read is not None and path.startswith(READ):
            return await self._piece(request, path.removeprefix(READ), self._read)
        if path not in self._known:
            raise Refused(404, "no-such-path", f"expected one of {', '.join(sorted(self._known))}")
        method = "POST" if path in POSTS or path in self._fetching else "GET"
        if request.method != method:
            raise Refused(405, "method", method)
        if not self._intake.is_open:
            raise Refused(503, "closed", "the node is starting or stopping")
        if path in self._fetching:
            return await self._fetching[path](request, call)
        if path in POSTS:
            check_headers(request)
            reply = await self._intake.exchange(request.content, request.content_length, call)
            return self._response(reply, "application/octet-stream")
        if path in ASKED:
            self._deliver(Asked(call.token, ASKED[path]))
            return self._response(await self._intake.said(call, self._settings.reply_s), "application/json")
        if path in self._pages:
            status, content_type, text = self._pages[path](request.remote or "")
            return web.Response(status=status, body=text, headers=headers(status, content_type))
        return web.json_response({"status": "ok"})

    def _kind_of(self, path: str) -> str:
        if path.startswith(READ):
            return READ
        return path if path in self._known else "other"

    async def _piece(self, request: web.BaseRequest, name: str, read: Read) -> web.StreamResponse:
        """One piece at a time, off the loop: readers must not hold up who learns."""
        if request.method != "GET":
            raise Refused(405, "method", "GET")
        if not self._intake.is_open or self._reading >= self._settings.readers:
            raise Refused(503, "busy", "the node is busy, starting or stopping")
        if len(name) > PIECE_CHARS_MAX:
            raise Refused(404, "no-such-piece", f"expected a name of at most {PIECE_CHARS_MAX} characters")
        self._reading += 1
        try:
            piece = await asyncio.to_thread(read, name)
        except P2PFLError as error:
            raise Refused(500, "unreadable", str(error)) from None
        finally:
            self._reading -= 1
        if piece is None:
            raise Refused(404, "no-such-piece", "not here")
        return self._response(Reply(ReplyToken(0), Verdict.ACCEPT, (piece,)), "application/octet-stream")

    async def _linger(self, request: web.BaseRequest, call: Call) -> None:
        """Throws the rest of a refused body away for a moment: closing at once would reset the connection, and the
        sender might never read why. (aiohttp would do it too, but not notice when the sender has gone.)"""
        if not self._intake.is_open or request.content.is_eof():
            return
        try:
            async with asyncio.timeout(self._settings.linger_s) as call.clock:
                while True:
                    await read_piece(request.content)
        except (Gone, TimeoutError):
            call.clock = None

    def _response(self, reply: Take | Reply, content_type: str) -> web.StreamResponse:
        assert isinstance(reply, Reply)
        status = STATUS[reply.verdict]
        if status == 204:
            return web.Response(status=204, headers=headers(204))
        if size_of(reply.data) > JOIN_BYTES:
            payload = PartsPayload(reply.data, self._settings.chunk_s)
            return web.Response(status=status, body=payload, headers=headers(status, content_type))
        return web.Response(status=status, body=b"".join(reply.data), headers=headers(status, content_type))

    async def _write(self, request: web.BaseRequest, response: web.StreamResponse) -> None:
        """Here and not in aiohttp, which would wait for ever for a peer that does not read."""
        long = isinstance(response, web.Response) and isinstance(response.body, PartsPayload)  # has its own clock
        try:
            async with asyncio.timeout(None if long else self._settings.chunk_s):
                await response.prepare(request)
                await response.write_eof()
        except ConnectionError:
            return  # the peer is gone: the connection ends by itself
        except TimeoutError:
            if request.transport is not None:
                request.transport.abort()
