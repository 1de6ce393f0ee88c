"""Tells a Board what running nodes say of themselves. Knows addresses and GET /v1/status; no file."""

import asyncio
import json
from collections.abc import Sequence
from typing import Any

import aiohttp

from p2pfl.core.limits import CONTROL_BYTES_MAX
from p2pfl.web.board import Board

TIMEOUT_S = 3.0
AT_ONCE = 32
STATUS_BYTES_MAX = 16 * CONTROL_BYTES_MAX


class Nodes:
    """Nodes by their base addresses. `look` asks all of them; one that was there and does not answer is gone."""

    def __init__(self, urls: Sequence[str], board: Board) -> None:
        self.urls, self.board = [url.rstrip("/") for url in urls], board
        self._names: dict[str, str] = {}
        self._slots = asyncio.Semaphore(AT_ONCE)

    async def look(self, session: aiohttp.ClientSession) -> None:
        await asyncio.gather(*(self._ask(session, url) for url in self.urls))

    async def _ask(self, session: aiohttp.ClientSession, url: str) -> None:
        try:
            async with self._slots, session.get(f"{url}/v1/status", ssl=False) as reply:
                status = json.loads(await reply.content.read(STATUS_BYTES_MAX))
            if not isinstance(status, dict):
                raise ValueError("expected a status")
        except (aiohttp.ClientError, TimeoutError, ValueError, OSError):
            self.board.tell(self._names.get(url, url), "gone", why=f"{url} does not answer")
            return
        self._take(url, status)

    def _take(self, url: str, status: dict[str, Any]) -> None:
        name = self._names[url] = str(status.get("name", url))
        self.board.introduce(name, str(status.get("node", "")))
        self.board.cards.pop(url, None)
        judged = status.get("evaluation") or {}
        judged = judged.get("test") or judged.get("validation") or judged
        privacy = status.get("privacy") or {}
        refused = status.get("refused") or {}
        done = status.get("phase") in ("done", "close", "CLOSE", "DONE")
        self.board.tell(
            name,
            "done" if done else "training",
            why="",
            round=status.get("round"),
            rounds=status.get("rounds"),
            accuracy=judged.get("accuracy") if isinstance(judged, dict) else None,
            loss=judged.get("loss") if isinstance(judged, dict) else None,
            bytes_sent=status.get("bytes_sent"),
            bytes_received=status.get("bytes_received"),
            epsilon=privacy.get("epsilon") if isinstance(privacy, dict) else None,
            refused=sum(value for value in refused.values() if isinstance(value, int)),
        )
        for edge in status.get("edges") or []:
            self.board.link(name, str(edge.get("peer", "")), int(edge.get("exchanges", 0)))
        report = status.get("report") or {}
        if isinstance(report, dict):
            self.board.met(name, str(report.get("mixed") or "").split())
