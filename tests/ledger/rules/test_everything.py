"""Whatever people do with credits, in whatever order: no entry breaks a block, no credit is made or lost, and a second
machine that replays the log comes to the same states."""

import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from p2pfl.ledger.check.suppose import Supposed
from p2pfl.ledger.outcome.rulebook import proposals
from p2pfl.ledger.outcome.rules import RULES, make_rule
from p2pfl.ledger.outcome.tasks import tasks_of


class Crowd:
    """Five members who do at random what entries let them do, sensible or not."""

    def __init__(self, market: Any, seed: int) -> None:
        self.market, self.rng = market, random.Random(seed)
        self.bids: dict[tuple[int, bytes], tuple[int, int]] = {}

    def act(self) -> None:
        rng, market = self.rng, self.market
        who, amount = rng.randrange(5), rng.choice((1, 30, 400, 10**6))
        tasks = [id_ for id_, _ in tasks_of(market.tip.state)]
        match rng.randrange(9):
            case 0:
                terms = [rng.choice(("auction", "posted", "none")), amount, rng.choice((1, 20, amount)), 1, 1]
                market.say(who, "task.publish", ["work", *terms, rng.randint(1, 2)])
            case 1 | 2 if tasks:
                task, bid = rng.choice(tasks), (rng.randint(1, 6), rng.randint(1, 300))
                self.bids[who, task] = bid
                market.bid(who, task, *bid)
            case 3 | 4 if self.bids:
                (bidder, task), (units, ask) = rng.choice(sorted(self.bids.items()))
                market.reveal(bidder, task, units, ask + (rng.random() < 0.2))
            case 5:
                market.say(who, rng.choice(("stake.lock", "stake.release")), [amount])
            case 6:
                rule, height = rng.choice((*RULES, "receipts")), market.tip.height + rng.randint(1, 6)
                market.say(who, "rule.propose", [rule, [], height])
            case 7:
                for id_, _ in proposals(market.tip.state):
                    market.say(who, "rule.vote", [id_, rng.randrange(2)])
            case _:
                market.work(rng.randint(1, 3), who)

    def live(self, heights: int) -> None:
        for _ in range(heights):
            for _ in range(self.rng.randrange(5)):
                self.act()
            self.market.close()


@settings(max_examples=12, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_no_credit_is_made_or_lost(make_market: Any, conserved: Any, seed: int) -> None:
    market = make_market()
    Crowd(market, seed).live(24)
    assert all(conserved(state) for state in market.states)
    issued = [state.number("issued") for state in market.states]
    assert issued == sorted(issued)
    for outcome in market.outcomes:
        if outcome.settlement is not None:
            assert sum(outcome.settlement.payouts.values()) <= outcome.settlement.window.supply
            for paid in outcome.settlement.paid:
                assert sum(paid.payouts.values()) + paid.returned == paid.task.budget


@pytest.mark.parametrize("rule", list(RULES))
def test_a_log_can_be_supposed_under_every_rule(make_market: Any, conserved: Any, rule: str) -> None:
    """What `rules test --replay` does: other balances, so that other entries are in vain."""
    from p2pfl.ledger.blocks.block import Place

    market = make_market()
    Crowd(market, 3).live(16)
    accounts = Supposed(market.genesis, make_rule(rule, {}))
    state, first = accounts.first_state(), 0
    entries = {entry.id: entry for entry in market.entries}
    assert entries
    for block in market.blocks:
        here = market.entries[first : first + block.header.entry_count]
        first += block.header.entry_count
        header = block.header
        place = Place(header.height, header.time_ms, header.first_index, header.height % market.genesis.epoch == 0)
        state = accounts.play(state, place, here, block.evidence).state
        assert conserved(state)
    if rule == "receipts":
        assert state.number("issued") > 0
