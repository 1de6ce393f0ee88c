"""The table of `p2pfl top`: columns, order, what a key does. Knows a board and numbers; no terminal, no socket.

What nodes say is text here, never markup or control characters (web/plain.py, rich.text.Text).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from p2pfl.cli.live import bytes_text
from p2pfl.web.board import Board, Card, natural

AWAY = ("gone", "silent")
SMOOTH = 0.5
"""Of a rate: how much of it is the newest."""
FRAME = 5
"""Lines that are not rows: two above the table, its head, and two below."""
KEYS = "q quit   s sort by the next column   S the one before   r reverse   arrows, PgUp, PgDn move   home"


class Rates:
    """Bytes a second of each node, sent and received, from what it says from look to look."""

    def __init__(self) -> None:
        self._seen: dict[str, tuple[float, int]] = {}
        self._rates: dict[str, float] = {}

    def take(self, board: Board, now: float) -> None:
        for name, card in board.cards.items():
            total = card.bytes_sent + card.bytes_received
            before_s, before = self._seen.get(name, (now, total))
            self._seen[name] = (now, total)
            if now > before_s:
                fresh = max(0, total - before) / (now - before_s)
                known = self._rates.get(name)
                self._rates[name] = fresh if known is None else SMOOTH * fresh + (1 - SMOOTH) * known

    def of(self, name: str) -> float | None:
        """None before the second look."""
        return self._rates.get(name)


@dataclass(frozen=True, slots=True)
class Column:
    """`text` of a card and its rate; `by`: what it is sorted by. `wide`: characters that it takes at most."""

    title: str
    wide: int
    text: Callable[[Card, float | None], str]
    by: Callable[[Card, float | None], Any]
    number: bool = True


def _or(value: float | None, text: Callable[[float], str]) -> str:
    return "-" if value is None else text(value)


def _least(value: float | None) -> float:
    return -1.0 if value is None else value


COLUMNS: tuple[Column, ...] = (
    Column("node", 20, lambda c, r: c.name, lambda c, r: natural(c.name), number=False),
    Column("state", 9, lambda c, r: c.state, lambda c, r: c.state, number=False),
    Column("round", 11, lambda c, r: f"{c.round}/{c.rounds}" if c.rounds else str(c.round), lambda c, r: c.round),
    Column("accuracy", 8, lambda c, r: _or(c.accuracy, lambda v: f"{v:.1%}"), lambda c, r: _least(c.accuracy)),
    Column("bytes/s", 9, lambda c, r: _or(r, bytes_text), lambda c, r: _least(r)),
    Column("a round", 8, lambda c, r: _or(c.round_s, _seconds), lambda c, r: _least(c.round_s)),
    Column("late", 5, lambda c, r: str(c.late), lambda c, r: c.late),
    Column("refused", 7, lambda c, r: str(c.refused), lambda c, r: c.refused),
    Column("height", 6, lambda c, r: _or(c.height, str), lambda c, r: _least(c.height)),
    Column("loss", 7, lambda c, r: _or(c.loss, lambda v: f"{v:.3f}"), lambda c, r: _least(c.loss)),
    Column("distance", 8, lambda c, r: _or(c.apart, lambda v: f"{v:.3f}"), lambda c, r: _least(c.apart)),
    Column("sent", 9, lambda c, r: bytes_text(c.bytes_sent), lambda c, r: c.bytes_sent),
    Column("why", 30, lambda c, r: c.why, lambda c, r: c.why, number=False),
)
"""The last ones go first where the terminal is narrow."""
TITLES = tuple(column.title for column in COLUMNS)


def _seconds(value: float) -> str:
    return f"{value * 1e3:.0f} ms" if value < 1 else f"{value:.1f} s" if value < 100 else f"{value / 60:.0f} min"


class Screen:
    """What is shown of a board. `press` takes keys; `done` after q."""

    def __init__(self, board: Board, rates: Rates, sort: str = "node", reverse: bool = False) -> None:
        self.board, self.rates = board, rates
        self.sort, self.reverse = TITLES.index(sort), reverse
        self.first, self.done = 0, False
        self._page = 10

    def press(self, key: str) -> None:
        """One of q, s, S, r, up, down, pgup, pgdn, home; others do nothing."""
        moves = {"up": -1, "down": 1, "pgup": -self._page, "pgdn": self._page, "home": -self.first}
        match key:
            case "q":
                self.done = True
            case "s" | "S":
                self.sort = (self.sort + (1 if key == "s" else -1)) % len(COLUMNS)
                self.first = 0
            case "r":
                self.reverse = not self.reverse
            case _ if key in moves:
                self.first = max(0, min(self.first + moves[key], len(self.board.cards) - self._page))

    def cards(self) -> list[Card]:
        """In the order that is asked for."""
        by = COLUMNS[self.sort].by
        cards = sorted(self.board.cards.values(), key=lambda card: natural(card.name))
        return sorted(cards, key=lambda card: by(card, self.rates.of(card.name)), reverse=self.reverse)

    def whole(self, width: int) -> RenderableType:
        """All rows, to be printed once."""
        return Group(self._summary(), self._table(self.cards(), width))

    def render(self, width: int, height: int) -> RenderableType:
        """As many rows as there is room for."""
        cards = self.cards()
        self._page = max(1, height - FRAME)
        self.first = max(0, min(self.first, len(cards) - self._page))
        shown = cards[self.first : self.first + self._page]
        place = f"{self.first + 1} to {self.first + len(shown)} of {len(cards)}" if cards else "nothing yet"
        foot = Text(f"{place}   sorted by {COLUMNS[self.sort].title}\n{KEYS}", style="dim", no_wrap=True)
        return Group(self._summary(), self._table(shown, width), foot)

    def told(self) -> dict[str, Any]:
        """For machines."""
        snapshot = self.board.snapshot()
        rows = [card.row() | {"bytes_per_s": self.rates.of(card.name)} for card in self.cards()]
        return {key: snapshot[key] for key in ("title", "mean_accuracy", "bytes_sent")} | {"nodes": rows}

    def _summary(self) -> Text:
        cards = list(self.board.cards.values())
        away = sum(card.state in AWAY for card in cards)
        judged = [card.accuracy for card in cards if card.accuracy is not None]
        rounds = [card.round for card in cards if card.state != "heard of"]
        known = [rate for card in cards if (rate := self.rates.of(card.name)) is not None]
        heights = [card.height for card in cards if card.height is not None]
        parts = [f"{len(cards) - away} of {len(cards)} nodes" if away else f"{len(cards)} nodes"]
        if rounds:
            parts.append(f"rounds {min(rounds)} to {max(rounds)}")
        if judged:
            parts.append(f"accuracy {sum(judged) / len(judged):.1%}, lowest {min(judged):.1%}")
        if known:
            parts.append(f"{bytes_text(sum(known))}/s")
        if heights:
            parts.append(f"ledger height {max(heights)}")
        title = Text(self.board.title, style="bold", no_wrap=True, overflow="ellipsis")
        return Text("\n").join([title, Text(" | ".join(parts), no_wrap=True, overflow="ellipsis")])

    def _table(self, cards: list[Card], width: int) -> Table:
        table = Table(box=None, pad_edge=False, header_style="bold", expand=False)
        shown = fitting(width)
        for index, column in enumerate(shown):
            arrow = (" ^" if self.reverse else " v") if index == self.sort else ""
            justify = "right" if column.number else "left"
            table.add_column(column.title + arrow, justify=justify, max_width=column.wide, no_wrap=True)  # type: ignore[arg-type]
        for card in cards:
            rate = self.rates.of(card.name)
            style = "red" if card.state in AWAY else "dim" if card.state in ("done", "heard of") else ""
            table.add_row(*(Text(column.text(card, rate), overflow="ellipsis") for column in shown), style=style)
        return table


def fitting(width: int) -> tuple[Column, ...]:
    """The first columns that there is room for; two at least."""
    used, count = 0, 0
    for column in COLUMNS:
        used += max(min(column.wide, 12), len(column.title) + 2) + 2
        if used > width and count >= 2:
            break
        count += 1
    return COLUMNS[:count]
