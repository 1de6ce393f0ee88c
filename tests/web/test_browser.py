"""The dashboard in a browser: a live demo, a killed node, why a node earned nothing, keys, hostile names, no errors.

Skipped where there is no chromium; scripts/test installs it where it may.
"""

import asyncio
import importlib.util
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]


def module(path: Path) -> Any:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    found = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(found)
    return found


BROWSER = module(ROOT / "bench" / "browser.py")
pytestmark = [pytest.mark.slow, pytest.mark.skipif(BROWSER.FOUND is None, reason=BROWSER.WHY_NOT)]


@contextmanager
def dashboard(*sources: object) -> Iterator[str]:
    """The address of `p2pfl dashboard SOURCES`."""
    words = [sys.executable, "-m", "p2pfl", "dashboard", *map(str, sources), "--listen", "127.0.0.1:0"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        try:
            yield server.stdout.readline().split()[0]
        finally:
            server.terminate()


@asynccontextmanager
async def page(folder: Path, url: str) -> AsyncIterator[Any]:
    async with BROWSER.Browser(folder / "profile") as browser:
        await browser.open(url)
        await browser.until("globalThis.p2pfl && p2pfl.board.ready")
        yield browser
        assert browser.said == [], "no console errors, and nothing that the policy had to stop"


def look(folder: Path, url: str, check: Callable[[Any], Awaitable[None]]) -> None:
    async def run() -> None:
        async with page(folder, url) as browser:
            await check(browser)

    asyncio.run(run())


TEXT = "document.querySelector('main').innerText"


# ------------------------------------------------------------------------------------------------ a live demo


def pid_of(document: Path) -> int:
    """The process of this node.toml."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                words = (entry / "cmdline").read_bytes().decode("utf-8", "replace").split("\0")
            except OSError:
                continue
            if str(document) in words and "node" in words:
                return int(entry.name)
    raise AssertionError(f"no process of {document}")


@pytest.fixture
def demo(tmp_path: Path) -> Iterator[Path]:
    """Eight nodes that learn for longer than anybody looks."""
    out = tmp_path / "demo"
    words = [sys.executable, "-m", "p2pfl", "demo", "--nodes", "8", "--rounds", "100000", "--out", str(out), "--quiet"]
    with subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            yield out
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(60)


def test_a_live_demo_moves_and_a_killed_node_shows(demo: Path, tmp_path: Path) -> None:
    rounds = "[...p2pfl.board.nodes.values()].reduce((sum, n) => sum + n.round, 0)"
    judged = "[...p2pfl.board.judged.values()].reduce((sum, points) => sum + points.length, 0)"
    here = ".filter(n => n.state === 'training').length"

    async def check(browser: Any) -> None:
        await browser.until(f"[...p2pfl.board.nodes.values()]{here} === 8", 200)
        await browser.until(f"{judged} >= 8", 200)
        before = await browser.run(rounds)
        await browser.until(f"{rounds} > {before}", 60)
        await browser.until("document.querySelectorAll('svg .mean').length >= 3", 60)
        assert await browser.run("p2pfl.board.edges.size") >= 8
        os.kill(pid_of(demo / "nodes" / "n3" / "node.toml"), signal.SIGKILL)
        await browser.until(f"{TEXT}.includes('7 of 8')", 120)
        row = "[...document.querySelectorAll('tbody tr')].find(r => r.cells[0].innerText === 'n3').innerText"
        await browser.until(f"{row}.includes('gone') && {row}.includes('does not answer')", 60)
        label = await browser.run("document.querySelector('canvas').getAttribute('aria-label')")
        assert label.endswith("1 away")
        await browser.run("location.hash = '#/node/n3'")
        await browser.until(f"{TEXT}.includes('gone: http')", 60)

    async def started() -> None:
        async with asyncio.timeout(120):
            while not (demo / "nodes" / "n7" / "run" / "metrics.jsonl").exists():
                await asyncio.sleep(0.2)

    asyncio.run(started())
    with dashboard(demo / "network.toml") as url:
        look(tmp_path, url, check)


# ------------------------------------------------------------------------------------------------ the explorer


@pytest.fixture
def ledger(tmp_path: Path) -> Path:
    """A final ledger in which carol works and nobody confirms it, and dave signed two entries at one position."""
    build = module(ROOT / "tests" / "ledger" / "final" / "conftest.py")
    entries, network = [], build.Network()
    for _ in range(4):
        network.sends(0, 1)
        network.sends(1, 0, taken=False)
        network.close()
    for name, signer in zip(("alice", "bob", "carol", "dave"), network.nodes, strict=True):
        entries.append(f'[[nodes]]\nname = "{name}"\nkey = "{signer.node.hex()}"\nurl = "http://127.0.0.1:1"\n')
    run = tmp_path / "run"
    run.mkdir()
    (run / "network.toml").write_text('name = "trial"\n' + "".join(entries))
    (run / "metrics.jsonl").write_text('{"seconds": 1, "event": "round", "round": 1, "rounds": 1}\n')
    (run / "config.toml").write_text('name = "alice"\n')
    network.write(run / "node.db")
    return run


def test_why_a_node_earned_nothing_by_keyboard_alone(ledger: Path, tmp_path: Path) -> None:
    async def check(browser: Any) -> None:
        await reach(browser, "Ledger")
        await browser.press("Enter")
        await browser.until(f"{TEXT}.includes('bob (')")
        assert await browser.run("document.activeElement.innerText") == "Ledger", "the heading is read out"
        await reach(browser, "bob (")
        await browser.press("Enter")
        await browser.until(f"{TEXT}.includes('because')")
        text = await browser.run(TEXT)
        assert "got 0 of" in text
        assert "messages that it says it sent to alice (" in text
        assert "are not confirmed" in text
        assert "nobody confirmed anything" in text
        assert await browser.run("document.querySelectorAll('.badge.good').length") >= 2, "with proofs that hold"

    with dashboard(ledger) as url:
        look(tmp_path, url, check)


async def reach(browser: Any, text: str) -> None:
    """Tab until the focus is on what begins so."""
    for _ in range(60):
        await browser.press("Tab")
        if (await browser.run("(document.activeElement.innerText || '')")).startswith(text):
            return
    raise AssertionError(f"{text!r} is not reached by the Tab key")


VIEWS = ["#/network", "#/members", "#/ledger", "#/ledger/window/0", "#/ledger/node/alice", "#/ledger/entry/2"]
VIEWS += ["#/receipts", "#/receipts/0", "#/validators", "#/evidence", "#/node/alice", "#/node/nobody", "#/%E0%A4%A"]


def test_every_view_is_labelled_and_says_no_error_light_and_dark(ledger: Path, tmp_path: Path) -> None:
    unnamed = """[...document.querySelectorAll('a, button, input, select, canvas, svg.chart, table, [role=region]')]
    .filter(e => e.checkVisibility() && !e.textContent.trim() && !e.getAttribute('aria-label'))
    .filter(e => !e.closest('label') && !e.caption).map(e => e.outerHTML.slice(0, 80))"""

    async def check(browser: Any) -> None:
        for dark in (False, True):
            await browser.dark(dark)
            for view in VIEWS:
                await browser.run(f"location.hash = {json.dumps(view)}")
                await browser.until("document.querySelector('main h2') && !" + TEXT + ".includes('reading the ledger')")
                assert await browser.run(unnamed) == [], view
                assert await browser.run("document.querySelectorAll('nav [aria-current=page]').length") == 1, view
                assert await browser.run(CONTRAST) == [], (view, dark)

    with dashboard(ledger) as url:
        look(tmp_path, url, check)


CONTRAST = """(() => {
  const parts = text => text.match(/[0-9.]+/g).map(Number), bad = [];
  const light = ([r, g, b]) => [r, g, b].map(v => v / 255)
    .map(v => v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  for (const e of document.querySelectorAll('main *')) {
    if (![...e.childNodes].some(n => n.nodeType === 3 && n.data.trim())) continue;
    if (!e.checkVisibility() || e.closest('svg, .hidden, option, button:disabled')) continue;
    let ground = e, colour;
    do { colour = parts(getComputedStyle(ground).backgroundColor); ground = ground.parentElement; }
    while (ground && colour[3] === 0);
    if (colour.length === 4 || getComputedStyle(e).backgroundColor.startsWith('color')) continue;
    const [a, b] = [light(parts(getComputedStyle(e).color)), light(colour)].sort((x, y) => y - x);
    if ((a + 0.05) / (b + 0.05) < 4.5) bad.push(e.outerHTML.slice(0, 80));
  }
  return bad;
})()"""


# ------------------------------------------------------------------------------------------------ hostile nodes


def test_what_nodes_say_is_never_markup(tmp_path: Path) -> None:
    evil = '<img src=x onerror="globalThis.owned=1">'
    names = [evil, '"><script>globalThis.owned=1</script>', "__proto__", "constructor", "n\u202e0", "a/b?c#d"]
    run = tmp_path / "run"
    run.mkdir()
    lines: list[dict[str, Any]] = [
        {"event": "round", "seconds": 1, "name": name, "round": 1, "rounds": 2, "bytes_sent": 9, "apart": 0.5}
        for name in names
    ]
    lines += [{"event": "failed", "name": name, "reason": evil} for name in names]
    lines += [{"event": "rejected", "name": name, "peer": evil, "code": evil} for name in names]
    lines += [{"event": "evaluation", "name": name, "round": 1, "accuracy": 0.5, "loss": 1.0} for name in names]
    (run / "course.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))

    async def check(browser: Any) -> None:
        for view in ("#/network", "#/members", *(f"#/node/{name}" for name in names)):
            await browser.run(f"location.hash = {json.dumps(view)}")
            await browser.until(f"document.querySelector('main h2') && {TEXT}.length > 20")
        await browser.run("location.hash = '#/members'")
        await browser.until(f"{TEXT}.includes('onerror')")
        assert await browser.run("globalThis.owned") is None
        assert await browser.run("document.querySelectorAll('main img, main script').length") == 0
        assert await browser.run("p2pfl.board.nodes.size") == len(names)

    with dashboard(run) as url:
        look(tmp_path, url, check)
