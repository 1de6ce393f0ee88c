"""`p2pfl dashboard`: a page that follows nodes or a run, served from here until Ctrl-C."""

import secrets
from collections.abc import Sequence

import click

from p2pfl.cli.sources import check_sources, looker, title_of, urls_of
from p2pfl.errors import HostError

LOOPBACK = ("127.", "localhost", "::1", "[::1]")


@click.command()
@click.argument("sources", metavar="URL...|RUN", nargs=-1, required=True)
@click.option("--listen", default="127.0.0.1:8090", show_default=True, help="Where the page is served.")
@click.option("--token", help="Ask for this; made up if the page is served beyond this machine.")
def dashboard(sources: tuple[str, ...], listen: str, token: str | None) -> int:
    """Look at a network in a browser, live, until Ctrl-C.

    URLs are base addresses of running nodes, like http://127.0.0.1:9001, or a network.toml for all nodes in it. RUN is
    the folder of a demo, a node or a simulation, also while it runs. The page shows who exchanges with whom, accuracy,
    loss, bytes and how far apart the models are, and the ledger with the reasons and proofs of every payout. Nothing
    can be changed through it.
    """
    import asyncio

    from p2pfl.config.schema import parse_listen

    check_sources(sources)
    host, _, port = parse_listen(listen).rpartition(":")
    if not host.startswith(LOOPBACK):
        token = token or secrets.token_urlsafe(16)
    try:
        asyncio.run(_serve(sources, host.strip("[]"), int(port), token or ""))
    except KeyboardInterrupt:
        return 0
    except OSError as error:
        raise HostError(f"cannot listen on {listen}: {error.strerror or error}; choose another with --listen") from None
    return 0


async def _serve(sources: Sequence[str], host: str, port: int, token: str) -> None:
    import asyncio

    import aiohttp
    from aiohttp import web

    from p2pfl.cli.dashboard_ledger import make_explorer, names_of
    from p2pfl.web.board import Board
    from p2pfl.web.server import Pages

    board = Board(title_of(sources))
    async with aiohttp.ClientSession() as session:
        look, explore = looker(sources, board, session), make_explorer(urls_of(sources) or sources, names_of(board))
        await look()
        runner = web.AppRunner(Pages(board, look, explore, token).app(), access_log=None)
        await runner.setup()
        site = web.TCPSite(runner, host, port)
        await site.start()
        shown = f"http://{'[' + host + ']' if ':' in host else host}:{runner.addresses[0][1]}/"
        click.echo(f"{shown}{'?token=' + token if token else ''}  (Ctrl-C ends it)")
        try:
            await asyncio.Event().wait()
        finally:
            await runner.cleanup()
