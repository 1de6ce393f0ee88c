"""Pay by score those who answer for it with credits of their own. Knows scores, lapses and stakes.

Like `score`, for members with `need` credits at stake; what is on release does not count as that, and can be fined
all the same. For each lapse a part of what a member has at stake is burned: `bad_reveal` for a seal opened falsely,
`withheld` for one never opened. Who is convicted of a fork or a double vote loses all of it, under any rule.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from p2pfl.core.ids import NodeId
from p2pfl.ledger.outcome.rules import Window
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
class Staked:
    """`need`: credits at stake to be paid. `bad_reveal`, `withheld`: millionths of the stake, for each.

    `floor`, `full`, `evaluators`: as in the rule `score`.
    """

    name: ClassVar[str] = "stake"
    need: int = 1000
    bad_reveal: int = 100_000
    withheld: int = 20_000
    floor: int = FLOOR
    full: int = WHOLE
    evaluators: int = 50_000

    def __post_init__(self) -> None:
        check_parts(self, "bad_reveal", "withheld", "evaluators")

    def __call__(self, state: State, window: Window) -> Mapping[NodeId, int]:
        shares = self.shares(state, window)
        return pay(state, window, Due.of(window, shares, self.full, self.evaluators), shares)

    def shares(self, state: State, window: Window) -> dict[NodeId, int]:
        """The scores of those with enough at stake."""
        scores = paid_scores(window, self.floor)
        return {node: score for node, score in scores.items() if state.number("stake", node) >= self.need}

    def fines(self, state: State, window: Window) -> Mapping[NodeId, int]:
        """At most all that they have at stake, rounded up."""
        return {
            node: -(-state.number("stake", node) * min(WHOLE, self._rate(*lapses)) // WHOLE)
            for node, lapses in sorted(window.lapses.items())
        }

    def _rate(self, bad_reveals: int, withheld: int) -> int:
        return bad_reveals * self.bad_reveal + withheld * self.withheld

    def reasons(self, state: State, window: Window, node: NodeId) -> list[str]:
        has = state.number("stake", node)
        lines = [score_line(window, node, self.floor)]
        if node in window.lapses:
            bad, withheld = window.lapses[node]
            fine = self.fines(state, window)[node]
            lines.append(
                f"{bad} seals opened falsely and {withheld} never: {fine} credits of its {has} at stake are burned"
            )
        shares = self.shares(state, window)
        lines.append(due_line(window, shares, self.full))
        if has < self.need:
            lines.append(f"it has {has} credits at stake, and {self.need} are needed to be paid for work")
        due = Due.of(window, shares, self.full, self.evaluators)
        return lines + pay_lines(state, window, node, due, shares, "of all scores that are paid")
