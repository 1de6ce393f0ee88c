"""Tells a Board what run folders hold, and what is added while a run goes on. Knows files; no socket.

A folder is one of

    a demo or a trial        nodes/<name>/run/metrics.jsonl, one line per event, while nodes write them
    one node's run           metrics.jsonl
    a simulation             course.jsonl, one line per event with the node's name, while it runs (runs/course.py);
                             at its end metrics.jsonl, one line per node, and <name>/ for each
"""

import asyncio
import json
import time
import tomllib
from pathlib import Path
from typing import Any

from p2pfl.errors import ConfigError
from p2pfl.web.board import Board
from p2pfl.web.events import take_event
from p2pfl.web.plain import name, real, rows, whole

SILENT_S = 15.0
READ_BYTES = 4 << 20
"""So much of one file at a time; the rest comes with the next look."""
AT_ONCE = 500
LINE_BYTES_MAX = 1 << 20
EDGES_MAX = 1024
METRICS, COURSE, NETWORK, CONFIG, SUMMARY = (
    "metrics.jsonl",
    "course.jsonl",
    "network.toml",
    "config.toml",
    "summary.json",
)
JUDGED = ("seconds", "round", "rounds", "bytes_sent", "bytes_received")


class Folder:
    """A run's folder. `look` reads what is new. Raises ConfigError if there is no run in it."""

    def __init__(self, path: Path, board: Board) -> None:
        self.path, self.board = path, board
        self._places: dict[Path, int] = {}
        self._better: dict[str, str] = {}  # by node: the best split that it was judged on
        if not self._files():
            raise ConfigError(f"{path}: expected the folder of a run ({METRICS} in it), found none")
        self._introduce()

    def look(self) -> None:
        """Everything that is new."""
        while lines := self._read():
            self._tell(lines)
        self._tell_silent()

    async def follow(self) -> None:
        """The same on a loop that has other things to do: files are read on a thread, and the board, which others read
        on the loop, is told in small pieces there."""
        while lines := await asyncio.to_thread(self._read):
            for first in range(0, len(lines), AT_ONCE):
                self._tell(lines[first : first + AT_ONCE])
                await asyncio.sleep(0)
        self._tell_silent()

    def _read(self) -> list[tuple[str, dict[str, Any]]]:
        return [(node, line) for node, file in self._files() for line in self._new_lines(file)]

    def _tell(self, lines: list[tuple[str, dict[str, Any]]]) -> None:
        for node, line in lines:
            self._take(node, line)

    def _tell_silent(self) -> None:
        for node, file in self._files():
            if node and self._is_silent(node, file):
                self.board.tell(node, state="silent", why=f"has written nothing for {SILENT_S:.0f} s")

    def _files(self) -> list[tuple[str, Path]]:
        """(node, file); no name where a line says whose it is."""
        many = sorted(self.path.glob(f"nodes/*/run/{METRICS}"))
        if many:
            return [(file.parent.parent.name, file) for file in many]
        course, one = self.path / COURSE, self.path / METRICS
        if course.is_file():
            return [("", course), *([("", one)] if one.is_file() else [])]
        if not one.is_file():
            return []
        whole_run = any((child / SUMMARY).is_file() for child in self.path.iterdir() if child.is_dir())
        return [("" if whole_run else self._own_name(), one)]

    def _own_name(self) -> str:
        """Of one node's run: as its configuration says, else as its folder."""
        try:
            return str(tomllib.loads((self.path / CONFIG).read_text("utf-8"))["name"])
        except (OSError, ValueError, KeyError):
            return self.path.resolve().parent.name or "node"

    def _introduce(self) -> None:
        """Names and keys, from the network's document."""
        for file in (self.path / NETWORK, *sorted(self.path.glob(f"*/{NETWORK}"))[:1]):
            try:
                document = tomllib.loads(file.read_text("utf-8"))
            except (OSError, ValueError):
                continue
            for entry in document.get("nodes", []):
                self.board.introduce(str(entry.get("name", "")), str(entry.get("key", "")))
        for node, _ in self._files():
            if node:
                self.board.introduce(node)

    def _is_silent(self, node: str, file: Path) -> bool:
        return self.board.introduce(node).state in ("training", "starting") and _age_s(file) > SILENT_S

    def _new_lines(self, file: Path) -> list[dict[str, Any]]:
        try:
            if file.stat().st_size < self._places.get(file, 0):  # a new run, or a file that was put aside
                self._places[file] = 0
            with file.open("rb") as raw:
                raw.seek(self._places.get(file, 0))
                text = raw.read(READ_BYTES)
        except OSError:
            return []
        end = text.rfind(b"\n") + 1
        if not end and len(text) == READ_BYTES:  # no line of ours is as long
            end = len(text)
        self._places[file] = self._places.get(file, 0) + end
        found = []
        for line in text[:end].splitlines():
            try:
                value = json.loads(line) if len(line) <= LINE_BYTES_MAX else None
            except (ValueError, RecursionError):
                continue
            if isinstance(value, dict):
                found.append(value)
        return found

    def _take(self, node: str, line: dict[str, Any]) -> None:
        if "event" in line:
            who = node or name(line.get("name"))
            if who:
                take_event(self.board, who, line, self._better)
        elif not node:
            self._take_summary(line)

    def _take_summary(self, line: dict[str, Any]) -> None:
        """A simulated node's, at the end."""
        node = name(line.get("name"))
        if node is None:
            return
        failure = line.get("failure")
        fields = {key: line.get(key) for key in JUDGED if key != "seconds"}
        self.board.tell(node, state="gone" if failure else "done", accuracy=line.get("accuracy"), **fields)
        self.board.tell(node, refused=whole(line.get("refused")), height=line.get("ledger_height"), why=failure)
        copy = line.get("personal")
        self.board.tell(node, own_accuracy=copy.get("own_accuracy") if isinstance(copy, dict) else None)
        if not self.board.introduce(node).seconds:
            self.board.tell(node, seconds=real(line.get("seconds")))
        for edge in rows(line.get("edges"), EDGES_MAX):
            self.board.link(node, str(edge.get("peer", "")), edge.get("seq"))


def _age_s(file: Path) -> float:
    try:
        return time.time() - file.stat().st_mtime
    except OSError:
        return 0.0
