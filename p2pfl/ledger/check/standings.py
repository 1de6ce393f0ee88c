"""What each closed window paid, said and changed, one after another. Reads a ledger by playing it again; knows no data.

A window's scores are complete when the third window after it closes (outcome/scores.py): a row has the scores that
were complete then, and what the rule paid for them.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from p2pfl.core.ids import NodeId
from p2pfl.ledger.check.explain import replay
from p2pfl.ledger.check.source import View
from p2pfl.ledger.outcome.draw import standing_of
from p2pfl.ledger.outcome.scores import LATER, Score, collect_scores


@dataclass(frozen=True, slots=True)
class Closed:
    """One window. scored: the window whose work `scores` are about. standings: of all who may be paid, in millionths,
    after it; balances: of the same, in credits."""

    number: int
    scored: int
    payouts: Mapping[NodeId, int]
    scores: Mapping[NodeId, Score]
    standings: Mapping[NodeId, int]
    balances: Mapping[NodeId, int]


def history(view: View) -> Iterator[Closed]:
    """All closed windows, in order. Raises as `replay` for a damaged ledger."""
    for played in replay(view):
        settlement, state = played.outcome.settlement, played.outcome.state
        if settlement is not None:
            window = settlement.window
            yield Closed(
                window.number,
                window.number - LATER,
                dict(settlement.payouts),
                collect_scores(settlement.before, window.number),
                {node: standing_of(state, node)[0] for node in window.members},
                {node: state.number("balance", node) for node in window.members},
            )
