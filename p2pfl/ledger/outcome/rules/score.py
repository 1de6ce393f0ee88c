"""Pay for what evaluators say the work was worth, and them for saying it. Knows scores, not how they came about.

A member's score is the lower median of its evaluators' scores, in millionths, so that fewer than half of them cannot
set it. Scores of a window are parts of what the network gained in it, so they say too what the window is worth: with T
the sum of the scores from `floor` on,

    paid = supply * min(T, full) / full, rounded down

Of that the part `evaluators` goes to those who revealed scores in time, in proportion to their standing; the rest is
split in shares = score; both by largest remainder. A member that no evaluator was drawn for has no score and no share.
What is not paid is not issued: a window in which nobody learned anything is worth nothing to anybody.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

from p2pfl.core.ids import NodeId
from p2pfl.errors import ConfigError
from p2pfl.ledger.outcome.draw import standing_of
from p2pfl.ledger.outcome.rules import Rule, Window, split
from p2pfl.ledger.outcome.state import State

WHOLE = 1_000_000
FLOOR = 1_000
"""Scores below 0.001 are not paid: less than an evaluator's examples can tell."""


@dataclass(frozen=True, slots=True)
class Score:
    """`floor`: the least score that is paid. `full`: scores that together earn the whole supply. `evaluators`: their
    part of what is paid. All in millionths."""

    name: ClassVar[str] = "score"
    floor: int = FLOOR
    full: int = WHOLE
    evaluators: int = 50_000

    def __post_init__(self) -> None:
        check_parts(self, "evaluators")

    def __call__(self, state: State, window: Window) -> Mapping[NodeId, int]:
        scores = paid_scores(window, self.floor)
        return pay(state, window, Due.of(window, scores, self.full, self.evaluators), scores)

    def reasons(self, state: State, window: Window, node: NodeId) -> list[str]:
        scores = paid_scores(window, self.floor)
        due = Due.of(window, scores, self.full, self.evaluators)
        parts = pay_lines(state, window, node, due, scores, "of all scores that are paid")
        return [score_line(window, node, self.floor), due_line(window, scores, self.full), *parts]


class Due(NamedTuple):
    """What a window pays: to those who worked, and to those who evaluated."""

    total: int
    evaluators: int

    @classmethod
    def of(cls, window: Window, scores: Mapping[NodeId, int], full: int, part: int) -> "Due":
        """`full`: scores that together earn the whole supply; `part`: the evaluators', in millionths of that."""
        total = window.supply * min(sum(scores.values()), full) // full
        return cls(total, total * part // WHOLE)


def check_parts(rule: Rule, *names: str) -> None:
    """Raises ConfigError unless these parameters are 1 to 1,000,000 millionths."""
    for name in names:
        if not 0 < getattr(rule, name) <= WHOLE:
            raise ConfigError(f"{rule.name}.{name}: expected 1 to {WHOLE} millionths, got {getattr(rule, name)}")


def pay(state: State, window: Window, due: Due, shares: Mapping[NodeId, int]) -> dict[NodeId, int]:
    """What is due to the evaluators, if there are any, by standing, and the rest by `shares`."""
    pot, weights = _pot(state, window, due)
    paid = split(due.total - pot, shares)
    for node, credits in split(pot, weights).items():
        paid[node] = paid.get(node, 0) + credits
    return paid


def pay_lines(
    state: State, window: Window, node: NodeId, due: Due, shares: Mapping[NodeId, int], of_what: str
) -> list[str]:
    """How its credits come about; the last line ends with their number, if it gets any."""
    pot, weights = _pot(state, window, due)
    lines = []
    if node in weights:
        lines.append(split_line(pot, weights, node, "of all evaluators' standing, for the scores that it revealed"))
    if node in shares and due.total:
        lines.append(split_line(due.total - pot, shares, node, of_what))
    if len(lines) == 2:
        lines.append(f"together: {pay(state, window, due, shares)[node]}")
    return lines


def _pot(state: State, window: Window, due: Due) -> tuple[int, dict[NodeId, int]]:
    """What is for evaluators, and by what it is split."""
    members = set(window.members) if due.evaluators else set()
    weights = {node: standing_of(state, node)[0] for node in sorted(window.evaluators) if node in members}
    return (due.evaluators if weights else 0), weights


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


def due_line(window: Window, scores: Mapping[NodeId, int], full: int) -> str:
    """What the window pays, and why not all of its supply."""
    total = sum(scores.values())
    if not total:
        return f"no score of this window is paid: nothing of its supply of {window.supply} is issued"
    due = Due.of(window, scores, full, 0).total
    less = "" if total >= full else f", and {full} would earn the whole supply of {window.supply}"
    return f"all scores that are paid are {total} millionths{less}: {due} credits for this window"


def split_line(supply: int, shares: Mapping[NodeId, int], node: NodeId, of_what: str) -> str:
    """How its share of the supply comes about; ends with the number of credits."""
    total, paid = sum(shares.values()), split(supply, shares)[node]
    floor = supply * shares[node] // total
    rounding = ", and 1 more of what rounding left over (largest remainder)" if paid > floor else ""
    return f"{shares[node]} of {total} {of_what}, of {supply} credits: {floor}{rounding}: {paid}"
