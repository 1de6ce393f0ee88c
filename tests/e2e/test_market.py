"""What docs/market.md tells to type works, over the live network that it tells to start."""

import json
import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from p2pfl.cli import main

PAGE = Path(__file__).resolve().parents[2] / "docs" / "market.md"
LIMIT_S = 420.0
LOOK_S = 0.5


def blocks() -> list[list[list[str]]]:
    """The commands of each block, as words."""
    found = re.findall(r"```sh\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)
    return [[words for line in block.splitlines() if (words := shlex.split(line, comments=True))] for block in found]


class Reader:
    """Somebody who types the page's lines, and types one again until the ledger is far enough for it."""

    def __init__(self, capsys: pytest.CaptureFixture[str], demo: subprocess.Popen[bytes]) -> None:
        self.capsys, self.demo, self.deadline = capsys, demo, time.monotonic() + LIMIT_S
        self.placeholders: dict[str, str] = {}
        self.said: dict[str, str] = {}

    def type(self, words: list[str]) -> str:
        assert words[0] == "p2pfl"
        argv = [self.placeholders.get(word, word) for word in words[1:]]
        while (code := main(argv)) != 0:
            err = self.capsys.readouterr().err
            assert "Traceback" not in err
            assert self.demo.poll() is None, err
            assert time.monotonic() < self.deadline, (argv, code, err)
            time.sleep(LOOK_S)
        self.said[" ".join(words)] = out = self.capsys.readouterr().out
        return out

    def ask(self, *argv: str) -> object:
        return json.loads(self.type(["p2pfl", *argv, "--json"]))

    def until(self, found, what: str):
        while not (value := found()):
            assert time.monotonic() < self.deadline, what
            time.sleep(LOOK_S)
        return value


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
def test_the_pages_lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    (start,), look, vote, buy, after = blocks()
    run = "town/nodes/n0/run"
    with (tmp_path / "demo.log").open("wb") as log:
        command = [sys.executable, "-m", *start, "--quiet"]
        demo = subprocess.Popen(command, stdout=log, stderr=log)
        try:
            reader = Reader(capsys, demo)
            reader.until(lambda: Path(run, "node.db").exists(), "the town")
            for words in look:
                reader.type(words)
            assert "receipts" in reader.said[" ".join(look[-1])]
            reader.until(lambda: reader.ask("ledger", "balance", run)["nodes"][0]["balance"] >= 1000, "credits")  # type: ignore[index]
            reader.placeholders["HEIGHT"] = str(reader.ask("ledger", "status", run)["height"] + 24)  # type: ignore[index]
            for words in vote:
                if "PROPOSAL" in words and "PROPOSAL" not in reader.placeholders:
                    open_ = reader.until(lambda: reader.ask("ledger", "rules", "show", run)["proposals"], "a proposal")  # type: ignore[index]
                    reader.placeholders["PROPOSAL"] = open_[0]["proposal"]
                reader.type(words)
            for words in buy:
                if "TASK" in words and "TASK" not in reader.placeholders:
                    shown = reader.until(lambda: reader.ask("task", "show", "town/nodes/n1/run"), "the task")
                    reader.placeholders["TASK"] = shown[0]["id"]
                reader.type(words)
            task = ("task", "show", "town/nodes/n1/run", reader.placeholders["TASK"])

            def closed() -> object:
                told = reader.ask(*task)
                return told if told["phase"] == "closed" else None  # type: ignore[index]

            told = reader.until(closed, "the task's end")
            assert told["offers"][0]["paid"] > 0
            rule = reader.ask("ledger", "rules", "show", "town/nodes/n3/run")
            assert rule["in_force"]["parameters"]["cap"] == 1, rule  # type: ignore[index]
        finally:
            demo.send_signal(signal.SIGINT)
            demo.wait(60)
    for words in after:
        reader.type(words)
