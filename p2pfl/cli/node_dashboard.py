"""A node's own dashboard, beside the node: off, on loopback, or with a token. Reads the run's folder; changes nothing.

It costs nothing while nobody watches. Who watches sees this node from its own files, and its neighbours as they answer:
their addresses are those of this machine's document, never what somebody else named. Of a small network all nodes are
asked.
"""

import os
import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

from p2pfl.config import NodeConfig
from p2pfl.core.urls import shown
from p2pfl.errors import HostError
from p2pfl.runs.pages import is_loopback

if TYPE_CHECKING:
    from aiohttp import web

    from p2pfl.web.board import Board

TOKEN = "dashboard.token"
ASKED_MAX = 64
"""Other nodes that are asked: all of a network of so many, else this node's neighbours."""


def served_by(config: NodeConfig, say: Callable[[str], None]) -> Callable[[], AbstractAsyncContextManager[None]]:
    """For `run_node`: serves while the node runs. `say` is told where."""
    if config.dashboard == "off":
        return nullcontext
    return lambda: _serving(config, say)


@asynccontextmanager
async def _serving(config: NodeConfig, say: Callable[[str], None]) -> AsyncIterator[None]:
    """Raises HostError if it cannot listen."""
    import aiohttp
    from aiohttp import web

    from p2pfl.cli.dashboard_ledger import make_explorer, names_of
    from p2pfl.web.board import Board
    from p2pfl.web.folders import Folder
    from p2pfl.web.nodes import Nodes
    from p2pfl.web.server import Pages

    host, _, port = config.dashboard.rpartition(":")
    host = host.strip("[]")
    token = "" if host == "localhost" or is_loopback(host) else token_in(config.out)
    board = Board(f"{config.name} of {config.network.name}")
    folder = Folder(config.out, board)
    async with aiohttp.ClientSession() as session:
        nodes = Nodes([], board)

        async def look() -> None:
            nodes.urls = addresses(config, board)
            await folder.follow()
            await nodes.look(session)

        pages = Pages(board, look, make_explorer([str(config.out)], names_of(board)), token, always=False)
        runner = web.AppRunner(pages.app(), access_log=None, handle_signals=False)
        await runner.setup()
        try:
            await _listen(web.TCPSite(runner, host, int(port), reuse_address=True), config.dashboard)
            where = f"{config.name}: dashboard at http://{shown(host, runner.addresses[0][1])}/"
            say(where + (f"?token=..., the token is in {config.out / TOKEN}" if token else ""))
            yield
        finally:
            await runner.cleanup()


async def _listen(site: "web.TCPSite", where: str) -> None:
    try:
        await site.start()
    except OSError as error:
        raise HostError(f"dashboard: cannot listen on {where}: {error.strerror or error}") from None


def addresses(config: NodeConfig, board: "Board") -> list[str]:
    """Whom to ask: this node, and of the others those that are near, all by the document's addresses."""
    listed = {entry.name: entry.url for entry in config.network.nodes if entry.url.startswith(("http://", "https://"))}
    if len(listed) > ASKED_MAX:
        near = {row["name"] for row in (board.detail(config.name) or {"neighbours": []})["neighbours"]}
        listed = {name: url for name, url in listed.items() if name in near or name == config.name}
    return list(listed.values())[:ASKED_MAX]


def token_in(folder: Path) -> str:
    """The token of this run's dashboard, made the first time; readable by its owner alone. Raises HostError."""
    path = folder / TOKEN
    try:
        if path.exists() and (held := path.read_text("utf-8").strip()):
            return held
        made = secrets.token_urlsafe(16)
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            file.write(made + "\n")
    except OSError as error:
        raise HostError(f"cannot keep the dashboard's token in {path}: {error.strerror}") from None
    return made
