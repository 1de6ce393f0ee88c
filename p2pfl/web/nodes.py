"""Tells a Board what running nodes say of themselves. Knows addresses and GET /v1/status; no file.

Only addresses that the reader named are asked, never one that a node told of another. Nodes that are named by others
and not asked stand on the board as "heard of".
"""

import asyncio
import json
import time
from collections.abc import Callable, Sequence
from typing import Any

import aiohttp

from p2pfl.core.ids import short
from p2pfl.core.limits import CONTROL_BYTES_MAX
from p2pfl.web import plain
from p2pfl.web.board import Board

TIMEOUT_S = 3.0
AT_ONCE = 32
NEIGHBOURS_MAX = 256
MEMBERS_MAX = 4096
CODES_MAX = 64
STATUS_BYTES_MAX = 16 * CONTROL_BYTES_MAX
OVER = ("done", "close", "CLOSE", "DONE")


class Nodes:
    """Nodes by their base addresses. `look` asks all of them; one that was there and does not answer is gone."""

    def __init__(self, urls: Sequence[str], board: Board, now: Callable[[], float] = time.monotonic) -> None:
        self.urls, self.board = [url.rstrip("/") for url in urls], board
        self._now, self._begun = now, now()
        self._names: dict[str, str] = {}
        self._slots = asyncio.Semaphore(AT_ONCE)

    async def look(self, session: aiohttp.ClientSession) -> None:
        """Ask every address once. Never raises for what a node does."""
        await asyncio.gather(*(self._ask(session, url) for url in self.urls))

    async def _ask(self, session: aiohttp.ClientSession, url: str) -> None:
        try:
            async with asyncio.timeout(TIMEOUT_S), self._slots, session.get(f"{url}/v1/status", ssl=False) as reply:
                status = json.loads(await _body(reply))
            if not isinstance(status, dict):
                raise ValueError("expected a status")
        except (aiohttp.ClientError, TimeoutError, ValueError, OSError, RecursionError):
            card = self.board.introduce(self._names.get(url, url))
            if card.state != "done":  # it has said good-bye
                self.board.tell(card.name, state="gone", why=f"{url} does not answer")
            return
        self._take(url, status)

    def _take(self, url: str, status: dict[str, Any]) -> None:
        name = self._name(url, status)
        card, seconds = self.board.introduce(name), self._now() - self._begun
        judged, privacy = _judged(status), plain.table(status.get("privacy"))
        report = plain.table(status.get("report"))
        late = report.get("late")
        fresh = plain.whole(report.get("round")) != card.round
        self.board.tell(
            name,
            state="done" if status.get("phase") in OVER else "training",
            why="",
            seconds=seconds,
            round=status.get("round"),
            rounds=status.get("rounds"),
            round_s=report.get("seconds") or None,
            bytes_sent=status.get("bytes_sent"),
            bytes_received=status.get("bytes_received"),
            budget=privacy.get("budget"),
            releases=privacy.get("releases"),
            planned=privacy.get("planned"),
            refused=sum(plain.whole(value) or 0 for value in plain.table(status.get("refused")).values()),
            late=card.late + len(late) if fresh and isinstance(late, list) else None,
            height=plain.table(status.get("ledger")).get("height"),
        )
        self.board.tell(name, apart=status.get("apart"))
        self.board.tell(name, accuracy=judged.get("accuracy"), loss=judged.get("loss"))
        self._edges(name, status, seconds)
        self._refusals(name, status, report)
        self._members(status)

    def _name(self, url: str, status: dict[str, Any]) -> str:
        """What this node is called on the board. A name that somebody else has is told apart by the key."""
        said = plain.name(status.get("name")) or url
        card = self.board.introduce(said, str(status.get("node", "")))
        if card.state == "heard of" and card.name != said:
            self.board.rename(card.name, said)
        if card.name != url:
            self.board.forget(url)
        self._names[url] = card.name
        return card.name

    def _edges(self, name: str, status: dict[str, Any], seconds: float) -> None:
        for edge in plain.rows(status.get("edges"), NEIGHBOURS_MAX):
            peer = plain.text(edge.get("peer"), 64) or ""
            self.board.introduce(short_name(peer), peer, state="heard of")
            count = plain.whole(edge.get("exchanges")) or 0
            self.board.link(name, peer, count, seconds if count > self.board.exchanges(name, peer) else None)
            self.board.line(name, peer, failed=edge.get("failed_attempts"), epoch=edge.get("epoch"))
        for line in plain.rows(status.get("lines"), NEIGHBOURS_MAX):
            fields = {key: line.get(key) for key in ("latency_ms", "bandwidth_mbps")}
            self.board.line(name, plain.text(line.get("peer"), 64) or "", **fields)

    def _refusals(self, name: str, status: dict[str, Any], report: dict[str, Any]) -> None:
        for code, count in list(plain.table(status.get("refused")).items())[:CODES_MAX]:
            self.board.refusal(name, "anybody", code, plain.whole(count) or 0)
        for peer, why in list(plain.table(status.get("quarantined")).items())[:CODES_MAX]:
            self.board.refusal(name, str(peer), f"quarantined: {plain.table(why).get('code')}", 1)
        for peer, code in list(plain.table(report.get("refused")).items())[:CODES_MAX]:
            self.board.refusal(name, str(peer), f"in its last round: {code}", 1)

    def _members(self, status: dict[str, Any]) -> None:
        for row in plain.rows(plain.table(status.get("membership")).get("members"), MEMBERS_MAX):
            key = plain.text(row.get("node"), 64) or ""
            card = self.board.introduce(short_name(key), key, state="heard of")
            self.board.tell(card.name, member=row.get("state"))


def short_name(key: str) -> str:
    """What a node is called that others name by its key alone."""
    try:
        return short(bytes.fromhex(key))
    except ValueError:
        return key[:8]


async def _body(reply: aiohttp.ClientResponse) -> bytes:
    """All of it, up to the bound; what is longer is not JSON any more."""
    found = bytearray()
    async for piece in reply.content.iter_chunked(1 << 16):
        found += piece
        if len(found) > STATUS_BYTES_MAX:
            raise ValueError("expected a shorter status")
    return bytes(found)


def _judged(status: dict[str, Any]) -> dict[str, Any]:
    said = plain.table(status.get("evaluation"))
    return plain.table(said.get("test") or said.get("validation") or said.get("train"))
