"""One message from bytes to the Party's answer, whoever brought it. Knows streams and tokens; knows no Party or route.

Theory of operation
-------------------
A message is read in two steps, so that a stranger's bytes cost little: the head, in a few bounded slots and seconds;
then, only if the Party takes it, exactly the body that the head announced, into one buffer, each chunk checked as it
lands.

    step         ends with                            then
    HEAD         head complete                        Offered(token, head)
                 malformed, wrong length, too slow    Refused; the Party never hears of it
    DECIDE       Reply                                it is what `exchange` returns
                 Take                                 BODY
    BODY         whole, every chunk as signed         Received(token, body)
                 false chunk, too slow, gone          Dropped(token, reason) and Refused
    REPLY        Reply                                it is what `exchange` returns
    DECIDE and REPLY end with Refused 503 when the Party takes longer than the settings allow, or stops.

A token is forgotten when the block of `called` ends. A Take that comes later than that leads to Dropped, a Reply to
nothing. A message comes as a request (server.py), or as the answer to a request that fetches (pull.py).
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from aiohttp import StreamReader

from p2pfl.core.limits import CHUNK_BYTES
from p2pfl.core.party import Buffer, Dropped, Event, Offered, Received, Reply, ReplyToken, Take, Verdict
from p2pfl.errors import Reject
from p2pfl.hosts.body import Gone, read_head, read_into
from p2pfl.hosts.buffers import BufferPool
from p2pfl.hosts.gate import Gate, address_of
from p2pfl.hosts.refusal import Refused
from p2pfl.hosts.settings import HttpSettings
from p2pfl.wire import envelope


@dataclass(slots=True, eq=False)
class Call:
    """One message. `answer` is what the Party says in the present step; `clock` runs while bytes are read; `author` is
    who it is from, once that is proved; `host` is the address that brought it, on a connection that is `known`
    or a stranger's; `written` is called when the answer was
    written, or could not be."""

    token: ReplyToken
    answer: asyncio.Future[Take | Reply]
    clock: asyncio.Timeout | None = None
    author: bytes = b""
    host: str = ""
    known: bool = False
    written: Callable[[], None] | None = None


class Intake:
    """`deliver` hands an event to the Party; `take` and `reply` perform the Party's effects."""

    def __init__(self, deliver: Callable[[Event], None], pool: BufferPool, gate: Gate, settings: HttpSettings) -> None:
        self._deliver = deliver
        self._pool = pool
        self._gate = gate
        self._settings = settings
        self._calls: dict[ReplyToken, Call] = {}
        self._last_token = 0
        self._loop = asyncio.get_running_loop()
        self._idle = asyncio.Event()
        self._idle.set()
        self.strangers: Counter[str] = Counter()
        """Messages whose head is still being read, by address; those on proved connections are not counted."""
        self.is_open = False
        """Whether messages are read: only while the Party lives."""

    def refuse(self) -> None:
        """Ends every wait for the Party and for bytes with 503."""
        self.is_open = False
        for call in self._calls.values():
            if not call.answer.done():
                call.answer.set_result(Reply(call.token, Verdict.BUSY))
            if call.clock is not None:
                call.clock.reschedule(self._loop.time())

    async def answered(self) -> None:
        """Returns once every call has ended. After `refuse` that takes as long as writing answers does."""
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

    # ------------------------------------------------------------------------------------------ one message

    @contextmanager
    def called(self) -> Iterator[Call]:
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

    async def exchange(self, content: StreamReader, length: int | None, call: Call, first: Buffer = b"") -> Reply:
        """Reads the message of `length` bytes in `content` as far as the Party wants it, and returns its answer.
        `first` was read before.

        Raises Refused for what the Party does not hear of.
        """
        raw, head, rest = await self.read_head(content, length, call, first)
        with self.holding(call, head.body_len):
            return await self._decided(content, call, raw, head, rest)

    async def _decided(
        self, content: StreamReader, call: Call, raw: bytes, head: envelope.Head, rest: memoryview
    ) -> Reply:
        self._deliver(Offered(call.token, raw))
        answer = await self.said(call, self._settings.decide_s)
        if isinstance(answer, Take):
            call.author = head.author
            call.answer = self._loop.create_future()
            self._deliver(Received(call.token, await self._body_of_taken(content, call, head, rest)))
            answer = await self.said(call, self._settings.reply_s)
        assert isinstance(answer, Reply)
        if answer.verdict is Verdict.ACCEPT:
            call.author = head.author
        return answer

    @contextmanager
    def holding(self, call: Call, size: int) -> Iterator[None]:
        """Counts the bytes of a body as under way. Raises Refused if they are too many."""
        if not self._gate.hold(call.host, size):
            raise Refused(503, "busy", "too many bytes are under way")
        try:
            yield
        finally:
            self._gate.release(call.host, size)

    async def said(self, call: Call, patience_s: float) -> Take | Reply:
        """What the Party says. Raises Refused if it does not in time."""
        if call.answer.done():  # most are decided at once: spare the clock
            return call.answer.result()
        if not self.is_open:
            raise Refused(503, "closed", "the node is stopping")
        try:
            async with asyncio.timeout(patience_s):
                return await call.answer
        except TimeoutError:
            raise Refused(503, "busy", "no decision in time") from None

    async def read_head(
        self, content: StreamReader, length: int | None, call: Call, first: Buffer = b""
    ) -> tuple[bytes, envelope.Head, memoryview]:
        """The head as bytes and opened, and what came along of the body. Raises Refused."""
        with self._slot(call):
            raw, head, rest = await self._head(content, call, first)
        if length != len(raw) + head.body_len:
            expected = f"Content-Length {len(raw) + head.body_len} for this head"
            raise Refused(400, "length", f"expected {expected}, got {length}")
        return raw, head, rest

    @contextmanager
    def _slot(self, call: Call) -> Iterator[None]:
        """One of the few that strangers of one address have for heads at their beginning. Raises Refused."""
        if call.known:
            yield
            return
        address = address_of(call.host)
        if self.strangers[address] >= self._settings.stranger_slots:
            raise Refused(503, "busy", "too many requests at their beginning")
        self.strangers[address] += 1
        try:
            yield
        finally:
            self.strangers[address] -= 1
            if not self.strangers[address]:
                del self.strangers[address]

    async def _head(self, content: StreamReader, call: Call, first: Buffer) -> tuple[bytes, envelope.Head, memoryview]:
        try:
            async with self._clock(content, self._settings.header_s) as call.clock:
                raw, rest = await read_head(content, first)
            return raw, envelope.open_head(raw), rest
        except Reject as error:
            raise Refused(400, error.code, error.detail) from None
        except (Gone, TimeoutError) as error:
            raise self._unread(error, "head", self._settings.header_s) from None
        finally:
            call.clock = None

    async def read_body(self, content: StreamReader, call: Call, head: envelope.Head, first: Buffer) -> memoryview:
        """The whole body, checked. Raises Refused."""
        view = self._pool.take(head.body_len)
        check = envelope.ChunkCheck(head.chunks)
        at, due = 0, CHUNK_BYTES

        def seen(piece: memoryview) -> None:
            nonlocal at, due
            check.feed(piece)
            at += len(piece)
            if at >= due and call.clock is not None and self.is_open:
                due = at - at % CHUNK_BYTES + CHUNK_BYTES
                call.clock.reschedule(self._loop.time() + self._settings.chunk_s)

        try:
            async with self._clock(content, self._settings.chunk_s) as call.clock:
                await read_into(content, view, seen, first)
                check.finish()
            return view
        except Reject as error:
            raise Refused(400, error.code, error.detail) from None
        except (Gone, TimeoutError) as error:
            raise self._unread(error, "chunk of the body", self._settings.chunk_s) from None
        finally:
            call.clock = None

    async def _body_of_taken(self, content: StreamReader, call: Call, head: envelope.Head, first: Buffer) -> memoryview:
        """Delivers Dropped before it raises Refused."""
        try:
            return await self.read_body(content, call, head, first)
        except Refused as refused:
            self._deliver(Dropped(call.token, f"{refused.code}: {refused.detail}"))
            raise

    def _clock(self, content: StreamReader, seconds: float) -> asyncio.Timeout:
        """Does not run if all has arrived already: a small message then costs no timer."""
        return asyncio.timeout(None if content.is_eof() else seconds)

    def _unread(self, error: Gone | TimeoutError, what: str, seconds: float) -> Refused:
        if isinstance(error, Gone):
            return Refused(400, "incomplete", str(error))
        if not self.is_open:
            return Refused(503, "closed", "the node is stopping")
        return Refused(408, "too-slow", f"expected each {what} within {seconds:g} s")
