"""The dashboard with 1,000 nodes in a browser: frames while the network is moved, as a ratio to an empty page.

Three pages take turns in one browser: an empty one, the network of a run that has ended, and one whose nodes all report
every second. In each, for the same time, every frame moves the picture a little (as a drag does) and is counted. The
empty page's frames are what this browser on this machine can do at all.

    bar: at least 0.9 of them: one frame in ten that comes late is not seen as a jerk
    bar, while 1,000 nodes report every second: at least 0.75: then some frames are given to the table and the curves

Needs chromium (apt-get install chromium). Drawing is done without a GPU, so a desk's browser has it easier.
"""

import asyncio
import math
import sys
import tempfile
from pathlib import Path
from random import Random
from statistics import median

from aiohttp import web

sys.path.insert(0, str(Path(__file__).parent))

from browser import FOUND, WHY_NOT, Browser
from harness import bar, parse_args, table, write_json

from p2pfl.web.board import Board
from p2pfl.web.server import Pages

NODES, NEAR, ROUNDS = 1000, 6, 40
MOVE = """new Promise(done => {
  const graph = globalThis.p2pfl && p2pfl.view().graph, begun = performance.now(); let frames = 0;
  const step = now => {
    frames++;
    if (graph) graph.move(3 * Math.cos(frames / 9), 2 * Math.sin(frames / 9));
    if (now - begun < %d) requestAnimationFrame(step); else done(1000 * frames / (now - begun));
  };
  requestAnimationFrame(step);
})"""
READY = "globalThis.p2pfl && p2pfl.board.nodes.size === %d && p2pfl.view().graph && p2pfl.view().graph.drawn"


def filled() -> Board:
    """A small world of NODES that have learned for ROUNDS."""
    board, random = Board("1,000 nodes"), Random(1)
    names = [f"n{i}" for i in range(NODES)]
    for i, name in enumerate(names):
        board.introduce(name, f"{i:08x}" + "ab" * 28)
    for i, name in enumerate(names):
        for step in range(1, NEAR // 2 + 1):
            other = random.randrange(NODES) if random.random() < 0.1 else (i + step) % NODES
            board.link(name, names[other], ROUNDS, float(ROUNDS))
    for round_ in range(1, ROUNDS + 1):
        report(board, round_, random)
    return board


def report(board: Board, round_: int, random: Random) -> None:
    """All nodes have ended a round."""
    for name in list(board.cards):
        accuracy = (1 - math.exp(-round_ / 15)) * (0.9 + 0.1 * random.random())
        board.tell(
            name,
            state="training",
            seconds=float(round_),
            round=round_,
            rounds=10_000,
            accuracy=accuracy,
            loss=2.3 * (1 - accuracy),
            apart=1 / round_,
            bytes_sent=50_000 * round_,
        )


class Served:
    """`async with` it: the address of a dashboard of NODES; with `live` they all report every second."""

    def __init__(self, live: bool) -> None:
        self._live, self._round, self._random = live, ROUNDS, Random(2)
        self.board = filled()

    async def _look(self) -> None:
        if self._live:
            self._round += 1
            report(self.board, self._round, self._random)

    async def __aenter__(self) -> str:
        self._runner = web.AppRunner(Pages(self.board, self._look, None, always=False).app(), access_log=None)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        return f"http://127.0.0.1:{self._runner.addresses[0][1]}/"

    async def __aexit__(self, *_: object) -> None:
        await self._runner.cleanup()


async def measure(seconds: float, repeats: int) -> dict[str, float]:
    """Frames a second of each page, median over the repeats, the pages in turn."""
    found: dict[str, list[float]] = {"an empty page": [], "1,000 nodes": [], "1,000 nodes, reporting": []}
    with tempfile.TemporaryDirectory() as folder:
        async with Served(False) as still, Served(True) as live, Browser(Path(folder) / "profile") as browser:
            urls = dict(zip(found, ("about:blank", still, live), strict=True))
            for _ in range(repeats):
                for name, url in urls.items():
                    await browser.open(url)
                    await browser.until(READY % NODES if url != "about:blank" else "document.body", 120)
                    await browser.run("new Promise(done => setTimeout(done, 500))")  # what opening left to do
                    found[name].append(await browser.run(MOVE % (1000 * seconds)))
            assert browser.said == [], browser.said
    return {name: median(values) for name, values in found.items()}


def main() -> None:
    args = parse_args(__doc__)
    if FOUND is None:
        sys.exit(WHY_NOT)
    frames = asyncio.run(measure(2.0 if args.quick else 6.0, 3 if args.quick else 5))
    empty = frames["an empty page"]
    rows = [{"page": name, "frames a second": rate, "ratio": rate / empty} for name, rate in frames.items()]
    table(rows)
    bar("frames while 1,000 nodes are moved, of an empty page's", frames["1,000 nodes"] / empty, wanted=0.9)
    bar("the same while all of them report every second", frames["1,000 nodes, reporting"] / empty, wanted=0.75)
    write_json(args, rows)


if __name__ == "__main__":
    main()
