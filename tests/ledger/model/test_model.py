"""The voting rule keeps agreement in every state of a small world, and each broken one does not."""

import pytest
from finality_mutants import BROKEN_RULES
from simplex_model import Model

from p2pfl.ledger.blocks.rule import Cast, Kind, VotingRule, conflict

STATES = 16_785
"""Reachable up to renaming of the honest. Another number is another rule, or another model."""


def test_agreement_holds_in_every_state() -> None:
    states, broken = Model(VotingRule()).explore()
    assert broken is None
    assert states == STATES


@pytest.mark.parametrize("rule", BROKEN_RULES, ids=lambda rule: rule.__name__)
def test_a_broken_rule_is_caught(rule: type[VotingRule]) -> None:
    _, broken = Model(rule()).explore()
    assert broken is not None


def test_what_the_rule_allows_is_never_a_conflict() -> None:
    """Whatever an honest validator signs in a view, in whatever order, convicts it of nothing."""
    rule = VotingRule()

    def grow(cast: Cast, signed: list[tuple[Kind, bytes]]) -> None:
        assert not any(conflict(one, other) for one in signed for other in signed)
        may = {
            Kind.NOTARIZE: rule.may_notarize(cast),
            Kind.NULLIFY: rule.may_nullify(cast),
            Kind.FINALIZE: rule.may_finalize(cast),
        }
        for kind in Kind:
            for block in (b"",) if kind is Kind.NULLIFY else (b"a", b"b"):
                if may[kind]:
                    grow(cast.plus(kind, block), [*signed, (kind, block)])

    grow(Cast(), [])
