"""The receiving half of a node: requests in, events out, replies back. Knows HTTP and tokens; knows no Party.

Theory of operation
-------------------
A POST is read in two steps, so that a stranger's bytes cost little: the head, in a few bounded slots and seconds; then,
only if the Party takes it, exactly the body that the head announced, into one buffer, each chunk checked as it lands.

    step         ends with                            then
    HEAD         head complete                        Offered(token, head)
                 malformed, wrong length, too slow    4xx; the Party never hears of it
    DECIDE       Reply                                its status
                 Take                                 BODY
    BODY         whole, every chunk as signed         Received(token, body)
                 false chunk, too slow, gone          Dropped(token, reason) and 4xx
    REPLY        Reply                                its status
    DECIDE and REPLY end with 503 when the Party takes longer than the settings allow, or stops.

A token is forgotten when its answer is written. A Take that comes later than that leads to Dropped, a Reply to nothing.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from types import TracebackType

from aiohttp import web

from p2pfl.core.limits import CHUNK_BYTES
from p2pfl.core.party import Asked, Buffer, Dropped, Event, Offered, Received, Reply, ReplyToken, Take, Verdict
from p2pfl.errors import P2PFLError, Reject
from p2pfl.hosts.body import JOIN_BYTES, Gone, PartsPayload, read_head, read_into, read_piece, size_of
from p2pfl.hosts.buffers import BufferPool
from p2pfl.hosts.listener import Listener
from p2pfl.hosts.refusal import Refused, check_headers, headers, refusal
from p2pfl.hosts.settings import HttpSettings
from p2pfl.wire import envelope

STATUS = {Verdict.ACCEPT: 200, Verdict.IGNORE: 204, Verdict.REJECT: 403, Verdict.BUSY: 503}
POSTS = frozenset({"/v1/exchange", "/v1/gossip"})
ASKED = {"/v1/status": "status"}
READ = "/v1/ledger/"
"""Below it lie the pieces of what the node keeps, if the host was given somebody to read them."""
PIECE_CHARS_MAX = 128
HEALTH = "/healthz"

Read = Callable[[str], bytes | None]
"""The piece of this name, None if there is none. Called on a thread of its own; knows the disk, not the Party."""

Page = Callable[[str], tuple[int, str, bytes]]
"""Status, content type and text of a small page beside the protocol, for a caller at this address; on the loop."""


@dataclass(slots=True, eq=False)
class Call:
    """One request. `answer` is what the Party says in the present step; `clock` runs while bytes are read."""

    token: ReplyToken
    answer: asyncio.Future[Take | Reply]
    clock: asyncio.Timeout | None = None


class Server:
    """`async with` it; then it listens on `port`. `deliver` hands an event to the Party; `take` and `reply` perform the
    Party's effects. Raises HostError on entry if it cannot listen."""

    def __init__(
        self,
        listen: tuple[str, int],
        deliver: Callable[[Event], None],
        pool: BufferPool,
        settings: HttpSettings,
        read: Read | None = None,
        pages: Mapping[str, Page] | None = None,
    ) -> None:
        self._listener = Listener(listen, self._handle, settings)
        self._deliver = deliver
        self._pool = pool
        self._settings = settings
        self._calls: dict[ReplyToken, Call] = {}
        self._last_token = 0
        self._strangers = 0
        self._read = read
        self._pages = dict(pages or {})
        self.answered_with: Counter[tuple[str, int]] = Counter()
        """Requests by path (those that nobody knows, and pieces, as one each) and status."""
        self._reading = 0
        self._open = False
        self._idle = asyncio.Event()
        self.port = 0

    # ------------------------------------------------------------------------------------------ from begin to end

    async def __aenter__(self) -> "Server":
        self._loop = asyncio.get_running_loop()
        self._idle.set()
        await self._listener.__aenter__()
        self.port = self._listener.port
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.refuse()
        await self._listener.__aexit__(kind, error, trace)

    def admit(self) -> None:
        """From now on requests are read. Before, and after `refuse`, they are answered with 503."""
        self._open = True

    def refuse(self) -> None:
        """Ends every wait for the Party and for bytes with 503."""
        self._open = False
        for call in self._calls.values():
            if not call.answer.done():
                call.answer.set_result(Reply(call.token, Verdict.BUSY))
            if call.clock is not None:
                call.clock.reschedule(self._loop.time())

    async def answered(self) -> None:
        """Returns once every request has its answer written. After `refuse` that takes as long as writing does."""
        await self._idle.wait()

    # ------------------------------------------------------------------------------------------ effects

    def take(self, token: ReplyToken) -> None:
        call = self._calls.get(token)
        if call is None or call.answer.done():
            self._loop.call_soon(self._deliver, Dropped(token, "the request is over"))
        else:
            call.answer.set_result(Take(token))

    def reply(self, reply: Reply) -> None:
        call = self._calls.get(reply.token)
        if call is not None and not call.answer.done():
            call.answer.set_result(reply)

    # ------------------------------------------------------------------------------------------ one request

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        with self._called() as call:
            try:
                response = await self._respond(request, call)
            except Refused as refused:
                response = refusal(refused)
            self.answered_with[self._kind_of(request.path), response.status] += 1
            await self._write(request, response)
            await self._linger(request, call)
        return response

    @contextmanager
    def _called(self) -> Iterator[Call]:
        self._last_token += 1
        call = Call(ReplyToken(self._last_token), self._loop.create_future())
        self._calls[call.token] = call
        self._idle.clear()
        try:
            yield call
        finally:
            del self._calls[call.token]
            if not self._calls:
                self._idle.set()

    async def _respond(self, request: web.BaseRequest, call: Call) -> web.StreamResponse:
        path = request.path
        if self._read is not None and path.startswith(READ):
            return await self._piece(request, path.removeprefix(READ), self._read)
        if path not in POSTS and path not in ASKED and path != HEALTH and path not in self._pages:
            known = sorted({*POSTS, *ASKED, HEALTH, *self._pages})
            raise Refused(404, "no-such-path", f"expected one of {', '.join(known)}")
        method = "POST" if path in POSTS else "GET"
        if request.method != method:
            raise Refused(405, "method", method)
        if not self._open:
            raise Refused(503, "closed", "the node is starting or stopping")
        if path in POSTS:
            return self._response(await self._exchange(request, call), "application/octet-stream")
        if path in ASKED:
            self._deliver(Asked(call.token, ASKED[path]))
            return self._response(await self._said(call, self._settings.reply_s), "application/json")
        if path in self._pages:
            status, content_type, text = self._pages[path](request.remote or "")
            return web.Response(status=status, body=text, headers=headers(status, content_type))
        return web.json_response({"status": "ok"})

    def _kind_of(self, path: str) -> str:
        if path.startswith(READ):
            return READ
        return path if path in POSTS or path in ASKED or path == HEALTH or path in self._pages else "other"

    async def _piece(self, request: web.BaseRequest, name: str, read: Read) -> web.StreamResponse:
        """One piece at a time, off the loop: readers must not hold up who learns."""
        if request.method != "GET":
            raise Refused(405, "method", "GET")
        if not self._open or self._reading >= self._settings.readers:
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

    async def _exchange(self, request: web.BaseRequest, call: Call) -> Take | Reply:
        check_headers(request)
        raw, head, first = await self._read_head(request, call)
        self._deliver(Offered(call.token, raw))
        answer = await self._said(call, self._settings.decide_s)
        if isinstance(answer, Reply):
            return answer
        call.answer = self._loop.create_future()
        self._deliver(Received(call.token, await self._read_body(request, call, head, first)))
        return await self._said(call, self._settings.reply_s)

    async def _said(self, call: Call, patience_s: float) -> Take | Reply:
        if call.answer.done():  # most are decided at once: spare the clock
            return call.answer.result()
        if not self._open:
            raise Refused(503, "closed", "the node is stopping")
        try:
            async with asyncio.timeout(patience_s):
                return await call.answer
        except TimeoutError:
            raise Refused(503, "busy", "no decision in time") from None

    async def _read_head(self, request: web.BaseRequest, call: Call) -> tuple[bytes, envelope.Head, memoryview]:
        """The head as bytes and opened, and what came along of the body."""
        if self._strangers >= self._settings.stranger_slots:
            raise Refused(503, "busy", "too many requests at their beginning")
        self._strangers += 1
        try:
            async with self._clock(request, self._settings.header_s) as call.clock:
                raw, first = await read_head(request.content)
            head = envelope.open_head(raw)
        except Reject as error:
            raise Refused(400, error.code, error.detail) from None
        except (Gone, TimeoutError) as error:
            raise self._unread(error, "head", self._settings.header_s) from None
        finally:
            self._strangers -= 1
            call.clock = None
        if request.content_length != len(raw) + head.body_len:
            expected = f"Content-Length {len(raw) + head.body_len} for this head"
            raise Refused(400, "length", f"expected {expected}, got {request.content_length}")
        return raw, head, first

    async def _read_body(self, request: web.BaseRequest, call: Call, head: envelope.Head, first: Buffer) -> memoryview:
        """The whole body, checked. Delivers Dropped before it raises Refused."""
        view = self._pool.take(head.body_len)
        check = envelope.ChunkCheck(head.chunks)
        at, due = 0, CHUNK_BYTES

        def seen(piece: memoryview) -> None:
            nonlocal at, due
            check.feed(piece)
            at += len(piece)
            if at >= due and call.clock is not None and self._open:
                due = at - at % CHUNK_BYTES + CHUNK_BYTES
                call.clock.reschedule(self._loop.time() + self._settings.chunk_s)

        try:
            async with self._clock(request, self._settings.chunk_s) as call.clock:
                await read_into(request.content, view, seen, first)
                check.finish()
            return view
        except Reject as error:
            raise self._dropped(call, Refused(400, error.code, error.detail)) from None
        except (Gone, TimeoutError) as error:
            raise self._dropped(call, self._unread(error, "chunk of the body", self._settings.chunk_s)) from None
        finally:
            call.clock = None

    def _clock(self, request: web.BaseRequest, seconds: float) -> asyncio.Timeout:
        """Does not run if all has arrived already: a small message then costs no timer."""
        return asyncio.timeout(None if request.content.is_eof() else seconds)

    def _dropped(self, call: Call, refused: Refused) -> Refused:
        self._deliver(Dropped(call.token, f"{refused.code}: {refused.detail}"))
        return refused

    async def _linger(self, request: web.BaseRequest, call: Call) -> None:
        """Throws the rest of a refused body away for a moment: closing at once would reset the connection, and the
        sender might never read why. (aiohttp would do it too, but not notice when the sender has gone.)"""
        if not self._open or request.content.is_eof():
            return
        try:
            async with asyncio.timeout(self._settings.linger_s) as call.clock:
                while True:
                    await read_piece(request.content)
        except (Gone, TimeoutError):
            call.clock = None

    def _unread(self, error: Gone | TimeoutError, what: str, seconds: float) -> Refused:
        if isinstance(error, Gone):
            return Refused(400, "incomplete", str(error))
        if not self._open:
            return Refused(503, "closed", "the node is stopping")
        return Refused(408, "too-slow", f"expected each {what} within {seconds:g} s")

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
