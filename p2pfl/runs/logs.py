"""A node's log as JSON, one object a line, for machines. Knows events and levels; knows no terminal.

    {"time": "2026-11-21T12:40:01.250Z", "level": "warning", "node": "n1", "event": "late", "peer": "3fa9c0de", ...}

`time` is this machine's wall clock and is never part of what nodes agree on. What libraries log (asyncio, aiohttp) and
Python's own warnings come as the event "log", so that one reader gets everything.
"""

import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import IO

from p2pfl.core.party import Emit
from p2pfl.runs.events import Level, is_at_least, level_of

LINE_CHARS_MAX = 16_384
"""A trace is cut there; nothing else is as long."""
_RESERVED = ("time", "level", "node", "event")


class JsonLog:
    """Writes to `stream`, from any thread, what is at least as grave as `threshold`."""

    def __init__(self, stream: IO[str], node: str, threshold: Level) -> None:
        self._stream = stream
        self._node = node
        self._threshold = threshold

    def take(self, emit: Emit) -> None:
        self.write(level_of(emit.name), emit)

    def write(self, level: Level, emit: Emit) -> None:
        """One line, in one write. A log that nobody reads any more (a closed pipe) must not end the node."""
        if not is_at_least(level, self._threshold):
            return
        now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        first = {"time": now, "level": level, "node": self._node, "event": emit.name}
        rest = {(f"{k}_" if k in _RESERVED else k): _cut(v) for k, v in emit.fields.items()}
        try:
            self._stream.write(json.dumps(first | rest, ensure_ascii=True) + "\n")
            self._stream.flush()
        except (OSError, ValueError):  # ValueError: the stream is closed
            return

    @contextmanager
    def of_libraries(self) -> Iterator[None]:
        """What Python's `logging` and `warnings` say, while inside."""
        handler, root = _Handler(self), logging.getLogger()
        root.addHandler(handler)
        logging.captureWarnings(True)
        try:
            yield
        finally:
            logging.captureWarnings(False)
            root.removeHandler(handler)


class _Handler(logging.Handler):
    def __init__(self, log: JsonLog) -> None:
        super().__init__(logging.WARNING)
        self._log = log

    def emit(self, record: logging.LogRecord) -> None:
        level: Level = "error" if record.levelno >= logging.ERROR else "warning"
        fields: dict[str, str] = {"from": record.name, "says": record.getMessage()}
        if record.exc_info:
            fields["trace"] = logging.Formatter().formatException(record.exc_info)
        self._log.write(level, Emit("log", fields))


def _cut(value: object) -> object:
    return value[:LINE_CHARS_MAX] if isinstance(value, str) else value
