"""Pay for what evaluators say the work was worth. Knows scores; knows nothing of how they came about.

A member's score of a window is the lower median of its evaluators' scores, in millionths, so that fewer than half of
them cannot set it. shares = score, or 0 below `floor`; the window's supply is split in proportion, by largest
remainder. A member that no evaluator was drawn for has no score and no share. If nobody has a share, nothing is
issued.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from p2pfl.core.ids import NodeId
from p2pfl.ledger.outcome.rules import Window, split
from p2pfl.ledger.outcome.state import State


@dataclass(frozen=True, slots=True)
class Score:
    """`floor`: the least score that is paid, in millionths."""

    name: ClassVar[str] = "score"
    floor: int = 1

    def __call__(self, state: State, window: Window) -> Mapping[NodeId, int]:
        return split(window.supply, paid_scores(window, self.floor))

    def reasons(self, state: State, window: Window, node: NodeId) -> list[str]:
        lines = [score_line(window, node, self.floor)]
        shares = paid_scores(window, self.floor)
        if node in shares:
            lines.append(split_line(window.supply, shares, node, "of all scores that are paid"))
        return lines


def paid_scores(window: Window, floor: int) -> dict[NodeId, int]:
    """The scores of members that are `floor` or more, by key."""
    members = set(window.members)
    return {node: score for node, score in sorted(window.scores.items()) if node in members and score >= max(floor, 1)}


def score_line(window: Window, node: NodeId, floor: int) -> str:
    """What its score is, and whether it counts."""
    if node not in window.scores:
        return "it was not scored in this window: nothing counts"
    score = window.scores[node]
    said = f"its score, the median of its evaluators', is {score} millionths"
    if score < max(floor, 1):
        return f"{said}, below the least of {floor}: nothing counts"
    return said


def split_line(supply: int, shares: Mapping[NodeId, int], node: NodeId, of_what: str) -> str:
    """How its share of the supply comes about; ends with the number of credits."""
    total, paid = sum(shares.values()), split(supply, shares)[node]
    floor = supply * shares[node] // total
    rounding = ", and 1 more of what rounding left over (largest remainder)" if paid > floor else ""
    return f"{shares[node]} of {total} {of_what}, of {supply} credits: {floor}{rounding}: {paid}"
