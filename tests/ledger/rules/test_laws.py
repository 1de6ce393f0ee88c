"""Every rule: nothing is made, nobody else is paid, and the order in which things are handed over does not matter."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from p2pfl.core.ids import NodeId
from p2pfl.errors import ConfigError
from p2pfl.ledger.outcome.rules import RULES, Fines, Lapses, Pair, Remembers, Window, make_rule
from p2pfl.ledger.outcome.rules.reputation import Reputation
from p2pfl.ledger.outcome.rules.score import WHOLE, paid_scores
from p2pfl.ledger.outcome.rules.staked import Staked
from p2pfl.ledger.outcome.settle import checked
from p2pfl.ledger.outcome.state import Draft, State

MEMBERS = tuple(NodeId(bytes([number]) * 32) for number in range(6))
STRANGER = NodeId(b"\x77" * 32)


@st.composite
def windows(draw: st.DrawFn) -> Window:
    ends = st.tuples(st.sampled_from(MEMBERS), st.sampled_from(MEMBERS))
    counts = draw(st.dictionaries(ends, st.integers(0, 200), max_size=15))
    scores = draw(st.dictionaries(st.sampled_from((*MEMBERS, STRANGER)), st.integers(-(10**6), 10**6), max_size=7))
    few = st.builds(Lapses, st.integers(0, 3), st.integers(0, 3))
    lapses = draw(st.dictionaries(st.sampled_from(MEMBERS), few, max_size=3))
    pairs = tuple(sorted(Pair(*who, count, 10 * count) for who, count in counts.items()))
    evaluators = tuple(sorted(draw(st.sets(st.sampled_from((*MEMBERS, STRANGER)), max_size=4))))
    return Window(3, 7, 8, draw(st.integers(0, 10**15)), MEMBERS, pairs, scores, lapses, evaluators)


@st.composite
def states(draw: st.DrawFn) -> State:
    draft = Draft(State())
    for tag, top in (("stake", 10**6), ("reputation", WHOLE)):
        for who, value in draw(st.dictionaries(st.sampled_from(MEMBERS), st.integers(0, top), max_size=6)).items():
            draft.put((value,), tag, who)
    return draft.done()


@pytest.mark.parametrize("name", list(RULES))
@settings(max_examples=60, deadline=None)
@given(window=windows(), state=states())
def test_every_rule_keeps_the_laws(name: str, window: Window, state: State) -> None:
    rule = make_rule(name, {})
    paid = rule(state, window)
    assert checked(paid, window) == {who: amount for who, amount in sorted(paid.items()) if amount}
    if name != "receipts":
        most = window.supply * min(sum(paid_scores(window, 1).values()), WHOLE) // WHOLE
        assert sum(paid.values()) <= most, "what was not gained is not paid"
    backwards: Any = replace(
        window,
        pairs=tuple(reversed(window.pairs)),
        members=tuple(reversed(window.members)),
        evaluators=tuple(reversed(window.evaluators)),
        scores=dict(reversed(list(window.scores.items()))),
        lapses=dict(reversed(list(window.lapses.items()))),
    )
    assert rule(state, backwards) == paid
    if isinstance(rule, Remembers):
        assert rule.reputations(state, backwards) == rule.reputations(state, window)
        assert all(0 <= value <= WHOLE for value in rule.reputations(state, window).values())
    if isinstance(rule, Fines):
        fines = rule.fines(state, window)
        assert all(0 <= fine <= state.number("stake", who) for who, fine in fines.items())
    for who in MEMBERS:
        lines = rule.reasons(state, window, who)
        assert lines
        if paid.get(who):
            assert lines[-1].endswith(f": {paid[who]}"), "the last reason ends with the number"


@pytest.mark.parametrize("name", [name for name in RULES if name != "receipts"])
def test_who_is_worth_nothing_is_paid_nothing(name: str) -> None:
    draft = Draft(State())
    for who in MEMBERS:
        draft.put((5000,), "stake", who)
    scores = {MEMBERS[0]: 300, MEMBERS[1]: 0, MEMBERS[2]: -50, STRANGER: 900}
    window = Window(0, 1, 2, 1000, MEMBERS, (), scores)
    assert make_rule(name, {"floor": 1, "full": 1})(draft.done(), window) == {MEMBERS[0]: 1000}


@pytest.mark.parametrize("name", [name for name in RULES if name != "receipts"])
def test_a_window_is_worth_what_was_gained_in_it(name: str) -> None:
    draft = Draft(State())
    for who in MEMBERS:
        draft.put((5000,), "stake", who)
        draft.put((WHOLE,), "reputation", who)
    state, rule = draft.done(), make_rule(name, {"full": 100_000})

    def paid(*scores: int) -> list[int]:
        window = Window(0, 1, 2, 1000, MEMBERS, (), dict(zip(MEMBERS, scores, strict=False)))
        found = rule(state, window)
        return [found.get(who, 0) for who in MEMBERS[: len(scores)]]

    assert paid(30_000, 20_000, -10_000) == [300, 200, 0]
    assert paid(30_000, 999) == [300, 0], "below the floor"
    assert paid(300_000, 100_000) == [750, 250], "no more than the supply"
    assert paid(900, 999) == [0, 0]
    window = Window(0, 1, 2, 1000, MEMBERS, (), {MEMBERS[0]: 30_000})
    assert "100000 would earn the whole supply of 1000: 300 credits" in " ".join(
        rule.reasons(state, window, MEMBERS[0])
    )
    nothing = replace(window, scores={MEMBERS[0]: 5})
    assert any(line.startswith("no score of this window is paid") for line in rule.reasons(state, nothing, MEMBERS[0]))


@pytest.mark.parametrize("name", [name for name in RULES if name != "receipts"])
def test_evaluators_are_paid_by_their_standing(name: str) -> None:
    draft = Draft(State())
    draft.put((750_000, 0), "standing", MEMBERS[1])  # the other one is new: 250,000
    draft.put((5000,), "stake", MEMBERS[0])
    window = Window(0, 1, 2, 1000, MEMBERS, (), {MEMBERS[0]: 300}, {}, (MEMBERS[0], MEMBERS[1]))
    rule, state = make_rule(name, {"evaluators": 80_000, "floor": 1, "full": 300}), draft.done()
    assert rule(state, window) == {MEMBERS[0]: 920 + 20, MEMBERS[1]: 60}
    assert rule.reasons(state, window, MEMBERS[0])[-1] == "together: 940"
    assert "for the scores that it revealed" in rule.reasons(state, window, MEMBERS[1])[-1]
    assert rule(state, replace(window, scores={MEMBERS[0]: 150})) == {MEMBERS[0]: 460 + 10, MEMBERS[1]: 30}
    assert rule(state, replace(window, scores={})) == {}, "nor for windows in which there is nothing to say"


def test_reputation_is_slow_to_gain_and_quick_to_lose() -> None:
    rule, who = Reputation(), MEMBERS[0]
    draft = Draft(State())

    def after(score: int | None, lapses: Lapses | None = None) -> int:
        scores = {MEMBERS[1]: 1000, MEMBERS[2]: 1000} | ({} if score is None else {who: score})
        window = Window(0, 1, 2, 1000, MEMBERS, (), scores, {who: lapses} if lapses else {})
        new = rule.reputations(draft.done(), window)[who]
        draft.put((new,), "reputation", who)
        return new

    risen = [after(1000) for _ in range(20)]
    assert risen == sorted(risen)
    assert risen[0] == 190_000, "a tenth of the way from 100,000"
    assert 850_000 < risen[-1] < WHOLE
    fallen = after(-5)
    assert fallen == risen[-1] - -(-risen[-1] // 2)
    back = 0
    while after(1000) < risen[-1]:
        back += 1
    assert back >= 5, "what one window loses takes many to regain"
    before = draft.number("reputation", who)
    assert after(None) == before, "not scored, not judged"
    assert after(None, Lapses(1, 1)) == before >> 2
    assert after(500) > before >> 2, "half of what is usual is still more than it had"


def test_a_key_that_comes_new_earns_a_tenth() -> None:
    draft = Draft(State())
    draft.put((WHOLE,), "reputation", MEMBERS[0])
    window = Window(0, 1, 2, 1100, MEMBERS, (), {MEMBERS[0]: 10, MEMBERS[1]: 10})
    assert Reputation(floor=1, full=20)(draft.done(), window) == {MEMBERS[0]: 1000, MEMBERS[1]: 100}


def test_only_those_who_answer_for_it_are_paid_by_stake() -> None:
    draft = Draft(State())
    draft.put((999,), "stake", MEMBERS[0])
    draft.put((1000,), "stake", MEMBERS[1])
    state, rule = draft.done(), Staked(floor=1, full=10)
    window = Window(0, 1, 2, 600, MEMBERS, (), dict.fromkeys(MEMBERS, 10), {MEMBERS[1]: Lapses(1, 2)})
    assert rule(state, window) == {MEMBERS[1]: 600}
    assert rule.fines(state, window) == {MEMBERS[1]: 140}, "10 % and twice 2 %"
    assert "has 999 credits at stake, and 1000 are needed" in rule.reasons(state, window, MEMBERS[0])[-1]
    assert "1 seals opened falsely and 2 never: 140 credits" in rule.reasons(state, window, MEMBERS[1])[1]
    most = replace(window, lapses={MEMBERS[1]: Lapses(50, 0)})
    assert rule.fines(state, most) == {MEMBERS[1]: 1000}


@pytest.mark.parametrize(
    ("name", "parameters", "words"),
    [
        ("score", {"flor": 1}, "the rule score has no parameter 'flor'; it has evaluators, floor, full"),
        ("reputation", {"prior": 1_000_001}, "reputation.prior: expected 1 to 1000000 millionths"),
        ("reputation", {"gain": 600_000}, "reputation.gain: expected at most the loss of 500000"),
        ("stake", {"withheld": 2_000_000}, "stake.withheld: expected 1 to 1000000 millionths"),
        ("score", {"evaluators": 1_000_001}, "score.evaluators: expected 1 to 1000000 millionths"),
        ("stake", {"need": 0}, "stake.need: expected a whole number of 1 to"),
    ],
)
def test_parameters_that_cannot_be_are_refused(name: str, parameters: dict[str, int], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        make_rule(name, parameters)
