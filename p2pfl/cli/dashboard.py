"""`p2pfl dashboard`: a page that follows a network, from its nodes or from a run's folder. Reads only."""

import secrets
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from p2pfl.errors import ConfigError, HostError, P2PFLError

if TYPE_CHECKING:
    from p2pfl.web.server import Explorer

LOOPBACK = ("127.", "localhost", "::1", "[::1]")


@click.command()
@click.argument("sources", metavar="URL...|RUN", nargs=-1, required=True)
@click.option("--listen", default="127.0.0.1:8090", show_default=True, help="Where the page is served.")
@click.option("--token", help="Ask for this; made up if the page is served beyond this machine.")
def dashboard(sources: tuple[str, ...], listen: str, token: str | None) -> int:
    """Look at a network in a browser, live, until Ctrl-C.

    URLs are base addresses of running nodes, like http://127.0.0.1:9001. RUN is the folder of a demo, a node or a
    simulation, also while it runs. The page shows who exchanges with whom, accuracy, loss and bytes, and the ledger
    with the reasons of every payout. Nothing can be changed through it.
    """
    from p2pfl.config.schema import parse_listen

    host, _, port = parse_listen(listen).rpartition(":")
    if not host.startswith(LOOPBACK) and token is None:
        token = secrets.token_urlsafe(16)
    try:
        import asyncio

        asyncio.run(_serve(sources, host.strip("[]"), int(port), token or ""))
    except KeyboardInterrupt:
        return 0
    except OSError as error:
        raise HostError(f"cannot listen on {listen}: {error.strerror or error}; choose another with --listen") from None
    return 0


async def _serve(sources: tuple[str, ...], host: str, port: int, token: str) -> None:
    import asyncio

    import aiohttp
    from aiohttp import web

    from p2pfl.web.board import Board
    from p2pfl.web.server import Pages

    board = Board(", ".join(sources[:3]) + (f" and {len(sources) - 3} more" if len(sources) > 3 else ""))
    timeout = aiohttp.ClientTimeout(total=3.0)
    async with aiohttp.ClientSession(timeout=timeout) as session:
        look, ledger = _reader(sources, board, session)
        await look()
        runner = web.AppRunner(Pages(board, look, ledger, token).app(), access_log=None)
        await runner.setup()
        site = web.TCPSite(runner, host, port)
        await site.start()
        shown = f"http://{'[' + host + ']' if ':' in host else host}:{runner.addresses[0][1]}/"
        click.echo(f"{shown}{'?token=' + token if token else ''}  (Ctrl-C ends it)")
        try:
            await asyncio.Event().wait()
        finally:
            await runner.cleanup()


def _reader(sources: tuple[str, ...], board: Any, session: Any) -> tuple[Callable[[], Awaitable[None]], "Explorer"]:
    """How to bring the board up to date, and the ledger. Raises ConfigError."""
    import asyncio

    urls = [source for source in sources if source.startswith(("http://", "https://"))]
    if len(urls) == len(sources):
        from p2pfl.web.nodes import Nodes

        nodes = Nodes(urls, board)
        return lambda: nodes.look(session), lambda who: _ledger(urls, who)
    if urls or len(sources) > 1:
        raise ConfigError(f"expected addresses of nodes, or one folder of a run, got {', '.join(sources)[:100]}")
    from p2pfl.web.folders import Folder

    folder = Folder(Path(sources[0]), board)
    return lambda: asyncio.to_thread(folder.look), lambda who: _ledger([sources[0]], who)


def _ledger(sources: list[str], who: str | None) -> dict[str, Any]:
    """All members of the first source that has a ledger, or one member's windows. Raises P2PFLError."""
    from p2pfl.cli.ledger_books import read_ledger

    problem: P2PFLError = ConfigError("there is no ledger")
    for source in sources:
        try:
            with read_ledger(source) as ledger:
                return _members(ledger) if who is None else _member(ledger, who)
        except P2PFLError as error:
            problem = error
    raise problem


def _members(ledger: Any) -> dict[str, Any]:
    from p2pfl.cli.ledger_state import people
    from p2pfl.ledger.check.explain import standing
    from p2pfl.ledger.outcome.stake import held

    state, needed = ledger.view.state(), ledger.view.genesis.sponsors
    members = [
        {
            "name": ledger.name(key),
            "key": key.hex(),
            "balance": state.number("balance", key),
            "stake": held(state, key),
            "standing": standing(state, key, needed),
        }
        for key in people(state)
    ]
    return {"height": ledger.view.height, "issued": state.number("issued"), "members": members}


def _member(ledger: Any, who: str) -> dict[str, Any]:
    from p2pfl.ledger.check.explain import explain, standing

    key = ledger.key(who)
    state, last = ledger.view.state(), explain(ledger.view, key)
    numbers = range(max(0, last.window - 9), last.window)
    found = [*(explain(ledger.view, key, number) for number in numbers), last]
    return {
        "name": ledger.name(key),
        "balance": state.number("balance", key),
        "standing": standing(state, key, ledger.view.genesis.sponsors),
        "windows": [
            {
                "window": e.window, "heights": [e.first_height, e.last_height], "closed": e.closed,
                "supply": e.supply, "credits": e.credits, "because": list(e.lines),
            }
            for e in found
        ],
    }  # fmt: skip
