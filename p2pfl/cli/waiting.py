"""A sign of life for what takes longer than people like to wait without one. Knows a terminal; no command."""

import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

WAIT_S = 2.0
"""What is done by then says nothing of itself."""
T = TypeVar("T")


class Sign:
    """A line with a moving mark and a clock on stderr, from `show` to `hide`. Both may come from any thread."""

    def __init__(self, what: str, total: int | None) -> None:
        self._what, self._total, self._done = what, total, 0
        self._lock, self._over = threading.Lock(), False
        self._stop: Callable[[], None] = lambda: None
        self._tell: Callable[[int], None] = lambda done: None

    def show(self) -> None:
        """Once; nothing after `hide`."""
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

        counted = (BarColumn(), MofNCompleteColumn()) if self._total is not None else ()
        columns = (SpinnerColumn(), TextColumn("{task.description}"), *counted, TimeElapsedColumn())
        progress = Progress(*columns, console=Console(stderr=True), transient=True)
        with self._lock:
            if self._over:
                return
            task = progress.add_task(self._what, total=self._total, completed=self._done)
            progress.start()
            self._stop = progress.stop
            self._tell = lambda done: progress.update(task, completed=done)

    def advance(self) -> None:
        with self._lock:
            self._done += 1
            self._tell(self._done)

    def hide(self) -> None:
        with self._lock:
            self._over = True
            self._stop()


@contextmanager
def waiting(what: str, quiet: bool = False, total: int | None = None) -> Iterator[Sign]:
    """Shows what is going on once it has taken `WAIT_S`, with a clock and, of a `total`, a bar; gone at the end.

    Nothing where there is no terminal, or with `quiet`.
    """
    sign = Sign(what, total)
    if quiet or not sys.stderr.isatty():
        yield sign
        return
    timer = threading.Timer(WAIT_S, sign.show)
    timer.daemon = True
    timer.start()
    try:
        yield sign
    finally:
        timer.cancel()
        sign.hide()


def each(items: Iterable[T], what: str, quiet: bool = False) -> Iterator[T]:
    """The items one by one, with a bar if it takes long."""
    held = list(items)
    with waiting(what, quiet, len(held)) as sign:
        for item in held:
            yield item
            sign.advance()
