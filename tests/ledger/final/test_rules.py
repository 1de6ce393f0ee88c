"""The first rule, and the split: nothing is made, nothing is lost, the order of people does not matter."""

from collections.abc import Mapping

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from p2pfl.core.ids import NodeId
from p2pfl.errors import ConfigError
from p2pfl.ledger.outcome.rules import Pair, Window, make_rule, rule_digest, split
from p2pfl.ledger.outcome.rules.receipts import Receipts
from p2pfl.ledger.outcome.state import State


def node(number: int) -> NodeId:
    return NodeId(bytes([number]) * 32)


def window(*pairs: tuple[int, int, int], supply: int = 1000) -> Window:
    rows = tuple(sorted(Pair(node(a), node(b), count, 100 * count) for a, b, count in pairs))
    return Window(0, 1, 4, supply, tuple(node(number) for number in range(6)), rows)


shares = st.dictionaries(st.integers(0, 40).map(node), st.integers(0, 10**12), max_size=12)


@settings(max_examples=200, deadline=None)
@given(supply=st.integers(0, 10**15), shares=shares)
def test_a_split_gives_out_exactly_the_supply_in_proportion(supply: int, shares: Mapping[NodeId, int]) -> None:
    paid = split(supply, shares)
    total = sum(shares.values())
    assert sum(paid.values()) == (supply if total else 0)
    for who, amount in paid.items():
        assert supply * shares[who] // total <= amount <= supply * shares[who] // total + 1
    assert split(supply, dict(reversed(list(shares.items())))) == paid


def test_what_is_left_over_goes_to_the_largest_remainder_then_to_the_smaller_id() -> None:
    assert split(10, {node(2): 1, node(1): 1, node(3): 1}) == {node(1): 4, node(2): 3, node(3): 3}
    assert split(10, {node(1): 5, node(2): 4, node(3): 2}) == {node(1): 4, node(2): 4, node(3): 2}
    assert split(2, {node(number): 1 for number in range(4)}) == {node(0): 1, node(1): 1, node(2): 0, node(3): 0}


@pytest.mark.parametrize(
    ("pairs", "paid"),
    [
        ((), {}),
        (((1, 2, 9),), {}),  # one receiver alone
        (((1, 2, 9), (1, 3, 1)), {1: 1000}),
        (((1, 2, 9), (1, 3, 1), (2, 1, 5), (2, 3, 5)), {1: 500, 2: 500}),
        (((1, 2, 5), (1, 1, 5)), {}),  # nobody confirms oneself
        (((1, 2, 900), (1, 3, 1), (2, 1, 5), (2, 3, 6)), {1: 500, 2: 500}),  # cap 10 of a pair
        (((1, 2, 0), (1, 3, 5)), {}),
    ],
)
def test_receipts(pairs: tuple[tuple[int, int, int], ...], paid: dict[int, int]) -> None:
    rule = Receipts(cap=10, receivers=2)
    assert rule(State(), window(*pairs)) == {node(who): amount for who, amount in paid.items()}


def test_two_that_confirm_each_other_for_ever_earn_nothing() -> None:
    assert Receipts()(State(), window((1, 2, 10**9), (2, 1, 10**9))) == {}


@settings(max_examples=100, deadline=None)
@given(
    counts=st.dictionaries(st.tuples(st.integers(0, 5), st.integers(0, 5)), st.integers(0, 200), max_size=20),
    extra=st.integers(1, 50),
)
def test_more_confirmed_work_never_pays_its_sender_less(counts: dict[tuple[int, int], int], extra: int) -> None:
    before = window(*((a, b, count) for (a, b), count in counts.items()))
    paid = Receipts()(State(), before)
    assert sum(paid.values()) in (0, before.supply)
    for a, b in counts:
        more = dict(counts)
        more[a, b] += extra
        after = Receipts()(State(), window(*((x, y, count) for (x, y), count in more.items())))
        shares = (Receipts().shares(before), Receipts().shares(window(*((x, y, c) for (x, y), c in more.items()))))
        assert shares[1].get(node(a), 0) >= shares[0].get(node(a), 0)
        assert after.get(node(a), 0) + 1 >= paid.get(node(a), 0)  # one may move with the rounding


def test_the_reasons_say_why_it_is_nothing() -> None:
    rule = Receipts(cap=10)
    assert "no message of this window is confirmed" in rule.reasons(State(), window(), node(1))[0]
    assert "1 of 2 needed receivers confirm: nothing counts" in rule.reasons(State(), window((1, 2, 3)), node(1))
    lines = rule.reasons(State(), window((1, 2, 30), (1, 3, 1)), node(1))
    assert any("of which 10 count (the cap of a pair)" in line for line in lines)
    assert lines[-1].endswith(": 1000")


def test_the_digest_names_rule_and_parameters() -> None:
    digests = {rule_digest(rule) for rule in (Receipts(), Receipts(cap=65), Receipts(receivers=3))}
    assert len(digests) == 3
    assert rule_digest(make_rule("receipts", {"cap": 65})) == rule_digest(Receipts(cap=65))


@pytest.mark.parametrize(
    ("name", "parameters", "words"),
    [
        ("shapley", {}, "expected a rule of receipts, score, reputation, stake, got 'shapley'"),
        ("receipts", {"caps": 1}, "no parameter 'caps'; it has cap, receivers"),
        ("receipts", {"cap": 0}, "receipts.cap: expected a whole number of 1 to"),
    ],
)
def test_what_is_no_rule_is_refused(name: str, parameters: dict[str, int], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        make_rule(name, parameters)
