"""The ledger that a dashboard's explorer reads: of a run's folder, or of a running node. Writes nothing."""

import re
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager

from p2pfl.cli.ledger_forks import faults_told
from p2pfl.cli.sources import SCHEMES
from p2pfl.core.ids import NodeId
from p2pfl.errors import ConfigError, P2PFLError
from p2pfl.ledger.check.source import View
from p2pfl.runs.books import Ledger, UrlSource, read_ledger
from p2pfl.web.board import Board
from p2pfl.web.explorer import Explorer

KEPT_BYTES = 64 << 20
CHOSEN_S = 20.0
CHANGING = ("tip", "state", "id", "checkpoint")
"""Pieces that may be different the next time."""
Names = Callable[[], dict[str, str]]
"""What nodes are called, with their keys in hex."""


def make_explorer(sources: Sequence[str], names: Names) -> Explorer:
    """Of the first source that has a ledger: run folders, files, or addresses of nodes."""
    books = [Remote(source, names) if source.startswith(SCHEMES) else Local(source) for source in sources]

    @contextmanager
    def opened() -> Iterator[Ledger]:
        with ExitStack() as stack:
            yield _first(books, stack)

    return Explorer(opened, faults_told)


def _first(books: Sequence["Remote | Local"], stack: ExitStack) -> Ledger:
    problem: P2PFLError = ConfigError("there is no ledger to read here")
    for book in books:
        try:
            return book.open(stack)
        except P2PFLError as error:
            problem = error
    raise problem


class Local:
    """A run's folder. Of several nodes the one that is farthest is read, and chosen again now and then."""

    def __init__(self, source: str, now: Callable[[], float] = time.monotonic) -> None:
        self._source, self._now = source, now
        self._chosen, self._until = "", 0.0

    def open(self, stack: ExitStack) -> Ledger:
        if self._chosen and self._now() < self._until:
            return stack.enter_context(read_ledger(self._chosen))
        ledger = stack.enter_context(read_ledger(self._source))
        self._chosen, self._until = str(ledger.path or self._source), self._now() + CHOSEN_S
        return ledger


class Remote:
    """A running node."""

    def __init__(self, url: str, names: Names) -> None:
        self._source, self._names = Remembered(UrlSource(url)), names

    def open(self, stack: ExitStack) -> Ledger:
        view = View(self._source)
        if not view.height and self._source.get("genesis") is None:
            raise ConfigError(f"{self._source.name}: this node serves no ledger")
        names = {name: NodeId(bytes.fromhex(key)) for name, key in self._names().items()}
        return Ledger(self._source.name, view, names, None)


class Remembered:
    """A node's pieces; those that never change are asked for once. The oldest go when they are too many."""

    def __init__(self, source: UrlSource, limit: int = KEPT_BYTES) -> None:
        self.name, self._source, self._limit, self._size = source.name, source, limit, 0
        self._kept: OrderedDict[str, bytes] = OrderedDict()

    def get(self, what: str) -> bytes | None:
        """Raises HostError if the node does not answer."""
        if what in self._kept:
            return self._kept[what]
        piece = self._source.get(what)
        if piece is not None and what.partition("/")[0] not in CHANGING and len(piece) <= self._limit:
            self._kept[what] = piece
            self._size += len(piece)
            while self._size > self._limit:
                self._size -= len(self._kept.popitem(last=False)[1])
        return piece


def names_of(board: Board) -> Names:
    """As the board calls them."""

    def names() -> dict[str, str]:
        cards = list(board.cards.values())
        return {card.name: card.key for card in cards if re.fullmatch("[0-9a-f]{64}", card.key)}

    return names
