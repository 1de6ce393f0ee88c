"""Running nodes on the board: what they say, who they name, who is gone, and whatever a hostile one answers."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from hypothesis import given, settings
from hypothesis import strategies as st

from p2pfl.cli.sources import check_sources, urls_of
from p2pfl.errors import ConfigError
from p2pfl.web.board import Board
from p2pfl.web.nodes import Nodes

STATUS: dict[str, Any] = {
    "name": "n7", "node": "bb" * 32, "phase": "train", "round": 4, "rounds": 9, "bytes_sent": 12, "apart": 0.5,
    "evaluation": {"validation": {"accuracy": 0.9, "loss": 0.1}, "test": {"accuracy": 0.75, "loss": 0.5}},
    "refused": {"late": 2}, "edges": [{"peer": "cc" * 32, "exchanges": 3, "failed_attempts": 1}],
    "lines": [{"peer": "cc" * 32, "latency_ms": 1.5, "bandwidth_mbps": None}],
    "report": {"round": 4, "late": ["cccccccc"], "refused": {"cccccccc": "size"}, "seconds": 0.25},
    "privacy": {"budget": 4.0, "releases": 3, "planned": 9}, "ledger": {"height": 6},
    "membership": {"members": [{"node": "cc" * 32, "state": "suspect"}]},
}  # fmt: skip


@asynccontextmanager
async def serving(answer: Callable[[], bytes]) -> AsyncIterator[str]:
    async def status(request: web.Request) -> web.Response:
        return web.Response(body=answer(), content_type="application/json")

    app = web.Application()
    app.router.add_get("/v1/status", status)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


def looked(answers: list[Any], board: Board | None = None) -> Board:
    """A board after one look for each answer."""
    found, left = board or Board("test"), [a if isinstance(a, bytes) else json.dumps(a).encode() for a in answers]

    async def check() -> None:
        async with aiohttp.ClientSession() as session, serving(lambda: left.pop(0)) as url:
            nodes = Nodes([url], found, now=lambda: 10.0)
            while left:
                await nodes.look(session)

    asyncio.run(check())
    return found


def test_what_a_node_says_of_itself() -> None:
    board = looked([STATUS])
    card = board.cards["n7"]
    assert (card.state, card.round, card.accuracy, card.loss, card.apart) == ("training", 4, 0.75, 0.5, 0.5)
    assert (card.refused, card.late, card.height, card.round_s) == (2, 1, 6, 0.25)
    assert (card.budget, card.releases, card.planned) == (4.0, 3, 9)


def test_a_neighbour_that_is_only_named_is_heard_of() -> None:
    board = looked([STATUS])
    other = board.cards["cccccccc"]
    assert (other.state, other.member) == ("heard of", "suspect")
    detail = board.detail("n7")
    assert detail is not None
    (line,) = detail["neighbours"]
    assert (line["name"], line["exchanges"], line["latency_ms"], line["failed"]) == ("cccccccc", 3, 1.5, 1.0)
    assert {"by": "n7", "of": "cccccccc", "why": "in its last round: size", "times": 1} in board.refusals()


def test_a_round_s_late_ones_are_counted_once() -> None:
    later = STATUS | {"round": 5, "report": STATUS["report"] | {"round": 5}}
    assert looked([STATUS, STATUS, later]).cards["n7"].late == 2


def test_a_node_that_does_not_answer_is_gone_and_one_that_said_good_bye_is_done() -> None:
    async def check(status: dict[str, Any]) -> str:
        found = Board("test")
        async with aiohttp.ClientSession() as session:
            async with serving(lambda: json.dumps(status).encode()) as url:
                nodes = Nodes([url], found)
                await nodes.look(session)
            await nodes.look(session)
        return found.cards["n7"].state

    assert asyncio.run(check(STATUS)) == "gone"
    assert asyncio.run(check(STATUS | {"phase": "done"})) == "done"


def test_an_address_that_never_answered_is_told_by_its_address() -> None:
    async def check() -> Board:
        found = Board("test")
        async with aiohttp.ClientSession() as session:
            await Nodes(["http://127.0.0.1:1"], found).look(session)
        return found

    (card,) = asyncio.run(check()).cards.values()
    assert (card.name, card.state) == ("http://127.0.0.1:1", "gone")


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=80),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@given(more=st.dictionaries(st.sampled_from(sorted(STATUS)), ANYTHING, max_size=6))
@settings(max_examples=60)
def test_whatever_a_node_answers_the_board_can_be_told_to_a_page(more: dict[str, Any]) -> None:
    board = Board("test")
    nodes = Nodes([], board, now=lambda: 1.0)
    nodes._take("http://a", json.loads(json.dumps(STATUS | more)))
    json.dumps(board.snapshot(), allow_nan=False)
    json.dumps([board.detail(name) for name in board.cards], allow_nan=False)


@pytest.mark.parametrize(
    "answer", [b"[]", b"not json", b"[" * 100_000, b'{"name": "x"' + b" " * (2 << 20) + b"}", b"\xff\xfe"]
)
def test_what_is_no_status_is_no_answer(answer: bytes) -> None:
    (card,) = looked([answer]).cards.values()
    assert card.state == "gone"


def test_only_addresses_that_the_reader_named_are_asked() -> None:
    named = STATUS | {"membership": {"members": [{"node": "dd" * 32, "state": "alive", "url": "http://10.0.0.1:1"}]}}
    board = looked([named])
    assert board.cards["dddddddd"].state == "heard of"


# ------------------------------------------------------------------------------------------------ sources


def test_addresses_and_documents_with_addresses(tmp_path: Path) -> None:
    entries = "".join(
        f'[[nodes]]\nname = "n{i}"\nkey = "{i:02x}{"11" * 31}"\nurl = "http://127.0.0.1:90{i:02}"\n' for i in range(2)
    )
    (tmp_path / "network.toml").write_text("format = 1\n" + entries)
    document = str(tmp_path / "network.toml")
    assert urls_of([document, "http://127.0.0.1:9000/"]) == ["http://127.0.0.1:9000", "http://127.0.0.1:9001"]
    assert urls_of([str(tmp_path)]) == []
    check_sources([document, "http://a:1"])
    for wrong in ([str(tmp_path), "http://a:1"], ["one", "two"]):
        with pytest.raises(ConfigError, match="expected addresses of nodes, or one folder of a run"):
            check_sources(wrong)
