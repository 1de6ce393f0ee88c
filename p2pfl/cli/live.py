"""Live progress of one or many nodes: a table in a terminal, a line now and then elsewhere. Knows outcomes only."""

import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from types import TracebackType

from rich.console import Console
from rich.live import Live
from rich.progress import Progress
from rich.progress_bar import ProgressBar
from rich.table import Table

from p2pfl.runs.outcome import Outcome


def bytes_text(count: float) -> str:
    """1234567 -> '1.2 MB'; powers of 1000, as on the wire."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000 or unit == "GB":
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    raise AssertionError


class LiveTable:
    """A context in which `update` may be called as often as one likes; it draws four times a second at most."""

    def __init__(self, outcomes: Iterable[Outcome], title: str, quiet: bool = False) -> None:
        self._outcomes = list(outcomes)
        self._title = title
        self._console = Console(stderr=True)
        self._on = not quiet and sys.stderr.isatty()
        self._live = Live(console=self._console, refresh_per_second=4, get_renderable=self._table, transient=True)

    def __enter__(self) -> "LiveTable":
        if self._on:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._on:
            self._live.stop()

    def say(self, text: str) -> None:
        """A line above the table; on its own where there is no terminal."""
        self._console.print(text, highlight=False)

    def _table(self) -> Table:
        table = Table(title=self._title, title_justify="left", box=None, pad_edge=False, header_style="bold")
        table.add_column("node")
        table.add_column("progress", width=24)
        for name in ("round", "loss", "accuracy", "sent", "peers", "refused"):
            table.add_column(name, justify="right")
        for outcome in self._outcomes:
            table.add_row(*self._row(outcome))
        return table

    @staticmethod
    def _row(outcome: Outcome) -> tuple[str | ProgressBar, ...]:
        accuracy = outcome.accuracy
        return (
            outcome.name,
            ProgressBar(total=max(outcome.rounds, 1), completed=outcome.round, width=24),
            f"{outcome.round}/{outcome.rounds}" if outcome.rounds else "starting",
            "" if outcome.loss is None else f"{outcome.loss:.3f}",
            "" if accuracy is None else f"{accuracy:.3f}",
            bytes_text(outcome.traffic.get("bytes_sent", 0)),
            str(outcome.peers) if outcome.rounds else "",
            str(outcome.refused) if outcome.refused else "",
        )


@contextmanager
def counting(title: str, quiet: bool) -> Iterator[Callable[[int, int], None]]:
    """A progress bar fed with (done, of); nothing where there is no terminal."""
    if quiet or not sys.stderr.isatty():
        yield lambda done, of: None
        return
    with Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(title, total=None)
        yield lambda done, of: progress.update(task, completed=done, total=of)
