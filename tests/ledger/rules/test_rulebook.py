"""Validators change the rule: a quorum, at a height, and what was paid stays paid. Audit and explain follow."""

from pathlib import Path
from typing import Any

import pytest

from p2pfl.core.ids import short
from p2pfl.errors import LedgerError
from p2pfl.ledger.check.explain import explain
from p2pfl.ledger.check.source import FileSource, View
from p2pfl.ledger.check.verify import verify_store
from p2pfl.ledger.outcome.rulebook import in_force, proposal, proposals
from p2pfl.ledger.outcome.rules import rule_digest
from p2pfl.ledger.outcome.rules.receipts import Receipts
from p2pfl.ledger.outcome.rules.score import Score
from p2pfl.ledger.stores.reader import open_reader


def adopt(market: Any, rule: str, parameters: list[list[Any]], height: int) -> bytes:
    """Proposed by node 0, and a quorum of the four is for it."""
    entry = market.say(0, "rule.propose", [rule, parameters, height])
    market.close()
    for who in (1, 2):
        market.say(who, "rule.vote", [entry.id, 1])
    market.close()
    id_: bytes = entry.id
    return id_


def test_a_quorum_puts_a_rule_in_force_from_a_height_on(make_market: Any, conserved: Any, tmp_path: Path) -> None:
    market = make_market(supply=10_000)
    adopt(market, "receipts", [["cap", 1], ["receivers", 4]], 7)
    assert market.tip.height == 4
    assert in_force(market.tip.state) is None, "not before its height"
    market.work()
    market.close()
    market.sends(1, 0)
    market.sends(1, 2)  # two receivers were enough so far
    settlement = market.close().settlement
    assert settlement.rule == Receipts()
    assert market.key(1) in settlement.payouts
    assert in_force(market.tip.state) == ("receipts", (("cap", 1), ("receivers", 4)), 7)
    market.sends(1, 0)
    market.sends(1, 2)
    market.close()
    settlement = market.close().settlement
    assert settlement.rule == Receipts(1, 4)
    assert settlement.payouts == {}
    hashes = [block.header.rules_hash for block in market.blocks]
    assert hashes == [rule_digest(Receipts())] * 6 + [rule_digest(Receipts(1, 4))] * 2
    assert all(conserved(state) for state in market.states)
    path = market.write(tmp_path / "node.db")
    assert verify_store(path).ok
    with open_reader(path) as reader:
        view = View(FileSource(reader))
        lines = explain(view, market.key(1)).lines
        assert lines[0] == (
            "the rule is receipts, cap = 1, receivers = 4: validators adopted it, and it is in force from height 7 on"
        )
        assert "2 of 4 needed receivers confirm: nothing counts" in lines
        assert explain(view, market.key(1), 2).credits > 0, "former windows keep theirs"


def test_less_than_a_quorum_changes_nothing(make_market: Any) -> None:
    market = make_market()
    entry = market.say(0, "rule.propose", ["score", [], 6])
    market.close()
    market.say(1, "rule.vote", [entry.id, 1])
    market.say(2, "rule.vote", [entry.id, 1])
    market.say(4, "rule.vote", [entry.id, 1])  # no validator
    market.say(3, "rule.vote", [entry.id, 0])
    before = market.tip.state
    vain = market.close().vain
    assert sorted(vain.values()) == sorted(
        [
            f"{short(market.key(4))} is no validator in this epoch",
            f"it has said so of the proposal {short(entry.id)} already",
        ]
    )
    found = proposal(market.tip.state, entry.id)
    assert found is not None
    assert found.adopted == 1, "three of four"
    assert proposal(before, entry.id) is not None

    other = make_market()
    entry = other.say(0, "rule.propose", ["score", [], 6])
    other.close()
    other.say(1, "rule.vote", [entry.id, 1])
    other.close()
    other.say(1, "rule.vote", [entry.id, 0])
    other.close()
    found = proposal(other.tip.state, entry.id)
    assert found is not None
    assert (found.adopted, found.voters) == (0, (other.key(0),))
    other.window()
    assert not list(proposals(other.tip.state)), "its height has come: it is gone"
    assert in_force(other.tip.state) is None


def test_of_several_that_are_due_the_highest_height_stands(make_market: Any) -> None:
    market = make_market(window=4)
    ids = [market.say(who, "rule.propose", ["score", [["floor", who + 1]], 8 - who]).id for who in (0, 1)]
    market.close()
    for id_ in ids:
        for who in (2, 3, 1 if id_ == ids[0] else 0):
            market.say(who, "rule.vote", [id_, 1])
    market.window()
    assert in_force(market.tip.state) == ("score", (("floor", 1),), market.tip.height + 1)
    assert market.accounts.rule_of(market.tip.state) == Score(floor=1)


@pytest.mark.parametrize(
    ("who", "payload", "words"),
    [
        (4, ["score", [], 99], "is no validator in this epoch"),
        (0, ["score", [], 3], "its height 3 is not after this one, 3"),
        (0, ["score", [["flor", 1]], 99], "the rule score has no parameter 'flor'"),
        (0, ["stake", [["need", 0]], 99], "stake.need: expected a whole number of 1 to"),
    ],
)
def test_what_cannot_be_proposed(make_market: Any, who: int, payload: list[Any], words: str) -> None:
    market = make_market()
    market.say(who, "rule.propose", payload)
    (reason,) = market.close().vain.values()
    assert words in reason


def test_one_open_proposal_of_each_validator(make_market: Any) -> None:
    market = make_market()
    for height in (50, 60):
        market.say(0, "rule.propose", ["score", [], height])
    (reason,) = market.close().vain.values()
    assert "1 proposals are open" in reason


def test_a_rule_that_is_not_known_here_stops_the_node_with_a_line(make_market: Any) -> None:
    market = make_market()
    adopt(market, "tomorrow", [["x", 1]], 5)
    assert in_force(market.tip.state) == ("tomorrow", (("x", 1),), 5), "a block can still say so"
    with pytest.raises(
        LedgerError, match="from height 5 on a rule is in force that this version of p2pfl does not have"
    ):
        market.close()
