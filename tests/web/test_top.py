"""`p2pfl top`: order, keys, rates, what fits; in a pseudo-terminal, and printed once where there is none."""

import json
import os
import pty
import re
import select
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from p2pfl.cli import main
from p2pfl.cli.top import keys_in
from p2pfl.cli.top_screen import COLUMNS, TITLES, Rates, Screen, fitting
from p2pfl.web.board import Board


def board(nodes: int = 3) -> Board:
    found = Board("test")
    for i in range(nodes):
        found.introduce(f"n{i}", f"{i:02x}" * 32)
        found.tell(f"n{i}", state="training", round=10 - i, rounds=20, accuracy=0.5 + i / 100, bytes_sent=1000 * i)
    return found


def shown(screen: Screen, width: int = 200, height: int = 30) -> str:
    console = Console(width=width, height=height, highlight=False, color_system=None)
    with console.capture() as said:
        console.print(screen.render(width, height))
    return said.get()


def order(screen: Screen) -> list[str]:
    return re.findall(r"^(n\d+) ", shown(screen), re.MULTILINE)


def test_nodes_are_sorted_by_any_column_and_back() -> None:
    screen = Screen(board(), Rates())
    assert order(screen) == ["n0", "n1", "n2"]
    for _ in range(TITLES.index("round")):
        screen.press("s")
    assert order(screen) == ["n2", "n1", "n0"]
    screen.press("r")
    assert order(screen) == ["n0", "n1", "n2"]
    for _ in range(len(COLUMNS)):
        screen.press("S")
    assert screen.sort == TITLES.index("round")


@pytest.mark.parametrize("title", TITLES)
def test_every_column_sorts_and_shows_nodes_of_which_nothing_is_known(title: str) -> None:
    found = board()
    found.introduce("dark")
    for reverse in (False, True):
        assert "dark" in shown(Screen(found, Rates(), title, reverse))


def test_rates_are_bytes_a_second_between_looks() -> None:
    found, rates = board(), Rates()
    rates.take(found, 10.0)
    assert rates.of("n1") is None
    found.tell("n1", bytes_sent=5000)
    rates.take(found, 12.0)
    assert (rates.of("n1"), rates.of("n2")) == (2000.0, 0.0)
    found.tell("n1", bytes_sent=10)  # begun again
    rates.take(found, 13.0)
    assert rates.of("n1") == 1000.0


def test_many_nodes_are_moved_through() -> None:
    screen = Screen(board(100), Rates())
    assert "1 to 15 of 100" in shown(screen, height=20)
    screen.press("pgdn")
    assert "16 to 30 of 100" in shown(screen, height=20)
    for _ in range(20):
        screen.press("pgdn")
    assert "86 to 100 of 100" in shown(screen, height=20)
    screen.press("home")
    screen.press("up")
    assert "1 to 15 of 100" in shown(screen, height=20)


@pytest.mark.parametrize("width", [20, 60, 80, 120, 200])
def test_no_line_is_wider_than_the_terminal(width: int) -> None:
    text = shown(Screen(board(), Rates()), width=width)
    assert all(len(line) <= width for line in text.splitlines())
    assert len(fitting(width)) >= 2


def test_who_is_away_is_counted() -> None:
    found = board()
    found.tell("n1", state="gone", why="http://a does not answer")
    text = shown(Screen(found, Rates()))
    assert "2 of 3 nodes" in text
    assert "does not answer" in text


def test_what_nodes_say_is_text() -> None:
    found = Board("[bold]x[/bold]")
    found.introduce("[red]evil[/red]")
    found.tell("[red]evil[/red]", why="\x1b]0;owned\x07\x1b[2J[link=http://evil]a[/link]")
    text = shown(Screen(found, Rates()))
    assert "[red]evil[/red]" in text
    assert "\x1b" not in text
    assert "\x07" not in text
    assert "[2J[link" in text


def test_keys_as_terminals_send_them() -> None:
    assert list(keys_in(b"sq")) == ["s", "q"]
    assert list(keys_in(b"\x1b[A\x1b[6~r")) == ["up", "pgdn", "r"]
    assert list(keys_in(b"\x1bOP")) == []


# ------------------------------------------------------------------------------------------------ the command


@pytest.fixture
def run(tmp_path: Path) -> Path:
    for i in range(2):
        file = tmp_path / "nodes" / f"n{i}" / "run" / "metrics.jsonl"
        file.parent.mkdir(parents=True)
        line = {"seconds": 1.0, "event": "round", "round": 3 + i, "rounds": 9, "bytes_sent": 100}
        file.write_text(json.dumps(line) + "\n")
    return tmp_path


def test_without_a_terminal_it_prints_once(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["top", str(run), "--every", "0.1", "--sort", "round", "--reverse"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].startswith("2 nodes | rounds 3 to 4")
    assert [line.split()[0] for line in lines[3:]] == ["n1", "n0"]


def test_as_json(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["top", str(run), "--json", "--every", "0.1"]) == 0
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert [(node["name"], node["round"], node["bytes_per_s"]) for node in found["nodes"]] == [
        ("n0", 3, 0.0),
        ("n1", 4, 0.0),
    ]


@pytest.mark.parametrize("words", [["nowhere"], ["http://a:1", "folder"], ["a", "b"], ["missing.toml"]])
def test_what_it_cannot_look_at_is_one_line(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["top", *words, "--once"]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def reads(terminal: int, until: str, seconds: float = 60.0) -> str:
    """What a terminal is shown, up to a text."""
    text, end = "", time.monotonic() + seconds
    while until not in text:
        assert time.monotonic() < end, f"{until!r} never came: {text[-500:]!r}"
        if select.select([terminal], [], [], 0.5)[0]:
            text += os.read(terminal, 1 << 16).decode("utf-8", "replace")
    return text


@pytest.fixture
def terminal() -> Iterator[tuple[int, int]]:
    ours, theirs = pty.openpty()
    yield ours, theirs
    for end in (ours, theirs):
        os.close(end)


def test_in_a_terminal_it_fills_the_screen_takes_keys_and_leaves_it_as_it_was(
    run: Path, terminal: tuple[int, int]
) -> None:
    import termios

    ours, theirs = terminal
    termios.tcsetwinsize(theirs, (24, 150))
    before = termios.tcgetattr(theirs)
    words = [sys.executable, "-m", "p2pfl", "top", str(run), "--every", "0.1"]
    env = {**os.environ, "TERM": "xterm-256color"}
    with subprocess.Popen(words, stdin=theirs, stdout=theirs, stderr=theirs, env=env) as process:
        text = reads(ours, "q quit")
        assert "\x1b[?1049h" in text, "the other screen"
        reads(ours, "n1")
        os.write(ours, b"s")
        reads(ours, "sorted by state")
        file = run / "nodes" / "n0" / "run" / "metrics.jsonl"
        with file.open("a") as more:
            more.write('{"seconds": 2.0, "event": "round", "round": 8, "rounds": 9, "bytes_sent": 900}\n')
        reads(ours, "8/9")
        os.write(ours, b"q")
        reads(ours, "\x1b[?1049l")
        assert process.wait(30) == 0
    assert termios.tcgetattr(theirs) == before
