"""`p2pfl top`: a live table of nodes that fills the terminal; one printed table where there is none."""

import sys
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from p2pfl.cli.show import json_option, print_json
from p2pfl.cli.sources import check_sources, looker, title_of
from p2pfl.cli.top_screen import TITLES, Rates, Screen

if TYPE_CHECKING:
    import asyncio

    from rich.console import Console

Look = Callable[[], Awaitable[None]]

ESCAPES = {b"[A": "up", b"[B": "down", b"[5~": "pgup", b"[6~": "pgdn", b"[H": "home", b"[1~": "home"}
KEYS_MAX = 256


@click.command()
@click.argument("sources", metavar="URL...|RUN", nargs=-1, required=True)
@click.option(
    "--every", "every_s", type=click.FloatRange(0.1), default=1.0, show_default=True, help="Seconds between looks."
)
@click.option("--sort", type=click.Choice(TITLES), default="node", show_default=True, help="The column to begin with.")
@click.option("--reverse", is_flag=True, help="The largest first.")
@click.option("--once", is_flag=True, help="Print one table and end; as where there is no terminal.")
@json_option
def top(sources: tuple[str, ...], every_s: float, sort: str, reverse: bool, once: bool, as_json: bool) -> None:
    """Watch nodes in the terminal: rounds, accuracy, bytes a second, who is late.

    URLs are base addresses of running nodes, or a network.toml for all nodes in it. RUN is the folder of a demo, a node
    or a simulation, also while it runs. Keys: q ends it, s and S choose the column to sort by, r turns the order round,
    arrows and PgUp, PgDn move. Without a terminal, with --once or --json, it looks twice and prints once.
    """
    import asyncio

    from p2pfl.web.board import Board

    check_sources(sources)
    screen = Screen(Board(title_of(sources)), Rates(), sort, reverse)
    if as_json or once or not (sys.stdin.isatty() and sys.stdout.isatty()):
        asyncio.run(_twice(sources, screen, every_s))
        _print(screen, as_json)
        return
    try:
        asyncio.run(_live(sources, screen, every_s))
    except KeyboardInterrupt:
        return


async def _twice(sources: Sequence[str], screen: Screen, every_s: float) -> None:
    """Two looks: rates need them."""
    import asyncio

    import aiohttp

    async with aiohttp.ClientSession() as session:
        look, loop = looker(sources, screen.board, session), asyncio.get_running_loop()
        for pause_s in (every_s, 0.0):
            await look()
            screen.rates.take(screen.board, loop.time())
            await asyncio.sleep(pause_s)


def _print(screen: Screen, as_json: bool) -> None:
    from rich.console import Console

    if as_json:
        print_json(screen.told())
        return
    console = Console(highlight=False)
    if not sys.stdout.isatty():
        console = Console(highlight=False, width=200)
    console.print(screen.whole(console.width))


async def _live(sources: Sequence[str], screen: Screen, every_s: float) -> None:
    import asyncio

    import aiohttp
    from rich.console import Console
    from rich.live import Live

    console, pressed = Console(highlight=False), asyncio.Event()

    def on_key(key: str) -> None:
        screen.press(key)
        pressed.set()

    async with aiohttp.ClientSession() as session:
        look = looker(sources, screen.board, session)
        with _keys(on_key), Live(console=console, screen=True, auto_refresh=False) as live:
            looking = asyncio.create_task(_look(look, screen, every_s, pressed))
            looking.add_done_callback(lambda _: pressed.set())
            try:
                while not screen.done and not looking.done():
                    live.update(screen.render(*_size(console)), refresh=True)
                    await pressed.wait()
                    pressed.clear()
            finally:
                failed = looking.done()
                looking.cancel()
                await asyncio.gather(looking, return_exceptions=True)
        if failed:
            looking.result()  # raises


async def _look(look: Look, screen: Screen, every_s: float, seen: "asyncio.Event") -> None:
    """Now and then, for ever; `seen` is set each time. Beside the keys, which a node that does not answer must not hold
    up."""
    import asyncio

    loop = asyncio.get_running_loop()
    while True:
        await look()
        screen.rates.take(screen.board, loop.time())
        seen.set()
        await asyncio.sleep(every_s)


def _size(console: "Console") -> tuple[int, int]:
    return console.width, console.height


@contextmanager
def _keys(on_key: Callable[[str], None]) -> Iterator[None]:
    """Every key at once and unseen, while inside; the terminal is then as it was. On a running loop."""
    import asyncio
    import os
    import termios
    import tty

    stdin, loop = sys.stdin.fileno(), asyncio.get_running_loop()
    before = termios.tcgetattr(stdin)
    tty.setcbreak(stdin)

    def ready() -> None:
        pressed = os.read(stdin, KEYS_MAX)
        if not pressed:  # the terminal is gone
            on_key("q")
        for key in keys_in(pressed):
            on_key(key)

    loop.add_reader(stdin, ready)
    try:
        yield
    finally:
        loop.remove_reader(stdin)
        termios.tcsetattr(stdin, termios.TCSADRAIN, before)


def keys_in(pressed: bytes) -> Iterator[str]:
    """The names of keys in what a terminal sends: arrows come as several bytes."""
    while pressed:
        if pressed[:1] == b"\x1b":
            found = next((code for code in ESCAPES if pressed[1:].startswith(code)), None)
            if found is None:
                return  # a key that means nothing here
            yield ESCAPES[found]
            pressed = pressed[1 + len(found) :]
        else:
            yield chr(pressed[0])
            pressed = pressed[1:]
