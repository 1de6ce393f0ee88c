"""The auction: never over budget, never under the ask, and nobody gains by another ask than its cost."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from p2pfl.core.ids import NodeId
from p2pfl.ledger.outcome.rules.procurement import TASK_RULES, Award, Bid, Bids, auction, posted, why, why_not


def node(number: int) -> NodeId:
    return NodeId(bytes([number]) * 32)


def instance(rng: random.Random) -> tuple[int, int, dict[NodeId, Bid]]:
    """Few large or many small bids, many ties, budgets from far too small to far too large."""
    count = rng.randint(1, 12)
    top = rng.choice((5, 50, 10_000))
    bids = {node(k): Bid(rng.randint(1, rng.choice((3, 40))), rng.randint(1, top)) for k in range(count)}
    budget = max(1, sum(bid.ask for bid in bids.values()) * rng.randint(5, 300) // 100)
    price = rng.choice((budget, rng.randint(1, max(1, top))))
    return budget, min(price, budget), bids


def gain(rule: str, budget: int, price: int, bids: Bids, who: NodeId, cost: int) -> int:
    """What the bidder has after its costs, if it does all that it was picked for."""
    award = TASK_RULES[rule](budget, price, bids).get(who)
    return 0 if award is None else award.credits - cost * award.units // bids[who].units


def test_no_lie_pays_in_400_instances_and_the_budget_always_holds() -> None:
    rng = random.Random(7)
    tried = paid = budgets = 0
    for _ in range(400):
        budget, price, bids = instance(rng)
        awards = auction(budget, price, bids)
        assert sum(award.credits for award in awards.values()) <= budget
        paid, budgets = paid + sum(award.credits for award in awards.values()), budgets + budget
        for who, bid in bids.items():
            honest = gain("auction", budget, price, bids, who, bid.ask)
            assert honest >= 0
            near = awards[who].credits if who in awards else bid.ask
            lies = {bid.ask - 1, bid.ask + 1, bid.ask // 2, 2 * bid.ask, 1, budget, near, near + 1, near - 1}
            lies |= {rng.randint(1, 2 * bid.ask + 2) for _ in range(12 - len(lies))}
            for lie in (lie for lie in lies if lie > 0):
                tried += 1
                other = {**bids, who: Bid(bid.units, lie)}
                assert gain("auction", budget, price, other, who, bid.ask) <= honest, (budget, price, bids, who, lie)
    assert tried > 400 * 12


def test_each_is_paid_the_most_that_it_could_have_asked() -> None:
    """The closed form against trying it out."""
    rng = random.Random(11)
    for _ in range(60):
        budget, price, bids = instance(rng)
        for who, award in auction(budget, price, bids).items():
            for ask, wins in ((award.credits, True), (award.credits + 1, False)):
                again = auction(budget, price, {**bids, who: Bid(bids[who].units, ask)})
                assert (who in again) is wins


def test_to_promise_more_than_one_does_pays_no_more() -> None:
    rng = random.Random(13)
    for _ in range(100):
        budget, price, bids = instance(rng)
        for who, bid in bids.items():
            honest = auction(budget, price, bids).get(who)
            for units in (bid.units + 1, 2 * bid.units, 10 * bid.units):
                award = auction(budget, price, {**bids, who: Bid(units, bid.ask * units // bid.units)}).get(who)
                if award is not None and honest is not None:
                    assert award.pay(bid.units) <= honest.credits


bid_maps = st.dictionaries(
    st.integers(0, 40).map(node), st.builds(Bid, st.integers(1, 10**9), st.integers(1, 10**15)), max_size=10
)


@pytest.mark.parametrize("rule", list(TASK_RULES))
@settings(max_examples=100, deadline=None)
@given(bids=bid_maps, budget=st.integers(1, 10**15), price=st.integers(1, 10**15))
def test_task_rules_keep_the_budget_and_ignore_order(
    rule: str, bids: dict[NodeId, Bid], budget: int, price: int
) -> None:
    awards = TASK_RULES[rule](budget, price, bids)
    assert TASK_RULES[rule](budget, price, dict(reversed(list(bids.items())))) == awards
    assert sum(award.credits for award in awards.values()) <= budget
    for who, award in awards.items():
        bid = bids[who]
        assert 0 < award.units <= bid.units
        assert award.credits <= price * award.units
        assert award.credits * bid.units >= bid.ask * award.units, "never under the ask"
    for who, bid in bids.items():
        words = why(rule, awards[who], bid) if who in awards else why_not(rule, budget, price, bids, who)
        assert words


def test_the_auction_by_hand() -> None:
    bids = {node(1): Bid(10, 100), node(2): Bid(10, 200), node(3): Bid(10, 900)}
    # shares of 1000: 1000 >= 100, 500 >= 200, 333 < 900. Both could have asked 500: half of the budget, below 900.
    assert auction(1000, 1000, bids) == {node(1): Award(10, 500), node(2): Award(10, 500)}
    assert auction(1000, 30, bids) == {node(1): Award(10, 300), node(2): Award(10, 300)}, "at most 30 a unit"
    assert auction(350, 350, bids) == {node(1): Award(10, 200)}, "the next one asks 200, and the smaller key goes first"
    assert auction(90, 90, bids) == {}


def test_the_posted_price_by_hand() -> None:
    bids = {node(1): Bid(10, 100), node(2): Bid(30, 300), node(3): Bid(10, 900)}
    assert posted(1000, 20, bids) == {node(1): Award(10, 200), node(2): Award(30, 600)}
    assert posted(400, 20, bids) == {node(1): Award(5, 100), node(2): Award(15, 300)}
    assert posted(1000, 9, bids) == {}


def test_why_a_bid_was_not_picked() -> None:
    bids = {node(1): Bid(10, 100), node(2): Bid(10, 900), node(3): Bid(1, 400), node(4): Bid(10, 1200)}
    assert why_not("auction", 1000, 1000, bids, node(4)) == "its bid of 1200 credits is above the budget of 1000"
    assert why_not("auction", 1000, 100, bids, node(3)) == "it asks 400 a unit, and the task pays at most 100"
    assert why_not("auction", 1000, 1000, bids, node(2)) == (
        "it asks 90 a unit, and those who ask less leave it no share: 1000 credits for 20 units are 50 a unit"
    )


def test_pay_is_in_proportion_to_what_was_done() -> None:
    assert [Award(10, 99).pay(done) for done in (0, 1, 9, 10, 50)] == [0, 9, 89, 99, 99]
