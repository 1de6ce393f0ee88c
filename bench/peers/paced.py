"""A peer's end of a group's race: it does so many rounds when it is told to, and says when it is done.

Knows two pipes; knows no peer. Only the standard library: it also runs in the peers' own environments.

    it says                     {"ready": ...}      once, with what the other end has to know
    it is told a number N       N rounds            {"done": N}
    it is told anything else    `asked` answers     a JSON object

At the end of its input it dies at once: what is behind the last round is nobody's business.
"""

import json
import os
import sys
from collections.abc import Callable
from typing import Any


class Paced:
    """Call `ready` once, then `between_rounds` before the first round and after every one."""

    def __init__(self, asked: Callable[[str], dict[str, Any]]) -> None:
        self._told = os.fdopen(os.dup(1), "w")
        os.dup2(2, 1)  # what others print goes to stderr
        self._asked = asked
        self._left = self._count = 0

    def ready(self, **what: object) -> None:
        self.tell({"ready": what})

    def between_rounds(self) -> None:
        if self._left:
            self._left -= 1
            if self._left:
                return
            self.tell({"done": self._count})
        while True:
            line = self.listen()
            if line.isdecimal():
                self._left = self._count = int(line)
                return
            self.tell(self._asked(line))

    def listen(self) -> str:
        line = sys.stdin.readline()
        if not line:
            os._exit(0)
        return line.strip()

    def tell(self, what: dict[str, Any]) -> None:
        print(json.dumps(what), file=self._told, flush=True)
