"""What docs/market.md tells to type works, over the live network that it tells to start, and does what it says."""

import json
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from p2pfl.cli import main
from p2pfl.runs.local import Process, end_processes
from p2pfl.runs.outcome import Outcome

PAGE = Path(__file__).resolve().parents[2] / "docs" / "market.md"
RUNS = [Path("town", "nodes", f"n{number}", "run") for number in range(4)]


def blocks() -> list[list[list[str]]]:
    """The commands of each block, as words."""
    found = re.findall(r"```sh\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)
    return [[words for line in block.splitlines() if (words := shlex.split(line, comments=True))] for block in found]


class Reader:
    """Somebody who types the page's lines, and types one again until the ledger is far enough for it."""

    def __init__(self, capsys: pytest.CaptureFixture[str], wait: Callable[..., Any]) -> None:
        self.capsys, self.wait = capsys, wait
        self.placeholders: dict[str, str] = {}

    def type(self, words: list[str]) -> str:
        """What the command prints in the end."""
        assert words[0] == "p2pfl"
        argv = [self.placeholders.get(word, word) for word in words[1:]]

        def done() -> tuple[str] | None:
            code = main(argv)
            out, err = self.capsys.readouterr()
            assert "Traceback" not in err
            return (out,) if code == 0 else None

        (out,) = self.wait(done, what=" ".join(argv))
        return str(out)

    def ask(self, *argv: object) -> Any:
        return json.loads(self.type(["p2pfl", *map(str, argv), "--json"]))


def test_each_line_is_a_command_that_looks_for_the_town(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Typed before the town is there: nothing is wrong but that."""
    monkeypatch.chdir(tmp_path)
    (start,), *others = blocks()
    assert start[:2] == ["p2pfl", "demo"]
    for words in (words for block in others for words in block):
        assert main(["60" if word == "HEIGHT" else word for word in words[1:]]) == 2
        assert "town" in capsys.readouterr().err, words


@pytest.mark.slow
def test_the_pages_lines(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], until: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    (start,), look, vote, buy, after = blocks()
    demo = Process(tmp_path / "demo", tmp_path, Outcome("demo", 0))
    with (tmp_path / "log.txt").open("wb") as log:
        command = [sys.executable, "-m", *start, "--quiet"]
        demo.handle = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
    reader = Reader(capsys, partial(until, processes=[demo]))
    try:
        reader.wait(lambda: all((run / "node.db").exists() for run in RUNS), what="the town")
        for words in look:
            said = reader.type(words)
        assert "receipts" in said
        the_vote(reader, vote)
        told = the_work(reader, buy)
        demo.handle.send_signal(signal.SIGINT)
        demo.handle.wait()
    finally:
        end_processes([demo])
    for words in after:
        reader.type(words)
    rule = reader.ask("ledger", "rules", "show", RUNS[3])
    assert rule["in_force"]["parameters"]["cap"] == 1, rule
    (offer,) = told["offers"]
    assert (offer["units"], offer["ask"], offer["credits"]) == (20, 300, 1000)
    assert offer["delivered"] > 0
    assert offer["paid"] == 1000 * offer["delivered"] // 20
    assert told["returned"] == 1000 - offer["paid"]
    assert not list((RUNS[1] / "requests").glob("*.request")), "the bid was opened by the node itself"


def the_vote(reader: Reader, lines: list[list[str]]) -> None:
    def rich() -> bool:
        return all(row["balance"] >= 1000 for row in reader.ask("ledger", "balance", RUNS[0])["nodes"])

    reader.wait(rich, what="credits")
    reader.placeholders["HEIGHT"] = str(reader.ask("ledger", "status", RUNS[0])["height"] + 24)
    for words in lines:
        if "PROPOSAL" in words and "PROPOSAL" not in reader.placeholders:
            proposed = reader.wait(lambda: reader.ask("ledger", "rules", "show", RUNS[0])["proposals"], what="proposal")
            reader.placeholders["PROPOSAL"] = proposed[0]["proposal"]
        reader.type(words)


def the_work(reader: Reader, lines: list[list[str]]) -> Any:
    """What `task show` says of the task in the end."""
    for words in lines:
        if "TASK" in words and "TASK" not in reader.placeholders:
            shown = reader.wait(lambda: reader.ask("task", "show", RUNS[1]), what="the task")
            reader.placeholders["TASK"] = shown[0]["id"]
        reader.type(words)
    task = ("task", "show", RUNS[1], reader.placeholders["TASK"])
    reader.wait(lambda: reader.ask(*task)["phase"] == "closed", what="the task's end")
    return reader.ask(*task)
