"""What waits here for nodes that cannot be reached, until they fetch it. Knows requests and Sends; knows no Party.

Theory of operation
-------------------
A node whose url is "none" keeps requests open at those it talks to (pull.py), one for each path. Such a request (POST
/v1/pull, signed) waits here until the Party sends to that node; its answer is then an id of 16 random bytes and the
message, and the node's reply comes as a request of its own (POST /v1/pulled, signed, with the id). So a Send to it is
one attempt with one outcome, as to any other.

A request is good once: it names a session, which this host gave out, and a number that grows. Whoever records one and
repeats it gets nothing, however long ago it was. The answer to a request of another session is 409 with the session to
use; it takes the place of the one before only when the node itself, by its signature, uses it.

Bounds: only nodes that are listed with url "none" are heard; each has one open request and WAITING_MAX messages for
each path.
"""

import asyncio
import secrets
from collections import deque
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from p2pfl.core.ids import short
from p2pfl.core.limits import CONTROL_BYTES_MAX
from p2pfl.core.party import Answered, Send, SendFailed, Verdict
from p2pfl.core.urls import NOWHERE
from p2pfl.hosts.body import PartsPayload
from p2pfl.hosts.intake import Call, Intake
from p2pfl.hosts.places import Places
from p2pfl.hosts.reach import Reach
from p2pfl.hosts.refusal import Refused, check_headers, headers
from p2pfl.hosts.settings import HttpSettings
from p2pfl.wire.envelope import Head

PULL, PULLED = "pull", "pulled"
PATHS = ("exchange", "gossip")
ID_BYTES = 16
WAITING_MAX = 64
"""Messages that wait for one node on one path. The Party's own bounds are lower."""
FAILED = "failed"
"""The verdict of a node that could not read what it fetched; the body says why."""
SEQ_MAX = (1 << 63) - 1


@dataclass(slots=True, eq=False)
class Delivery:
    """One Send under way."""

    send: Send
    id: bytes
    outcome: asyncio.Future[Answered | SendFailed]


@dataclass(slots=True, eq=False)
class Turnstile:
    """Lets each request of one node on one path through once."""

    session: bytes = b""
    last: int = -1
    offered: bytes = b""

    def admit(self, session: bytes, seq: int) -> None:
        """Raises Refused 409, with the session to use, for what was here before or is of another session."""
        if session and session == self.offered:
            self.session, self.offered, self.last = session, b"", -1
        if session != self.session or not self.session or seq <= self.last:
            self.offered = self.offered or secrets.token_bytes(ID_BYTES)
            raise Refused(409, "session", self.offered.hex())
        self.last = seq


@dataclass(slots=True, eq=False)
class Shelf:
    """For one node on one path."""

    turnstile: Turnstile = field(default_factory=Turnstile)
    waiting: deque[Delivery] = field(default_factory=deque)
    asking: asyncio.Future[Delivery | None] | None = None
    """The open request. A newer one ends it with None."""

    def put(self, delivery: Delivery) -> bool:
        """False if there is no room."""
        if self.asking is not None and not self.asking.done():
            self.asking.set_result(delivery)
        elif len(self.waiting) < WAITING_MAX:
            self.waiting.append(delivery)
        else:
            return False
        return True

    def ask(self) -> asyncio.Future[Delivery | None]:
        """The next delivery, when there is one."""
        if self.asking is not None and not self.asking.done():
            self.asking.set_result(None)
        self.asking = asyncio.get_running_loop().create_future()
        while self.waiting:
            delivery = self.waiting.popleft()
            if not delivery.outcome.done():
                self.asking.set_result(delivery)
                break
        return self.asking

    def back(self, delivery: Delivery) -> None:
        """It was not handed over; it goes first with the next request."""
        if not delivery.outcome.done() and not self.put(delivery):
            delivery.outcome.set_result(SendFailed(delivery.send.key, "it was not handed over"))


