"""The windows of a final log as pages tell them: who did what in each, and what came of it. Knows the log; no page.

The log is played once; what has become final since is played on from there. Every height's state is computed anew and
compared with the root that the validators certified (`replay`), so a payout here is what the rule gives, not what a
node says.
"""

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import Field, dataclass, field, fields, is_dataclass

from p2pfl.core.ids import NodeId
from p2pfl.ledger.check.explain import Played, replay
from p2pfl.ledger.check.source import View
from p2pfl.ledger.feeds.describe import rule_text, summary
from p2pfl.ledger.feeds.entry import Entry
from p2pfl.ledger.outcome.rules import Pair, Rule, Window

ITEMS_MAX = 64
"""Entries of one author in one window that are told; there are rarely more than ten."""
WINDOWS_KEPT = 512
STEPS: Mapping[str, str] = {
    "update.commit": "committed",
    "delta.reveal": "revealed",
    "receipts": "receipts",
    "draw.salt": "scores",
    "score.commit": "scores",
    "score.reveal": "scores",
}
"""Kinds of entries by the step on the way from work to credits; all others are "other"."""


@dataclass(frozen=True, slots=True)
class Item:
    """An entry: where it stands in the log, and what it says in a line."""

    index: int
    height: int
    round: int
    kind: str
    id: bytes
    says: str

    @property
    def step(self) -> str:
        return STEPS.get(self.kind, "other")


@dataclass(eq=False)
class Told:
    """A window; `closed` once its last height is final. Who is paid stands in payouts, by key."""

    number: int
    first_height: int
    last_height: int = 0
    time_ms: int = 0
    supply: int = 0
    rule: str = ""
    closed: bool = False
    num_entries: int = 0
    payouts: Mapping[NodeId, int] = field(default_factory=dict)
    scores: Mapping[NodeId, int] = field(default_factory=dict)
    pairs: tuple[Pair, ...] = ()
    members: tuple[NodeId, ...] = ()
    items: dict[NodeId, list[Item]] = field(default_factory=dict)


class Chronicle:
    """Of one network's log. `follow` before anything is read."""

    def __init__(self) -> None:
        self.windows: OrderedDict[int, Told] = OrderedDict()
        self._network = b""
        self._last: Played | None = None

    def follow(self, view: View) -> None:
        """Play what has become final since. Raises ConfigError for a log whose states are not what they must be."""
        genesis = view.genesis
        if genesis.digest != self._network or not self._continues(view):
            self._network, self._last = genesis.digest, None
            self.windows = OrderedDict({0: Told(0, 1, genesis.window)})
        for played in replay(view, after=self._last):
            self._take(played, genesis.window)
            self._last = played

    def _continues(self, view: View) -> bool:
        if self._last is None:
            return True
        height = self._last.block.height
        return view.height >= height and view.block(height).hash == self._last.block.hash

    def _take(self, played: Played, heights: int) -> None:
        now = next(reversed(self.windows.values()))
        now.time_ms = played.block.header.time_ms
        now.num_entries += len(played.entries)
        for index, entry in enumerate(played.entries, played.block.header.first_index):
            items = now.items.setdefault(entry.author, [])
            if len(items) < ITEMS_MAX:
                items.append(_item(entry, index, played.block.height))
        settlement = played.outcome.settlement
        if settlement is None:
            return
        _close(now, settlement.window)
        now.payouts = dict(settlement.payouts)
        now.rule = _rule(settlement.rule)
        following = Told(now.number + 1, now.last_height + 1, now.last_height + heights)
        self.windows[following.number] = following
        while len(self.windows) > WINDOWS_KEPT:
            self.windows.popitem(last=False)


def _close(told: Told, window: Window) -> None:
    told.closed, told.number = True, window.number
    told.first_height, told.last_height = window.first_height, window.last_height
    told.supply, told.pairs, told.scores = window.supply, window.pairs, dict(window.scores)
    told.members = window.members


def _rule(rule: Rule) -> str:
    named: tuple[Field[int], ...] = fields(rule) if is_dataclass(rule) else ()
    return rule_text(rule.name, tuple((f.name, getattr(rule, f.name)) for f in named))


def _item(entry: Entry, index: int, height: int) -> Item:
    return Item(index, height, entry.round, entry.kind, entry.id, summary(entry))
