"""What is known of a network at this moment, from whatever its nodes told. Knows names and numbers; no file, no socket.

The newest word counts. A history keeps at most `POINTS_MAX` points a node; when it is full every other one goes, so a
long run is drawn as well as a short one.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

POINTS_MAX = 400
NODES_MAX = 20_000

Point = list[float]
"""Seconds, round, accuracy, loss, bytes sent."""


@dataclass(eq=False)
class Card:
    """One node. state: "starting", "training", "done", "silent" (nothing heard lately) or "gone" (does not answer)."""

    name: str
    key: str = ""
    state: str = "starting"
    seconds: float = 0.0
    round: int = 0
    rounds: int = 0
    accuracy: float | None = None
    loss: float | None = None
    bytes_sent: int = 0
    bytes_received: int = 0
    epsilon: float | None = None
    own_accuracy: float | None = None
    refused: int = 0
    why: str = ""
    history: list[Point] = field(default_factory=list)

    def point(self) -> None:
        """It has just been judged."""
        assert self.accuracy is not None
        new = [round(self.seconds, 2), self.round, self.accuracy, self.loss or 0.0, self.bytes_sent]
        if self.history and self.history[-1][1] == new[1]:
            self.history[-1] = new
            return
        self.history.append(new)
        if len(self.history) > POINTS_MAX:
            self.history = [*self.history[:-1:2], self.history[-1]]

    def row(self) -> dict[str, Any]:
        fields = ("name", "key", "state", "seconds", "round", "rounds", "accuracy", "loss", "bytes_sent")
        more = ("bytes_received", "epsilon", "own_accuracy", "refused", "why")
        return {name: getattr(self, name) for name in (*fields, *more)}


class Board:
    """`title` says where it all comes from. `version` grows with every change."""

    def __init__(self, title: str) -> None:
        self.title, self.version = title, 0
        self.cards: dict[str, Card] = {}
        self._edges: dict[tuple[str, str], int] = {}
        self._names: dict[str, str] = {}  # the first hex digits of a key -> name

    def introduce(self, name: str, key: str) -> Card:
        """A node with its key (hex), once known."""
        card = self.cards.get(name)
        if card is None:
            if len(self.cards) >= NODES_MAX:
                raise ValueError(f"expected at most {NODES_MAX} nodes")
            card = self.cards[name] = Card(name)
            self.version += 1
        if key and not card.key:
            card.key = key
            self._names[key[:8]] = name
        return card

    def tell(self, name: str, state: str | None = None, **fields: Any) -> None:
        """Some of a Card's fields; None leaves what is known."""
        card = self.introduce(name, "")
        before = (card.state, card.round, card.accuracy, card.own_accuracy, card.bytes_sent, card.why)
        for key, value in fields.items():
            if value is not None:
                setattr(card, key, value)
        card.state = state or card.state
        if fields.get("accuracy") is not None:
            card.point()
        if before != (card.state, card.round, card.accuracy, card.own_accuracy, card.bytes_sent, card.why):
            self.version += 1

    def link(self, one: str, other: str, exchanges: int = 0) -> None:
        """They are neighbours, and have exchanged so often at least. Names, or keys by their first hex digits."""
        a, b = (self._names.get(end[:8], end) for end in (one, other))
        if a == b or a not in self.cards or b not in self.cards:
            return
        pair = (min(a, b), max(a, b))
        if pair not in self._edges or exchanges > self._edges[pair]:
            self._edges[pair] = exchanges
            self.version += 1

    def met(self, one: str, others: Iterable[str]) -> None:
        """`one` has just mixed in these models."""
        for other in others:
            name = self._names.get(other[:8], other)
            pair = (min(one, name), max(one, name))
            self.link(one, name, self._edges.get(pair, 0) + 1)

    def snapshot(self, known: Mapping[str, float] | None = None) -> dict[str, Any]:
        """For a page. known: the last round that it has points of, by node; earlier ones are not told again."""
        known = known or {}
        cards = [self.cards[name] for name in sorted(self.cards, key=_natural)]
        judged = [card.accuracy for card in cards if card.accuracy is not None]
        return {
            "title": self.title,
            "version": self.version,
            "mean_accuracy": sum(judged) / len(judged) if judged else None,
            "bytes_sent": sum(card.bytes_sent for card in cards),
            "nodes": [card.row() for card in cards],
            "edges": [[a, b, count] for (a, b), count in sorted(self._edges.items())],
            "history": {
                card.name: [point for point in card.history if point[1] >= known.get(card.name, -1)]
                for card in cards
                if card.history
            },
        }


def _natural(name: str) -> tuple[str, int, str]:
    """n2 before n10."""
    digits = len(name) - len(name.rstrip("0123456789"))
    return (name[: len(name) - digits], int(name[len(name) - digits :] or 0), name)
