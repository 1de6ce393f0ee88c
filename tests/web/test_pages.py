"""The dashboard over HTTP: page, stream, ledger, token; who may read it, and what it does while nobody does."""

import asyncio
import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from p2pfl.errors import ConfigError
from p2pfl.web.board import Board
from p2pfl.web.server import Pages


@asynccontextmanager
async def listening(app: web.Application) -> AsyncIterator[str]:
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


def board() -> Board:
    found = Board("test")
    found.introduce("n0", "aa" * 32)
    found.tell("n0", state="training", round=1, accuracy=0.25)
    return found


async def quiet() -> None:
    return


def explore(what: str, which: str) -> dict[str, Any]:
    if which == "nobody":
        raise ConfigError("no node 'nobody' in this ledger")
    return {"height": 3, "what": what, "which": which}


async def named(session: aiohttp.ClientSession, url: str, place: str) -> set[str]:
    """The places that a file of the page names: sources, links, imports."""
    async with session.get(url + place) as reply:
        assert reply.status == 200, place
        text = await reply.text()
    return set(re.findall(r'(?:src=|rel="[a-z]+" href=|from )"([^"]+)"', text))


def test_the_page_and_all_that_it_names_are_served_from_here() -> None:
    async def check() -> None:
        async with listening(Pages(board(), quiet, explore).app()) as url, aiohttp.ClientSession() as session:
            async with session.get(url) as reply:
                assert reply.headers["Content-Security-Policy"].startswith("default-src 'none'")
                page = await reply.text()
                assert "http:" not in page
                assert "https:" not in page
            todo, done = {"/"}, set[str]()
            while todo:
                place = todo.pop()
                done.add(place)
                todo |= await named(session, url, place) - done
            assert len(done) >= 10
            assert all(place == "/" or place.startswith("/static/") for place in done), "nothing from elsewhere"
            for place in ("/static/../board.py", "/static/none.js", "/etc/passwd"):
                async with session.get(url + place) as reply:
                    assert reply.status == 404

    asyncio.run(check())


def test_nothing_can_be_changed() -> None:
    async def check() -> None:
        app = Pages(board(), quiet, explore).app()
        methods = {route.method for route in app.router.routes()}
        assert methods == {"GET", "HEAD"}
        async with listening(app) as url, aiohttp.ClientSession() as session:
            for method in ("POST", "PUT", "DELETE"):
                async with session.request(method, url + "/api/board") as reply:
                    assert reply.status == 405

    asyncio.run(check())


@pytest.mark.parametrize(
    ("place", "asked"),
    [("", ("", "")), ("/node/n1", ("node", "n1")), ("/receipts", ("receipts", "")), ("/node/a%2Fb", ("node", "a/b"))],
)
def test_the_ledger_s_pieces(place: str, asked: tuple[str, str]) -> None:
    async def check() -> None:
        async with listening(Pages(board(), quiet, explore).app()) as url, aiohttp.ClientSession() as session:
            async with session.get(aiohttp.client.URL(url + "/api/ledger" + place, encoded=True)) as reply:
                found = await reply.json()
                assert (found["what"], found["which"]) == asked
            async with session.get(url + "/api/ledger/node/nobody") as reply:
                assert await reply.json() == {"error": "no node 'nobody' in this ledger"}
        without = Pages(board(), quiet, None).app()
        async with listening(without) as url, aiohttp.request("GET", url + "/api/ledger") as reply:
            assert await reply.json() == {"error": "there is no ledger to read here"}

    asyncio.run(check())


async def told(reply: aiohttp.ClientResponse) -> dict[str, Any]:
    while True:
        line = await asyncio.wait_for(reply.content.readline(), 30)
        if line.startswith(b"data: "):
            found: dict[str, Any] = json.loads(line[6:])
            return found


def test_a_change_reaches_a_page_that_watches_and_nothing_else_does() -> None:
    found = board()
    found.introduce("n1", "bb" * 32)

    async def look() -> None:
        found.tell("n0", round=found.cards["n0"].round + 1, accuracy=0.5)

    async def check() -> None:
        app = Pages(found, look, None).app()
        async with listening(app) as url, aiohttp.request("GET", url + "/api/stream") as reply:
            first, second = await told(reply), await told(reply)
        assert first["whole"]
        assert [node["name"] for node in first["nodes"]] == ["n0", "n1"]
        assert [node["name"] for node in second["nodes"]] == ["n0"]
        assert second["nodes"][0]["round"] > first["nodes"][0]["round"]

    asyncio.run(check())


def test_while_nobody_watches_nobody_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("p2pfl.web.server.EVERY_S", 0.05)
    monkeypatch.setattr("p2pfl.web.server.BEAT_S", 0.2)
    looks = 0

    async def look() -> None:
        nonlocal looks
        looks += 1

    async def check() -> None:
        pages = Pages(board(), look, None, always=False)
        async with listening(pages.app()) as url, aiohttp.ClientSession() as session:
            assert looks == 0
            async with session.get(url + "/api/board") as reply:
                assert (await reply.json())["nodes"]
            assert looks == 1, "once for that answer"
            async with session.get(url + "/api/stream") as reply:
                await told(reply)
            assert looks >= 2

    asyncio.run(check())


def test_one_node_and_who_refused_whom() -> None:
    found = board()
    found.introduce("n1", "bb" * 32)
    found.link("n0", "n1", 4, 2.0)
    found.refusal("n0", "n1", "late")

    async def check() -> None:
        async with listening(Pages(found, quiet, None).app()) as url, aiohttp.ClientSession() as session:
            async with session.get(url + "/api/node/n0") as reply:
                detail = await reply.json()
            assert detail["neighbours"] == [{"name": "n1", "exchanges": 4, "met": 2.0}]
            row = {"by": "n0", "of": "n1", "why": "late", "times": 1}
            assert detail["refusals"] == [row]
            async with session.get(url + "/api/refusals") as reply:
                assert await reply.json() == {"refusals": [row]}
            async with session.get(url + "/api/node/zed") as reply:
                assert await reply.json() == {"error": "no node of this name"}

    asyncio.run(check())


def test_without_the_token_there_is_nothing_to_see() -> None:
    async def check() -> None:
        app = Pages(board(), quiet, explore, token="secret").app()
        async with listening(app) as url, aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as session:
            for place in ("/", "/api/board", "/api/stream", "/static/main.js", "/api/ledger", "/api/node/n0"):
                for more in ({}, {"Authorization": "Bearer secre"}, {"Authorization": "Bearer \u00ff"}):
                    async with session.get(url + place, headers=more) as reply:
                        assert reply.status == 401
            async with session.get(url + "/api/board", headers={"Authorization": "Bearer secret"}) as reply:
                assert reply.status == 200
            async with session.get(url + "/?token=secret") as reply:
                assert reply.status == 200
            async with session.get(url + "/api/board") as reply:  # by the cookie
                assert reply.status == 200

    asyncio.run(check())


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8090", "127.evil.example"])
def test_without_a_token_another_name_for_this_machine_is_refused(host: str) -> None:
    """DNS rebinding: a page of evil.example, which it lets point here, must not read this one."""

    async def check() -> None:
        async with listening(Pages(board(), quiet, None).app()) as url, aiohttp.ClientSession() as session:
            async with session.get(url + "/api/board", headers={"Host": host}) as reply:
                assert reply.status == 403
            for ours in ("localhost:8090", "127.0.0.1", "[::1]:8090"):
                async with session.get(url + "/api/board", headers={"Host": ours}) as reply:
                    assert reply.status == 200

    asyncio.run(check())
