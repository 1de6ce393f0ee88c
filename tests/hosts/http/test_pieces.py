"""Pieces of what a node keeps, read beside it: by name, a few at a time, and never a reason to stop."""

import json
import threading
from typing import Any

import pytest

from p2pfl.errors import HostError
from p2pfl.hosts.server import PIECE_CHARS_MAX


def read(name: str) -> bytes | None:
    if name == "broken":
        raise HostError("cannot read: it is damaged")
    return {"tip": b"here", "state": b""}.get(name)


@pytest.mark.parametrize(
    ("path", "method", "wanted"),
    [
        ("tip", "GET", (200, b"here")),
        ("state", "GET", (200, b"")),
        ("nothing", "GET", (404, "no-such-piece")),
        ("../../secret", "GET", (404, "no-such-piece")),
        ("x" * (PIECE_CHARS_MAX + 1), "GET", (404, "no-such-piece")),
        ("tip", "POST", (405, "method")),
        ("broken", "GET", (500, "unreadable")),
    ],
)
def test_a_piece_is_what_the_reader_says(kit: Any, path: str, method: str, wanted: tuple[int, Any]) -> None:
    async def main() -> None:
        async with kit.living(kit.Toy(), read=read) as host:
            status, _, body = await kit.raw(host.port, kit.request(b"", path=f"/v1/ledger/{path}", method=method))
        assert status == wanted[0]
        assert (body if status == 200 else json.loads(body)["code"]) == wanted[1]

    kit.play(main)


def test_without_a_reader_there_is_no_such_path(kit: Any) -> None:
    async def main() -> None:
        async with kit.living(kit.Toy()) as host:
            status, _, body = await kit.raw(host.port, kit.request(b"", path="/v1/ledger/tip", method="GET"))
        assert (status, json.loads(body)["code"]) == (404, "no-such-path")

    kit.play(main)


def test_one_reader_more_than_there_is_room_for_is_refused(kit: Any) -> None:
    gate, inside = threading.Event(), threading.Event()

    def slow(name: str) -> bytes:
        inside.set()
        assert gate.wait(30.0)
        return b"late"

    async def main() -> None:
        import asyncio

        async with kit.living(kit.Toy(), read=slow, readers=1) as host:
            ask = kit.request(b"", path="/v1/ledger/tip", method="GET")
            first = asyncio.create_task(kit.raw(host.port, ask))
            await asyncio.to_thread(inside.wait, 30.0)
            status, headers, _ = await kit.raw(host.port, ask)
            assert status == 503
            assert "retry-after" in headers
            gate.set()
            assert (await first)[2] == b"late"

    kit.play(main)
