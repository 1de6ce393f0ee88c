"""The dashboard over HTTP: page, stream, ledger, token, nodes that come and go; in a browser, where there is one."""

import asyncio
import json
import re
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from p2pfl.errors import ConfigError
from p2pfl.web.board import Board
from p2pfl.web.nodes import Nodes
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
    found.tell("n0", "training", round=1, accuracy=0.25)
    return found


async def quiet() -> None:
    return


def explore(who: str | None) -> dict[str, Any]:
    if who == "nobody":
        raise ConfigError("no node 'nobody' in this ledger")
    return {"height": 3, "issued": 10, "members": []} if who is None else {"name": who, "windows": []}


def test_the_page_and_all_that_it_names_are_served_from_here() -> None:
    async def check() -> None:
        async with listening(Pages(board(), quiet, explore).app()) as url, aiohttp.ClientSession() as session:
            async with session.get(url) as reply:
                page = await reply.text()
                assert reply.headers["Content-Security-Policy"].startswith("default-src 'none'")
            named = re.findall(r'(?:src|href)="([^"]+)"', page)
            assert len(named) >= 4
            for place in named:
                assert place.startswith("/static/"), "nothing from elsewhere"
                async with session.get(url + place) as reply:
                    assert reply.status == 200, place
            for place in ("/static/../board.py", "/static/none.js", "/etc/passwd"):
                async with session.get(url + place) as reply:
                    assert reply.status == 404
            async with session.post(url + "/api/board") as reply:
                assert reply.status == 405
            async with session.get(url + "/api/ledger/nobody") as reply:
                assert (reply.status, await reply.json()) == (404, {"error": "no node 'nobody' in this ledger"})

    asyncio.run(check())


def test_a_change_reaches_a_page_that_watches() -> None:
    found = board()

    async def look() -> None:
        found.tell("n0", round=found.cards["n0"].round + 1, accuracy=0.5)

    async def check() -> None:
        async with listening(Pages(found, look, None).app()) as url, aiohttp.ClientSession() as session:
            async with session.get(url + "/api/stream") as reply:
                rounds: list[int] = []
                while len(rounds) < 2:
                    line = await asyncio.wait_for(reply.content.readline(), 30)
                    if line.startswith(b"data: "):
                        rounds.append(json.loads(line[6:])["nodes"][0]["round"])
            assert rounds[1] > rounds[0]
            async with session.get(url + "/api/ledger") as reply:
                assert reply.status == 404

    asyncio.run(check())


def test_without_the_token_there_is_nothing_to_see() -> None:
    async def check() -> None:
        app = Pages(board(), quiet, None, token="secret").app()
        async with listening(app) as url, aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as session:
            for place in ("/", "/api/board", "/api/stream", "/static/board.js"):
                async with session.get(url + place) as reply:
                    assert reply.status == 401
            async with session.get(url + "/api/board", headers={"Authorization": "Bearer secret"}) as reply:
                assert reply.status == 200
            async with session.get(url + "/?token=secret") as reply:
                assert reply.status == 200
            async with session.get(url + "/api/board") as reply:  # by the cookie
                assert reply.status == 200

    asyncio.run(check())


def test_nodes_are_asked_and_one_that_does_not_answer_is_gone() -> None:
    status = {
        "name": "n7", "node": "bb" * 32, "phase": "train", "round": 4, "rounds": 9, "bytes_sent": 12,
        "evaluation": {"test": {"accuracy": 0.75, "loss": 0.5}}, "refused": {"late": 2}, "edges": [],
    }  # fmt: skip

    async def answer(request: web.Request) -> web.Response:
        return web.json_response(status)

    async def check() -> None:
        found, app = Board("test"), web.Application()
        app.router.add_get("/v1/status", answer)
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=5)) as session:
            async with listening(app) as url:
                nodes = Nodes([url], found)
                await nodes.look(session)
                card = found.cards["n7"]
                assert (card.state, card.round, card.accuracy, card.refused) == ("training", 4, 0.75, 2)
            await nodes.look(session)
            assert card.state == "gone"
            assert "does not answer" in card.why

    asyncio.run(check())


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("chromium") is None, reason="needs Debian's chromium")
def test_a_browser_draws_a_run_without_an_error(tmp_path: Path) -> None:
    for name in ("n0", "n1"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "summary.json").write_text("{}")
    lines = [{"name": f"n{i}", "round": 5, "rounds": 5, "accuracy": 0.5, "bytes_sent": 1000} for i in range(2)]
    lines[1]["failure"] = "<b>lost</b>"
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    words = [sys.executable, "-m", "p2pfl", "dashboard", str(tmp_path), "--listen", "127.0.0.1:0"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        url = server.stdout.readline().split()[0]
        browser = subprocess.run(
            ["chromium", "--headless=new", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr",
             f"--user-data-dir={tmp_path / 'profile'}", "--timeout=15000", "--dump-dom", url],
            capture_output=True, text=True, check=False, timeout=120,
        )  # fmt: skip
        server.terminate()
    assert "50.0 %" in browser.stdout
    assert "&lt;b&gt;lost&lt;/b&gt;" in browser.stdout, "what nodes say is text"
    assert "CONSOLE" not in browser.stderr, [line for line in browser.stderr.splitlines() if "CONSOLE" in line]
