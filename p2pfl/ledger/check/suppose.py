"""What a ledger would have paid under another rule. Knows the log and rules; never changes anything.

The whole log is played a second time with the other rule in every window, whatever validators voted for: balances,
stakes and tasks follow from it, so that somebody who would have had less may not have been able to publish a task.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from p2pfl.core.ids import NodeId
from p2pfl.ledger.blocks.block import Place
from p2pfl.ledger.blocks.genesis import Genesis
from p2pfl.ledger.check.explain import replay
from p2pfl.ledger.check.source import View
from p2pfl.ledger.outcome.contract import Accounts
from p2pfl.ledger.outcome.rules import Rule
from p2pfl.ledger.outcome.settle import Settlement
from p2pfl.ledger.outcome.state import State


class Supposed(Accounts):
    """The accounts of a network in which this rule is in force, and no other ever."""

    def __init__(self, genesis: Genesis, rule: Rule) -> None:
        super().__init__(genesis)
        self.supposed = rule

    def rule_of(self, state: State) -> Rule:
        return self.supposed


@dataclass(frozen=True, slots=True)
class Compared:
    """One window under both rules."""

    real: Settlement
    supposed: Settlement

    @property
    def number(self) -> int:
        return self.real.window.number


@dataclass(frozen=True, slots=True)
class Supposition:
    """All windows that have closed, and the two states at the end."""

    windows: tuple[Compared, ...]
    real: State
    supposed: State

    def paid(self) -> Mapping[NodeId, tuple[int, int]]:
        """Credits that rules paid each node: really, and supposedly; by key."""
        sums: dict[NodeId, tuple[int, int]] = {}
        for compared in self.windows:
            for node in {*compared.real.payouts, *compared.supposed.payouts, *compared.real.window.members}:
                real, supposed = sums.get(node, (0, 0))
                more = compared.real.payouts.get(node, 0), compared.supposed.payouts.get(node, 0)
                sums[node] = (real + more[0], supposed + more[1])
        return dict(sorted(sums.items()))


def suppose(view: View, rule: Rule) -> Supposition:
    """Play the log of `view` as it is and under `rule`."""
    accounts = Supposed(view.genesis, rule)
    real = supposed = accounts.first_state()
    windows: list[Compared] = []
    for played in replay(view):
        header = played.block.header
        place = Place(header.height, header.time_ms, header.first_index, header.height % accounts.terms.epoch == 0)
        outcome = accounts.play(supposed, place, played.entries, played.block.evidence)
        real, supposed = played.outcome.state, outcome.state
        if played.outcome.settlement is not None and outcome.settlement is not None:
            windows.append(Compared(played.outcome.settlement, outcome.settlement))
    return Supposition(tuple(windows), real, supposed)
