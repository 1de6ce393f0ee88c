"""Serves a Board as pages that follow it. Knows HTTP; nothing can be changed through it.

GET /                       the page (static/, nothing from elsewhere)
GET /api/board              everything that is known, as JSON
GET /api/stream             server-sent events: everything once, then what has changed
GET /api/node/NAME          one node: its neighbours, who refused whom
GET /api/refusals           who refused whom, for what, how often
GET /api/ledger[/WHAT[/WHICH]]  the ledger, where there is one (explorer.py)

What is not there is {"error": ".."} with status 200: a page that asks is not at fault, and its console stays clean.

With a token every request must bring it: `?token=` once, then a cookie, or `Authorization: Bearer`.
"""

import asyncio
import hmac
import json
import re
from collections.abc import Awaitable, Callable
from importlib import resources
from typing import Any

from aiohttp import web

from p2pfl.errors import P2PFLError
from p2pfl.runs.pages import is_loopback
from p2pfl.web.board import Board

EVERY_S = 1.0
BEAT_S = 15.0
"""A stream on which nothing happens says so: who is gone is noticed, and proxies keep it open."""
WATCHERS_MAX = 64
COOKIE = "p2pfl-dashboard"
KINDS = {"html": "text/html", "css": "text/css", "js": "text/javascript", "svg": "image/svg+xml"}
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
}

Explorer = Callable[[str, str], dict[str, Any]]
"""A piece of the ledger: what, and which. On a thread of its own, one call at a time. Raises P2PFLError."""


class Pages:
    """`look` brings the board up to date; `explore` is None where there is no ledger to read.

    With `always` the board is kept up to date also while nobody watches: what is not looked at then would be lost.
    """

    def __init__(
        self,
        board: Board,
        look: Callable[[], Awaitable[None]],
        explore: Explorer | None,
        token: str = "",
        *,
        always: bool = True,
    ) -> None:
        self.board, self._look, self._explore, self._token = board, look, explore, token
        self._always, self._watchers = always, 0
        self._changed = asyncio.Condition()
        self._looking, self._exploring = asyncio.Lock(), asyncio.Lock()

    def app(self) -> web.Application:
        app = web.Application(middlewares=[self._guard])
        app.router.add_get("/", self._static)
        app.router.add_get("/static/{name:[a-z]+[.][a-z]+}", self._static)
        app.router.add_get("/api/board", self._snapshot)
        app.router.add_get("/api/stream", self._stream)
        app.router.add_get("/api/node/{name}", self._node)
        app.router.add_get("/api/refusals", self._refusals)
        for path in ("", "/{what}", "/{what}/{which}"):
            app.router.add_get(f"/api/ledger{path}", self._ledger)
        app.cleanup_ctx.append(self._following)
        return app

    # ------------------------------------------------------------------------------------------ following

    async def _following(self, app: web.Application) -> Any:
        task = asyncio.create_task(self._follow())
        yield
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    async def _follow(self) -> None:
        while True:
            if self._always or self._watchers:
                await self._look_once()
            await asyncio.sleep(EVERY_S)

    async def _look_once(self) -> None:
        async with self._looking:
            before = self.board.version
            await self._look()
        if self.board.version != before:
            async with self._changed:
                self._changed.notify_all()

    # ------------------------------------------------------------------------------------------ who may see it

    @web.middleware
    async def _guard(self, request: web.Request, handler: Any) -> web.StreamResponse:
        given = request.query.get("token") or request.cookies.get(COOKIE, "")
        given = request.headers.get("Authorization", "").removeprefix("Bearer ") or given
        if self._token and not hmac.compare_digest(given.encode("utf-8", "replace"), self._token.encode()):
            raise web.HTTPUnauthorized(text="expected the dashboard's token: open the address that it printed\n")
        if not self._token and not _is_here(request.host):
            raise web.HTTPForbidden(text="expected to be opened at a loopback address\n")  # DNS rebinding
        reply: web.StreamResponse = await handler(request)
        if not reply.prepared:
            reply.headers.update(HEADERS)
            if self._token and request.query.get("token"):
                reply.set_cookie(COOKIE, self._token, httponly=True, samesite="Strict")
        return reply

    # ------------------------------------------------------------------------------------------ pages

    async def _static(self, request: web.Request) -> web.Response:
        name = request.match_info.get("name", "index.html")
        file = resources.files("p2pfl.web") / "static" / name
        if not file.is_file():
            raise web.HTTPNotFound
        kind = KINDS.get(name.rpartition(".")[2], "application/octet-stream")
        body, fresh = file.read_bytes(), {"Cache-Control": "no-cache"}
        return web.Response(body=body, content_type=kind, charset="utf-8", headers=fresh)

    async def _snapshot(self, request: web.Request) -> web.Response:
        await self._caught_up()
        return _json(self.board.snapshot())

    async def _node(self, request: web.Request) -> web.Response:
        await self._caught_up()
        found = self.board.detail(request.match_info["name"])
        return _json({"error": "no node of this name"} if found is None else found)

    async def _refusals(self, request: web.Request) -> web.Response:
        await self._caught_up()
        return _json({"refusals": self.board.refusals()})

    async def _caught_up(self) -> None:
        """Nobody watches, so nobody has looked."""
        if not self._always and not self._watchers:
            await self._look_once()

    async def _stream(self, request: web.Request) -> web.StreamResponse:
        if self._watchers >= WATCHERS_MAX:
            raise web.HTTPServiceUnavailable(text=f"expected at most {WATCHERS_MAX} pages at a time\n")
        reply = web.StreamResponse(headers={"Content-Type": "text/event-stream", "Cache-Control": "no-store"})
        reply.headers.update(HEADERS)
        await reply.prepare(request)
        await self._caught_up()
        self._watchers += 1
        try:
            told = 0
            while True:
                if self.board.version != told or not told:
                    news = self.board.snapshot(told)
                    told = news["version"]
                    await reply.write(b"data: " + _packed(news) + b"\n\n")
                await self._beat(reply, told)
        except (ConnectionError, asyncio.CancelledError):
            return reply
        finally:
            self._watchers -= 1

    async def _beat(self, reply: web.StreamResponse, told: int) -> None:
        """Until something has changed; a comment now and then."""
        while self.board.version == told:
            try:
                async with asyncio.timeout(BEAT_S), self._changed:
                    await self._changed.wait_for(lambda: self.board.version != told)
            except TimeoutError:
                await reply.write(b": still here\n\n")

    async def _ledger(self, request: web.Request) -> web.Response:
        if self._explore is None:
            return _json({"error": "there is no ledger to read here"})
        what, which = request.match_info.get("what", ""), request.match_info.get("which", "")
        try:
            async with self._exploring:
                found = await asyncio.to_thread(self._explore, what, which)
        except P2PFLError as error:
            return _json({"error": str(error)})
        reply = _json(found)
        if what == "proof":
            reply.headers["Content-Disposition"] = 'attachment; filename="proof.json"'
        return reply


def _is_here(host: str) -> bool:
    """A Host header of this machine: without a token a page of another name must not read this one."""
    name = host.rpartition(":")[0] if re.search(r"(^[^:]*|\]):\d*$", host) else host
    return name == "localhost" or is_loopback(name.strip("[]"))


def _packed(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def _json(value: Any) -> web.Response:
    return web.Response(body=_packed(value), content_type="application/json", headers={"Cache-Control": "no-store"})