class Pickup:
    """`deliver` is the attempt of a Send; `fetch` and `answered` are the two routes."""

    def __init__(self, reach: Reach, places: Places, intake: Intake, settings: HttpSettings) -> None:
        self._reach = reach
        self._places = places
        self._intake = intake
        self._settings = settings
        self._shelves: dict[tuple[bytes, str], Shelf] = {}
        self._under_way: dict[bytes, Delivery] = {}

    async def deliver(self, send: Send) -> Answered | SendFailed:
        """Until the node has fetched and answered it. The caller bounds the time."""
        if self._reach.identity is None:
            return SendFailed(send.key, f"{short(send.to)} has no address")
        delivery = Delivery(send, secrets.token_bytes(ID_BYTES), asyncio.get_running_loop().create_future())
        self._under_way[delivery.id] = delivery
        try:
            if not self._shelf(send.to, send.path).put(delivery):
                return SendFailed(send.key, f"too much waits for {short(send.to)}, which fetches nothing")
            return await delivery.outcome
        finally:
            delivery.outcome.cancel()
            del self._under_way[delivery.id]

    # ------------------------------------------------------------------------------------------ routes

    async def fetch(self, request: web.BaseRequest, call: Call) -> web.StreamResponse:
        """POST /v1/pull: a delivery, or 204 after a while. Raises Refused."""
        check_headers(request)
        _, head, _ = await self._intake.read_head(request.content, request.content_length, call)
        path, session, seq = self._fields(head, PULL)
        if path not in PATHS or not isinstance(session, bytes) or type(seq) is not int or not 0 <= seq <= SEQ_MAX:
            raise Refused(400, "malformed", "expected [to, path, session, number]")
        if head.body_len:
            raise Refused(400, "length", "expected no body")
        shelf = self._shelf(head.author, path)
        shelf.turnstile.admit(session, seq)
        call.author = head.author
        delivery = await self._next(shelf, call)
        if delivery is None:
            return web.Response(status=204, headers=headers(204))
        payload = PartsPayload((delivery.id, *delivery.send.data), self._settings.chunk_s)

        def written() -> None:
            if not payload.whole:
                shelf.back(delivery)

        call.written = written
        return web.Response(status=200, body=payload, headers=headers(200, "application/octet-stream"))

    async def answered(self, request: web.BaseRequest, call: Call) -> web.StreamResponse:
        """POST /v1/pulled: the reply to a delivery. Raises Refused."""
        check_headers(request)
        _, head, first = await self._intake.read_head(request.content, request.content_length, call)
        id, name = self._fields(head, PULLED)
        delivery = self._under_way.get(id) if isinstance(id, bytes) else None
        if delivery is None or delivery.send.to != head.author:
            raise Refused(404, "no-such-delivery", "it came too late, or was answered")
        verdict = next((verdict for verdict in Verdict if verdict.value == name), None)
        if verdict is None and name != FAILED:
            raise Refused(400, "malformed", "expected a verdict")
        limit = delivery.send.reply_limit if verdict is Verdict.ACCEPT else CONTROL_BYTES_MAX
        if head.body_len > limit:
            raise Refused(413, "too-long", f"expected a reply of at most {limit} bytes, got {head.body_len}")
        call.author = head.author
        with self._intake.holding(call, head.body_len):
            body = await self._intake.read_body(request.content, call, head, first)
        if not delivery.outcome.done():
            key = delivery.send.key
            failed = SendFailed(key, f"fetched, and refused: {bytes(body).decode(errors='replace')}")
            delivery.outcome.set_result(failed if verdict is None else Answered(key, verdict, body))
        return web.Response(status=204, headers=headers(204))

    async def _next(self, shelf: Shelf, call: Call) -> Delivery | None:
        """Waits, but not for ever, and not when the host stops."""
        asking = shelf.ask()
        ends: list[asyncio.Future[Any]] = [asking, call.answer]
        await asyncio.wait(ends, timeout=self._settings.fetch_s, return_when=asyncio.FIRST_COMPLETED)
        if asking.done():
            return asking.result()
        asking.set_result(None)
        return None

    def _fields(self, head: Head, kind: str) -> list[Any]:
        """What follows the receiver in a listed node's own request of this kind. Raises Refused."""
        me = self._reach.identity
        if head.kind != kind or head.network != self._reach.network or me is None:
            raise Refused(403, "network", f"expected a {kind} of this network")
        if self._places.url(head.author) != NOWHERE:
            raise Refused(403, "stranger", 'not a node that is listed with url = "none"')
        if len(head.fields) != {PULL: 4, PULLED: 3}[kind] or head.fields[0] != me.node:
            raise Refused(403, "not-for-me", "meant for another node")
        if not head.authentic():
            raise Refused(403, "signature", "not signed by its author")
        return head.fields[1:]

    def _shelf(self, node: bytes, path: str) -> Shelf:
        return self._shelves.setdefault((node, path), Shelf())
