"""Pay for what evaluators say the work was worth, and them for saying it. Knows scores, not how they came about.

A member's score is the lower median of its evaluators' scores, in millionths, so that fewer than half of them cannot
set it. Of the window's supply the part `evaluators` goes to those who revealed scores in time, in proportion to their
standing; the rest is split in shares = score, or 0 below `floor`; both by largest remainder. A member that no evaluator
was drawn for has no score and no share. What nobody has a share of is not issued.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from p2pfl.core.ids import NodeId
from p2pfl.errors import ConfigError
from p2pfl.ledger.outcome.draw import standing_of
from p2pfl.ledger.outcome.rules import Rule, Window, split
from p2pfl.ledger.outcome.state import State

WHOLE = 1_000_000


@dataclass(frozen=True, slots=True)
class Score:
    """`floor`: the least score that is paid. `evaluators`: their part of the supply. Both in millionths."""

    name: ClassVar[str] = "score"
    floor: int = 1
    evaluators: int = 50_000

    def __post_init__(self) -> None:
        check_parts(self, "evaluators")

    def __call__(self, state: State, window: Window) -> Mapping[NodeId, int]:
        return pay(state, window, self.evaluators, paid_scores(window, self.floor))

    def reasons(self, state: State, window: Window, node: NodeId) -> list[str]:
        shares = paid_scores(window, self.floor)
        parts = pay_lines(state, window, node, self.evaluators, shares, "of all scores that are paid")
        return [score_line(window, node, self.floor), *parts]


def check_parts(rule: Rule, *names: str) -> None:
    """Raises ConfigError unless these parameters are 1 to 1,000,000 millionths."""
    for name in names:
        if not 0 < getattr(rule, name) <= WHOLE:
            raise ConfigError(f"{rule.name}.{name}: expected 1 to {WHOLE} millionths, got {getattr(rule, name)}")


def pay(state: State, window: Window, part: int, shares: Mapping[NodeId, int]) -> dict[NodeId, int]:
    """`part` millionths of the supply to the evaluators, if there are any, and the rest by `shares`."""
    pot, weights = _pot(state, window, part)
    paid = split(window.supply - pot, shares)
    for node, credits in split(pot, weights).items():
        paid[node] = paid.get(node, 0) + credits
    return paid


def pay_lines(
    state: State, window: Window, node: NodeId, part: int, shares: Mapping[NodeId, int], of_what: str
) -> list[str]:
    """How its credits come about; the last line ends with their number, if it gets any."""
    pot, weights = _pot(state, window, part)
    lines = []
    if node in weights:
        lines.append(split_line(pot, weights, node, "of all evaluators' standing, for the scores that it revealed"))
    if node in shares:
        lines.append(split_line(window.supply - pot, shares, node, of_what))
    if len(lines) == 2:
        lines.append(f"together: {pay(state, window, part, shares)[node]}")
    return lines


def _pot(state: State, window: Window, part: int) -> tuple[int, dict[NodeId, int]]:
    """What is for evaluators, and by what it is split."""
    members = set(window.members)
    weights = {node: standing_of(state, node)[0] for node in sorted(window.evaluators) if node in members}
    return (window.supply * part // WHOLE if weights else 0), weights


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
