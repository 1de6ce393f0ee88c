"""What is known of a network at this moment, from whatever its nodes told. Knows names and numbers; no file, no socket.

The newest word counts. `version` grows with every change, and a page that has seen version v is told what is newer
(`snapshot(v)`), so that a thousand nodes cost a page what a few of them have to say. Everything is bounded: nodes,
points of a curve, refusals, texts (plain.py).
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from p2pfl.web import plain
from p2pfl.web.curves import Track, points_for

NODES_MAX = 20_000
LINES_MAX = 256
REFUSALS_MAX = 4096
STATES = ("heard of", "starting", "training", "done", "silent", "gone")
FIRST_DIGITS = 8
"""Of a key, as nodes shorten it."""


@dataclass(eq=False)
class Card:
    """One node. state: one of STATES; "heard of": others name it, "silent": nothing lately, "gone": does not answer.

    seconds: by the clock of who tells it, from the beginning. apart: how far its model was from its neighbours', half
    of the mean L2 distance at its last exchanges. height: of its ledger. member: as the members see it.
    """

    name: str
    key: str = ""
    state: str = "starting"
    seconds: float = 0.0
    round: int = 0
    rounds: int = 0
    round_s: float | None = None
    accuracy: float | None = None
    loss: float | None = None
    apart: float | None = None
    bytes_sent: int = 0
    bytes_received: int = 0
    epsilon: float | None = None
    own_accuracy: float | None = None
    budget: float | None = None
    releases: int | None = None
    planned: int | None = None
    refused: int = 0
    late: int = 0
    height: int | None = None
    member: str = ""
    why: str = ""
    version: int = 0
    judged: Track = field(default_factory=lambda: Track(5))
    """Seconds, round, accuracy, loss, bytes sent."""

    course: Track = field(default_factory=lambda: Track(4))
    """Seconds, round, bytes sent, apart."""

    lines: dict[str, dict[str, Any]] = field(default_factory=dict)
    """What it says of each neighbour, by name."""

    def row(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in ("name", "key", *FIELDS)}


FIELDS: Mapping[str, Callable[[object], Any]] = {
    "state": lambda value: value if value in STATES else None,
    "seconds": plain.real,
    "round": plain.whole,
    "rounds": plain.whole,
    "round_s": plain.real,
    "accuracy": plain.real,
    "loss": plain.real,
    "apart": plain.real,
    "own_accuracy": plain.real,
    "bytes_sent": plain.whole,
    "bytes_received": plain.whole,
    "epsilon": plain.real,
    "budget": plain.real,
    "releases": plain.whole,
    "planned": plain.whole,
    "refused": plain.whole,
    "late": plain.whole,
    "height": plain.whole,
    "member": plain.text,
    "why": plain.text,
}


@dataclass(eq=False, slots=True)
class Edge:
    """`exchanges` so often; `met`: the last time, in the seconds of who told it, or None."""

    exchanges: int = 0
    met: float | None = None
    version: int = 0


class Board:
    """`title` says where it all comes from."""

    def __init__(self, title: str) -> None:
        self.title, self.version = title, 0
        self.whole_since = 0  # a page that is older than this is told everything: names have changed
        self.cards: dict[str, Card] = {}
        self._edges: dict[tuple[str, str], Edge] = {}
        self._names: dict[str, str] = {}  # the first hex digits of a key -> name
        self._refusals: dict[tuple[str, str, str], int] = {}

    # ------------------------------------------------------------------------------------------ who there is

    def introduce(self, name: str, key: str = "", state: str = "starting") -> Card:
        """A node with its key (hex), once known. A name that another key has already is told apart by the key.

        Of more than NODES_MAX nodes the later ones are not kept.
        """
        name, key = plain.name(name) or "?", (plain.text(key, 64) or "").lower()
        known = self._names.get(key[:FIRST_DIGITS]) if key else None
        card = self.cards.get(known or name)
        if card is not None and key and card.key and card.key != key:
            name = f"{name} {key[:FIRST_DIGITS]}"
            card = self.cards.get(name)
        if card is None:
            card = Card(name, state=state)
            if len(self.cards) >= NODES_MAX:
                return card
            self.cards[name] = card
            self._changed(card)
        if key and not card.key:
            card.key = key
            self._names.setdefault(key[:FIRST_DIGITS], card.name)
            self._changed(card)
        return card

    def rename(self, old: str, new: str) -> None:
        """A node that was only heard of has said its name. Its edges go with it."""
        card = self.cards.get(old)
        if card is None or new in self.cards or not plain.name(new):
            return
        del self.cards[old]
        card.name = plain.name(new) or old
        self.cards[card.name] = card
        self._names = {digits: card.name if name == old else name for digits, name in self._names.items()}
        moved = {pair: edge for pair, edge in self._edges.items() if old in pair}
        for (a, b), edge in moved.items():
            del self._edges[a, b]
            self._edges[_pair(*(card.name if end == old else end for end in (a, b)))] = edge
        for other in self.cards.values():
            if old in other.lines:
                other.lines[card.name] = other.lines.pop(old)
        self._refusals = {
            (card.name if by == old else by, card.name if of == old else of, why): times
            for (by, of, why), times in self._refusals.items()
        }
        self.version += 1
        self.whole_since = self.version

    def forget(self, name: str) -> None:
        """An address that has turned out to be a node of another name."""
        if self.cards.pop(name, None) is not None:
            self.version += 1
            self.whole_since = self.version

    def name_of(self, who: str) -> str:
        """By its name, or by the first hex digits of its key."""
        return self._names.get(who[:FIRST_DIGITS].lower(), who)

    # ------------------------------------------------------------------------------------------ what they say

    def tell(self, name: str, **fields: object) -> None:
        """Some of a Card's FIELDS; None, and what cannot be, leaves what is known."""
        card, moved = self.introduce(name), False
        for key, value in fields.items():
            said = None if value is None else FIELDS[key](value)
            if said is not None and getattr(card, key) != said:
                setattr(card, key, said)
                moved = moved or key != "seconds"
        if moved:
            self._changed(card)
        if moved and plain.real(fields.get("accuracy")) is not None:
            point = [round(card.seconds, 2), card.round, card.accuracy, card.loss, card.bytes_sent]
            card.judged.add(point, self.version, self._points)
        if moved and "apart" in fields:
            card.course.add(
                [round(card.seconds, 2), card.round, card.bytes_sent, card.apart], self.version, self._points
            )

    def line(self, name: str, peer: str, **fields: object) -> None:
        """What `name` says of its line to a neighbour: real numbers by name."""
        card, other = self.introduce(name), self.name_of(peer)
        if len(card.lines) < LINES_MAX or other in card.lines:
            said = {key: plain.real(value) for key, value in fields.items()}
            card.lines.setdefault(other, {}).update({key: value for key, value in said.items() if value is not None})

    def link(self, one: str, other: str, exchanges: object = 0, met: float | None = None) -> None:
        """They are neighbours, and have exchanged so often at least. Names, or keys by their first hex digits."""
        a, b = self.name_of(one), self.name_of(other)
        if a == b or a not in self.cards or b not in self.cards:
            return
        edge, count = self._edges.get(_pair(a, b)), plain.whole(exchanges) or 0
        if edge is None or count > edge.exchanges:
            edge = edge or Edge()
            edge.exchanges, edge.met = max(count, edge.exchanges), met if met is not None else edge.met
            self.version += 1
            edge.version = self.version
            self._edges[_pair(a, b)] = edge

    def met(self, one: str, others: Iterable[str], at: float | None = None) -> None:
        """`one` has just mixed in these models."""
        for other in others:
            edge = self._edges.get(_pair(self.name_of(one), self.name_of(other)))
            self.link(one, other, (edge.exchanges if edge else 0) + 1, at)

    def exchanges(self, one: str, other: str) -> int:
        """So often as they say."""
        edge = self._edges.get(_pair(self.name_of(one), self.name_of(other)))
        return edge.exchanges if edge else 0

    def refusal(self, teller: str, about: str, code: object, count: int | None = None) -> None:
        """`teller` refused `about` for this reason once more, or `count` times in all."""
        key = (self.name_of(teller), self.name_of(about), plain.text(code, plain.NAME_CHARS_MAX) or "?")
        if key not in self._refusals and len(self._refusals) >= REFUSALS_MAX:
            return
        now = self._refusals.get(key, 0) + 1 if count is None else count
        if self._refusals.get(key) != now:
            self._refusals[key] = now
            self.version += 1

    # ------------------------------------------------------------------------------------------ for pages

    def snapshot(self, since: int = 0) -> dict[str, Any]:
        """What has changed since that version; everything for 0 (then `whole` is true)."""
        since = 0 if since < self.whole_since else since
        cards = sorted(self.cards.values(), key=lambda card: natural(card.name))
        judged = [card.accuracy for card in cards if card.accuracy is not None]
        return {
            "title": self.title,
            "version": self.version,
            "whole": since == 0,
            "seconds": max((card.seconds for card in cards), default=0.0),
            "mean_accuracy": sum(judged) / len(judged) if judged else None,
            "bytes_sent": sum(card.bytes_sent for card in cards),
            "nodes": [card.row() for card in cards if card.version > since],
            "edges": [
                [a, b, edge.exchanges, edge.met] for (a, b), edge in sorted(self._edges.items()) if edge.version > since
            ],
            "judged": {card.name: points for card in cards if (points := card.judged.since(since))},
            "course": {card.name: points for card in cards if (points := card.course.since(since))},
        }

    def detail(self, name: str) -> dict[str, Any] | None:
        """All that is known of one node: its card, its neighbours, who refused it and whom it refused."""
        card = self.cards.get(name)
        if card is None:
            return None
        near = []
        for (a, b), edge in sorted(self._edges.items(), key=lambda item: natural(item[0][0]) + natural(item[0][1])):
            if name in (a, b):
                other = b if a == name else a
                near.append({"name": other, "exchanges": edge.exchanges, "met": edge.met, **card.lines.get(other, {})})
        return {
            "version": self.version,
            "node": card.row(),
            "neighbours": near,
            "refusals": [row for row in self.refusals() if name in (row["by"], row["of"])],
        }

    def refusals(self) -> list[dict[str, Any]]:
        """Who refused whom, for what, how often: the most frequent first."""
        rows = [{"by": by, "of": of, "why": why, "times": times} for (by, of, why), times in self._refusals.items()]
        return sorted(rows, key=lambda row: (-int(str(row["times"])), str(row["by"]), str(row["of"]), str(row["why"])))

    # ------------------------------------------------------------------------------------------

    @property
    def _points(self) -> int:
        return points_for(len(self.cards))

    def _changed(self, card: Card) -> None:
        self.version += 1
        card.version = self.version


def natural(name: str) -> tuple[str, int, str]:
    """n2 before n10."""
    digits = name[len(name.rstrip("0123456789")) :][-15:]
    return (name[: len(name) - len(digits)], int(digits or 0), name)


def _pair(a: str, b: str) -> tuple[str, str]:
    return (min(a, b), max(a, b))
