"""Serves a Board as a page that follows it. Knows HTTP; nothing can be changed through it.

GET /                  the page (static/, nothing from elsewhere)
GET /api/board         everything that is known, as JSON
GET /api/stream        server-sent events: a snapshot when something changed, with the new points only
GET /api/ledger        members, balances and standing, where there is a ledger
GET /api/ledger/NAME   why a node got what it got, window by window

With a token every request must bring it: `?token=` once, then a cookie, or `Authorization: Bearer`.
"""

import asyncio
import hmac
import json
from collections.abc import Awaitable, Callable
from importlib import resources
from typing import Any

from aiohttp import web

from p2pfl.errors import P2PFLError
from p2pfl.web.board import Board

EVERY_S = 1.0
WATCHERS_MAX = 64
COOKIE = "p2pfl-dashboard"
KINDS = {"html": "text/html", "css": "text/css", "js": "text/javascript", "svg": "image/svg+xml"}
POLICY = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:"

Explorer = Callable[[str | None], dict[str, Any]]
"""The ledger: all members, or one by name. Raises P2PFLError."""


class Pages:
    """`look` brings the board up to date; `explore` is None where there is no ledger to read."""

    def __init__(
        self, board: Board, look: Callable[[], Awaitable[None]], explore: Explorer | None, token: str = ""
    ) -> None:
        self.board, self._look, self._explore, self._token = board, look, explore, token
        self._watchers = 0
        self._changed = asyncio.Condition()

    def app(self) -> web.Application:
        app = web.Application(middlewares=[self._guard])
        app.router.add_get("/", self._static)
        app.router.add_get("/static/{name:[a-z]+[.][a-z]+}", self._static)
        app.router.add_get("/api/board", self._snapshot)
        app.router.add_get("/api/stream", self._stream)
        app.router.add_get("/api/ledger", self._ledger)
        app.router.add_get("/api/ledger/{name}", self._ledger)
        app.cleanup_ctx.append(self._following)
        return app

    async def _following(self, app: web.Application) -> Any:
        task = asyncio.create_task(self._follow())
        yield
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    async def _follow(self) -> None:
        while True:
            before = self.board.version
            await self._look()
            if self.board.version != before:
                async with self._changed:
                    self._changed.notify_all()
            await asyncio.sleep(EVERY_S)

    @web.middleware
    async def _guard(self, request: web.Request, handler: Any) -> web.StreamResponse:
        given = request.query.get("token") or request.cookies.get(COOKIE, "")
        given = request.headers.get("Authorization", "").removeprefix("Bearer ") or given
        if self._token and not hmac.compare_digest(given.encode(), self._token.encode()):
            raise web.HTTPUnauthorized(text="expected the dashboard's token: open the address that it printed\n")
        reply: web.StreamResponse = await handler(request)
        if not reply.prepared:
            reply.headers.update({"Content-Security-Policy": POLICY, "X-Content-Type-Options": "nosniff"})
            if self._token and request.query.get("token"):
                reply.set_cookie(COOKIE, self._token, httponly=True, samesite="Strict")
        return reply

    async def _static(self, request: web.Request) -> web.Response:
        name = request.match_info.get("name", "index.html")
        file = resources.files("p2pfl.web") / "static" / name
        if not file.is_file():
            raise web.HTTPNotFound
        kind = KINDS.get(name.rpartition(".")[2], "application/octet-stream")
        return web.Response(body=file.read_bytes(), content_type=kind, charset="utf-8")

    async def _snapshot(self, request: web.Request) -> web.Response:
        return _json(self.board.snapshot())

    async def _stream(self, request: web.Request) -> web.StreamResponse:
        if self._watchers >= WATCHERS_MAX:
            raise web.HTTPServiceUnavailable(text=f"expected at most {WATCHERS_MAX} pages at a time\n")
        reply = web.StreamResponse(headers={"Content-Type": "text/event-stream", "Cache-Control": "no-store"})
        await reply.prepare(request)
        self._watchers += 1
        try:
            known: dict[str, float] = {}
            told = -1
            while True:
                if self.board.version != told:
                    told = self.board.version
                    await reply.write(b"data: " + _packed(self.board.snapshot(known)) + b"\n\n")
                    known = {name: card.history[-1][1] for name, card in self.board.cards.items() if card.history}
                async with self._changed:
                    await self._changed.wait()
        except (ConnectionResetError, asyncio.CancelledError):
            return reply
        finally:
            self._watchers -= 1

    async def _ledger(self, request: web.Request) -> web.Response:
        if self._explore is None:
            return _json({"error": "there is no ledger to read here"}, 404)
        try:
            return _json(await asyncio.to_thread(self._explore, request.match_info.get("name")))
        except P2PFLError as error:
            return _json({"error": str(error)}, 404)


def _packed(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def _json(value: Any, status: int = 200) -> web.Response:
    return web.Response(
        body=_packed(value), status=status, content_type="application/json", headers={"Cache-Control": "no-store"}
    )
