"""Tells a Board what run folders hold, and what is added while a run goes on. Knows files; no socket.

A folder is one of

    a demo or a trial        nodes/<name>/run/metrics.jsonl, one line per event, while nodes write them
    one node's run           metrics.jsonl
    a finished simulation    metrics.jsonl, one line per node, and <name>/ for each
"""

import json
import time
import tomllib
from pathlib import Path
from typing import Any

from p2pfl.errors import ConfigError
from p2pfl.web.board import Board

SILENT_S = 15.0
READ_BYTES = 4 << 20
"""So much of one file at a time; the rest comes with the next look."""
METRICS, NETWORK = "metrics.jsonl", "network.toml"


class Folder:
    """A run's folder. `look` reads what is new. Raises ConfigError if there is no run in it."""

    def __init__(self, path: Path, board: Board) -> None:
        self.path, self.board = path, board
        self._places: dict[Path, int] = {}
        if not self._files():
            raise ConfigError(f"{path}: expected the folder of a run ({METRICS} in it), found none")
        self._introduce()

    def look(self) -> None:
        for name, file in self._files():
            for line in self._new_lines(file):
                self._take(name, line)
            if name and self.board.cards[name].state in ("training", "starting") and _age_s(file) > SILENT_S:
                self.board.tell(name, "silent", why=f"has written nothing for {SILENT_S:.0f} s")

    def _files(self) -> list[tuple[str, Path]]:
        """(node, file); no name where a line says whose it is."""
        many = sorted(self.path.glob(f"nodes/*/run/{METRICS}"))
        if many:
            return [(file.parent.parent.name, file) for file in many]
        one = self.path / METRICS
        if not one.is_file():
            return []
        whole = any((child / "summary.json").is_file() for child in self.path.iterdir() if child.is_dir())
        return [("" if whole else self.path.parent.name or "node", one)]

    def _introduce(self) -> None:
        """Names and keys, from the network's document."""
        for file in (self.path / NETWORK, *sorted(self.path.glob(f"*/{NETWORK}"))[:1]):
            try:
                document = tomllib.loads(file.read_text("utf-8"))
            except (OSError, ValueError):
                continue
            for entry in document.get("nodes", []):
                self.board.introduce(str(entry.get("name", "")), str(entry.get("key", "")))
        for name, _ in self._files():
            if name:
                self.board.introduce(name, "")

    def _new_lines(self, file: Path) -> list[dict[str, Any]]:
        try:
            if file.stat().st_size < self._places.get(file, 0):  # a new run, or a file that was put aside
                self._places[file] = 0
            with file.open("rb") as raw:
                raw.seek(self._places.get(file, 0))
                text = raw.read(READ_BYTES)
        except OSError:
            return []
        whole = text[: text.rfind(b"\n") + 1]
        self._places[file] = self._places.get(file, 0) + len(whole)
        found = []
        for line in whole.splitlines():
            try:
                value = json.loads(line)
            except ValueError:
                continue
            if isinstance(value, dict):
                found.append(value)
        return found

    def _take(self, name: str, line: dict[str, Any]) -> None:
        if not name:
            return self._take_whole(line)
        said = str(line.get("event", ""))
        fields = {key: line.get(key) for key in ("seconds", "round", "bytes_sent", "bytes_received")}
        match said:
            case "round":
                self.board.tell(name, "training", rounds=line.get("rounds"), why="", **fields)
                self.board.met(name, str(line.get("mixed") or "").split())
            case "evaluation":
                self.board.tell(name, None, accuracy=line.get("accuracy"), loss=line.get("loss"), **fields)
            case "personal":
                self.board.tell(name, None, own_accuracy=line.get("own_accuracy"), **fields)
            case "finished":
                self.board.tell(name, "done", why="", **fields)
            case "edge":
                self.board.link(name, str(line.get("peer", "")))
            case "failed" | "diverged" | "blamed":
                self.board.tell(name, None, why=str(line.get("reason", said))[:200], **fields)
        return None

    def _take_whole(self, line: dict[str, Any]) -> None:
        """A node's summary."""
        name = str(line.get("name", ""))
        fields = {key: line.get(key) for key in ("seconds", "round", "rounds", "bytes_sent", "bytes_received")}
        failure = line.get("failure")
        self.board.tell(name, "gone" if failure else "done", accuracy=line.get("accuracy"), **fields)
        if line.get("personal"):
            self.board.tell(name, own_accuracy=line["personal"].get("own_accuracy"))
        if failure:
            self.board.tell(name, why=str(failure)[:200])
        for edge in line.get("edges") or []:
            self.board.link(name, str(edge.get("peer", "")), int(edge.get("seq", 0)))


def _age_s(file: Path) -> float:
    try:
        return time.time() - file.stat().st_mtime
    except OSError:
        return 0.0
