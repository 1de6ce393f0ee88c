"""Pay by score times standing: slow to gain, quick to lose. Knows scores, lapses and the row `reputation`.

A reputation r is 0 to 1,000,000; a member without one begins at `prior`. The window is paid with the reputation from
before it: shares = score * r, by largest remainder. Then r moves toward what the window showed:

    target = 1,000,000 * min(1, score / M), M the lower median of the positive scores; 0 for a score of nothing or less
    r     += gain * (target - r) / 1,000,000     if that is more
    r     -= loss * (r - target) / 1,000,000     if it is less; rounded against the member both times
    r    //= 2                                   for each lapse: a seal opened falsely, or never

A member that was not scored keeps its own, but for lapses. So a newcomer, or an old member under a new key, earns a
tenth of what it would, and to win trust and to betray it does not pay: with the defaults, what one window loses takes
many to regain.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from p2pfl.core.ids import NodeId
from p2pfl.errors import ConfigError
from p2pfl.ledger.outcome.rules import Lapses, Window
from p2pfl.ledger.outcome.rules.score import (
    FLOOR,
    WHOLE,
    Due,
    check_parts,
    due_line,
    paid_scores,
    pay,
    pay_lines,
    score_line,
)
from p2pfl.ledger.outcome.state import State


@dataclass(frozen=True, slots=True)
class Reputation:
    """All in millionths. `prior`: of a newcomer. `gain`, `loss`: the part of the way that one window goes.

    `floor`, `full`, `evaluators`: as in the rule `score`; what a window pays hangs on the scores alone.
    """

    name: ClassVar[str] = "reputation"
    prior: int = 100_000
    gain: int = 100_000
    loss: int = 500_000
    floor: int = FLOOR
    full: int = WHOLE
    evaluators: int = 50_000

    def __post_init__(self) -> None:
        check_parts(self, "prior", "gain", "loss", "evaluators")
        if self.gain > self.loss:
            raise ConfigError(f"reputation.gain: expected at most the loss of {self.loss}, got {self.gain}")

    def __call__(self, state: State, window: Window) -> Mapping[NodeId, int]:
        return pay(state, window, self.due(window), self.shares(state, window))

    def due(self, window: Window) -> Due:
        """What the window pays."""
        return Due.of(window, paid_scores(window, self.floor), self.full, self.evaluators)

    def shares(self, state: State, window: Window) -> dict[NodeId, int]:
        """Score times reputation, of those that have both."""
        shares = {node: score * self.of(state, node) for node, score in paid_scores(window, self.floor).items()}
        return {node: share for node, share in shares.items() if share}

    def of(self, state: State, node: NodeId) -> int:
        """The reputation before this window."""
        value = state.get("reputation", node)
        return self.prior if value is None else state.number("reputation", node)

    def reputations(self, state: State, window: Window) -> Mapping[NodeId, int]:
        level = _level(window)
        return {node: self.next(state, window, node, level) for node in window.members}

    def next(self, state: State, window: Window, node: NodeId, level: int) -> int:
        """The reputation after this window."""
        value = self.of(state, node)
        if node in window.scores:
            target = WHOLE * min(max(window.scores[node], 0), level) // level
            if target >= value:
                value += self.gain * (target - value) // WHOLE
            else:
                value -= -(-self.loss * (value - target) // WHOLE)
        return value >> sum(window.lapses.get(node, Lapses()))

    def reasons(self, state: State, window: Window, node: NodeId) -> list[str]:
        before, after = self.of(state, node), self.next(state, window, node, _level(window))
        lines = [score_line(window, node, self.floor)]
        begins = " (where everybody begins)" if state.get("reputation", node) is None else ""
        lapses = sum(window.lapses.get(node, Lapses()))
        halved = f", halved for each of {lapses} lapses" if lapses else ""
        lines.append(f"its reputation was {before} millionths{begins}, and is {after} after this window{halved}")
        lines.append(due_line(window, paid_scores(window, self.floor), self.full))
        shares = self.shares(state, window)
        return lines + pay_lines(state, window, node, self.due(window), shares, "of all scores times reputations")


def _level(window: Window) -> int:
    """The score that earns full trust: the lower median of those above zero."""
    positive = sorted(paid_scores(window, 1).values())
    return positive[(len(positive) - 1) // 2] if positive else 1
