"""Scores on demand: a small route at the label holder, for its own systems only. Knows HTTP and ids; no tensor.

POST /v1/score   {"ids": ["a-17", ...]}   200 {"scores": {"a-17": 0.83}, "unknown": ["..."]}
                                          503 {"error": "..."} while the parties align, or one of them is away
GET  /v1/health                           200 {"ready": true, "rows": 481}

Only row numbers in the common order go to the other parties. The route asks for no password: it listens on loopback
unless told otherwise.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web

from p2pfl.core.party import Emit, TimerFired
from p2pfl.errors import HostError
from p2pfl.hosts.http import HttpHost
from p2pfl.runs.vertical_party import Member
from p2pfl.vertical.scoring.asking import Question

IDS_MAX = 256
"""Ids of one request."""
BODY_BYTES_MAX = 1 << 19
GRACE_S = 5.0


class ScoreRoute:
    """The route of one party. `beside` runs it next to a host."""

    def __init__(self, predictor: Member, listen: tuple[str, int]) -> None:
        self.predictor, self.listen = predictor, listen
        self._rules = predictor.agreement.terms.rules
        self._answers: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._count = 0
        self._places: dict[str, int] | None = None
        self.port = 0

    @asynccontextmanager
    async def beside(self, host: HttpHost) -> AsyncIterator[Callable[[Emit], None]]:
        """Raises HostError if the port is taken."""
        self._host = host
        app = web.Application(client_max_size=BODY_BYTES_MAX)
        app.router.add_post("/v1/score", self._score)
        app.router.add_get("/v1/health", self._health)
        runner = web.AppRunner(app, access_log=None, handle_signals=False, shutdown_timeout=1.0)
        await runner.setup()
        try:
            try:
                await web.TCPSite(runner, *self.listen).start()
            except OSError as error:
                where = f"{self.listen[0]}:{self.listen[1]}"
                raise HostError(f"cannot listen on {where}: {error.strerror}") from None
            self.port = runner.addresses[0][1]
            yield self._emitted
        finally:
            for answer in self._answers.values():
                answer.cancel()
            await runner.cleanup()

    def _emitted(self, emit: Emit) -> None:
        if emit.name == "answered" and "question" in emit.fields:
            answer = self._answers.pop(int(emit.fields["question"] or 0), None)
            if answer is not None and not answer.done():
                answer.set_result(dict(emit.fields))

    @property
    def _rows(self) -> dict[str, int] | None:
        """Place in the common order by id in normal form, once the parties have aligned."""
        rows = self.predictor.rows
        if self._places is None and rows is not None:
            ids = self.predictor.table.take(rows).ids
            self._places = {self._rules.apply(text): place for place, text in enumerate(ids)}
        return self._places

    async def _health(self, request: web.Request) -> web.Response:
        rows = self._rows
        return web.json_response({"ready": rows is not None, "rows": 0 if rows is None else len(rows)})

    async def _score(self, request: web.Request) -> web.Response:
        try:
            ids = _ids(await request.json())
        except (json.JSONDecodeError, UnicodeDecodeError, ValueError) as error:
            return web.json_response({"error": f'expected {{"ids": [...]}}: {error}'}, status=400)
        rows = self._rows
        if rows is None:
            return web.json_response({"error": "the parties are still aligning"}, status=503)
        places = {text: rows.get(self._rules.apply(text)) for text in ids}
        known = {text: place for text, place in places.items() if place is not None}
        unknown = [text for text, place in places.items() if place is None]
        if not known:
            return web.json_response({"scores": {}, "unknown": unknown})
        answer = await self._ask(tuple(known.values()))
        if "scores" not in answer:
            return web.json_response({"error": str(answer.get("error"))}, status=503)
        return web.json_response(
            {"scores": dict(zip(known, json.loads(answer["scores"]), strict=True)), "unknown": unknown}
        )

    async def _ask(self, rows: tuple[int, ...]) -> dict[str, Any]:
        self._count += 1
        number = self._count
        answer: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        self._answers[number] = answer
        limit = 2 * self.predictor.agreement.timeout_s + GRACE_S
        try:
            async with asyncio.timeout(limit):
                self._host.step(TimerFired(Question(number, rows)))
                return await answer
        except TimeoutError:
            return {"error": f"no answer within {limit:g} s"}
        finally:
            self._answers.pop(number, None)


def _ids(body: Any) -> list[str]:
    match body:
        case {"ids": [*ids]} if 0 < len(ids) <= IDS_MAX and all(isinstance(text, str) for text in ids):
            return ids
    raise ValueError(f"1 to {IDS_MAX} ids, each text")
