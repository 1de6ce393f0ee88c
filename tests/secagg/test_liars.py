"""Members that say what no honest one says are named, with evidence where a third can check it."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from p2pfl.core.ids import NodeId
from p2pfl.errors import Reject
from p2pfl.secagg.blame import Blame
from p2pfl.secagg.cell import Cell
from p2pfl.secagg.masks import public_of
from p2pfl.secagg.onetime import SeenKeys
from p2pfl.secagg.sheet import make_sheet, open_sheet
from p2pfl.secagg.statements import Answers, Deal, Held, Keys, Step

Make = Callable[..., Any]


def liar_of(town: Any) -> NodeId:
    return next(m for m in town.cell.members if m != town.cell.chair)


def lying(town: Any, at: Step, change: Callable[[tuple[Any, ...]], tuple[Any, ...]]) -> NodeId:
    liar = liar_of(town)
    town.lie = lambda who, step, payload: change(payload) if (who, step) == (liar, at) else payload
    town.run()
    return liar


def test_a_wrong_share_is_named_and_the_sum_goes_on(town: Make, mean_of: Make) -> None:
    made = town(5, 40, 1)

    def other_shares(payload: tuple[Any, ...]) -> tuple[Any, ...]:
        answers = Answers.parse(payload)
        return replace(answers, shares=tuple(bytes(33) for _ in answers.shares)).payload()

    liar = lying(made, Step.ANSWERS, other_shares)
    assert made.blamed() == {"wrong-share": {liar}}
    assert np.abs(made.means[made.cell.chair] - mean_of(made, made.cell.members)).max() < made.grid.unit


def test_a_share_of_another_epoch_is_a_wrong_share(town: Make) -> None:
    """What was dealt in one round is refused in the next."""
    first = town(5, 40, 1)
    first.run()
    liar = liar_of(first)
    old = first.members[liar]._answers
    second = town(5, 40, 1, round_=4)
    second.lie = lambda who, step, payload: (
        replace(Answers.parse(payload), shares=old.shares).payload() if (who, step) == (liar, Step.ANSWERS) else payload
    )
    assert second.cell.chair != liar
    second.run()
    assert second.blamed() == {"wrong-share": {liar}}


def test_unreadable_shares_are_named_by_whom_they_were_for(town: Make, mean_of: Make) -> None:
    made = town(6, 40, 2)

    place = made.cell.members.index(made.cell.chair)

    def garbled(payload: tuple[Any, ...]) -> tuple[Any, ...]:
        deal = Deal.parse(payload)
        portions = list(deal.portions)
        portions[place] = replace(portions[place], sealed=bytes(len(portions[place].sealed)))
        return replace(deal, portions=tuple(portions)).payload()

    liar = lying(made, Step.SHARES, garbled)
    assert made.blamed() == {"unreadable-share": {liar}}
    assert np.abs(made.means[liar] - mean_of(made, made.cell.members)).max() < made.grid.unit


def test_a_dealer_of_another_secret_is_named_and_nobody_has_a_sum(town: Make) -> None:
    made = town(5, 40, 3)

    def other(payload: tuple[Any, ...]) -> tuple[Any, ...]:
        return replace(Deal.parse(payload), secret=bytes(32)).payload()

    liar = lying(made, Step.SHARES, other)
    assert made.blamed() == {"false-secret": {liar}}
    assert not made.means


def test_a_chair_with_two_survivor_lists_is_named_with_a_proof(town: Make) -> None:
    """One member is shown a list without another member; it answers to that, and quotes it."""
    made = town(7, 40, 4)
    members, chair = made.members, made.cell.chair
    run_until_held(made)
    own, body = made.chair.sheets[Step.SURVIVORS]
    fooled, left_out = [m for m in made.cell.members if m != chair][:2]
    fewer = {s.author: s for s in made.said if s.message.step == Step.HELD and s.author != left_out}
    payload = tuple(own.payloads[chair])
    _, other_body = make_sheet(made.cell, Step.SURVIVORS, payload, fewer, made.notary)
    sheets = {}
    for who in members:
        text = other_body if who == fooled else body
        sent = made.statement(chair, Step.SURVIVORS, payload, text)
        sheets[who] = open_sheet(made.cell, Step.SURVIVORS, sent, text, made.notary) if who != chair else own
    answers = {who: members[who].answers(sheets[who]).payload() for who in members}
    opened = made.speak(Step.ANSWERS, answers)
    for who in members:
        if who == chair:
            continue
        with pytest.raises(Blame, match="two sheets") as caught:
            members[who].lift(opened[who])
        assert caught.value.member == chair
        heads = [made.notary.open(raw) for raw in caught.value.evidence]
        assert {head.author for head in heads} == {chair}
        assert len({(head.message.cell, head.message.step) for head in heads}) == 1
        assert len({head.chunks for head in heads}) == 2


def test_a_member_answers_one_survivor_list_only(town: Make) -> None:
    made = town(7, 40, 4)
    run_until_held(made)
    own, body = made.chair.sheets[Step.SURVIVORS]
    chair = made.cell.chair
    who, left_out = [m for m in made.cell.members if m != chair][:2]
    payload = tuple(own.payloads[chair])
    first = open_sheet(
        made.cell, Step.SURVIVORS, made.statement(chair, Step.SURVIVORS, payload, body), body, made.notary
    )
    fewer = {s.author: s for s in made.said if s.message.step == Step.HELD and s.author != left_out}
    _, text = make_sheet(made.cell, Step.SURVIVORS, payload, fewer, made.notary)
    second = open_sheet(
        made.cell, Step.SURVIVORS, made.statement(chair, Step.SURVIVORS, payload, text), text, made.notary
    )
    answered = made.members[who].answers(first)
    assert made.members[who].answers(first) is answered
    with pytest.raises(Blame, match="two survivor lists"):
        made.members[who].answers(second)


def run_until_held(made: Any) -> None:
    made.gone = dict.fromkeys(made.cell.members, Step.ANSWERS)
    members = made.members
    rosters = made.speak(Step.KEYS, {who: members[who].keys.payload() for who in members})
    dealt = made.speak(Step.SHARES, {who: members[who].deal(rosters[who]).payload() for who in members})
    for who in members:
        members[who].cover(dealt[who])
    made.speak(Step.HELD, {who: members[who].held(frozenset(members)).payload() for who in members})


def test_a_replayed_key_is_named_before_anything_is_dealt(town: Make) -> None:
    first = town(5, 40, 1)
    seen = {who: SeenKeys() for who in first.cell.members}
    first = town(5, 40, 1, seen=seen)
    first.run()
    liar = liar_of(first)
    old = first.members[liar].keys
    second = town(5, 40, 1, round_=4, seen=seen)
    second.members[liar].keys = old
    assert second.cell.chair != liar
    second.run()
    assert second.blamed() == {"replayed-key": {liar}}
    assert not any(s.message.step == Step.SHARES for s in second.said)


def test_a_copied_or_weak_key_is_named(town: Make) -> None:
    made = town(5, 40, 1)
    copied = made.members[made.cell.chair].keys
    liar = lying(made, Step.KEYS, lambda payload: copied.payload())
    assert made.blamed()["copied-key"] == {liar}
    made = town(5, 40, 1)
    liar = lying(made, Step.KEYS, lambda payload: Keys(public_of(b"\1" * 32), bytes(32), 0).payload())
    assert made.blamed()["weak-key"] == {liar}
    assert not made.means


def test_malformed_statements_name_their_author(town: Make) -> None:
    for step in (Step.KEYS, Step.SHARES, Step.HELD, Step.ANSWERS):
        made = town(5, 40, 1)
        liar = lying(made, step, lambda payload: (1, 2))
        assert made.blamed() == {"malformed": {liar}}
        assert not made.means


def test_holding_what_nobody_dealt_is_named(town: Make) -> None:
    made = town(5, 40, 1)
    liar = lying(made, Step.HELD, lambda payload: replace(Held.parse(payload), holds=1 << 9).payload())
    assert made.blamed() == {"false-held": {liar}}


def test_the_chair_refuses_statements_of_another_cell(town: Make) -> None:
    made, other = town(5, 40, 1), town(5, 40, 1, round_=9)
    who = liar_of(made)
    with pytest.raises(Reject, match="another-cell"):
        made.chair.heard(other.statement(who, Step.KEYS, other.members[who].keys.payload()))


def test_a_sheet_with_a_forged_head_names_the_chair(town: Make) -> None:
    made = town(5, 40, 1)
    payloads = {who: member.keys.payload() for who, member in made.members.items()}
    made.speak(Step.KEYS, payloads)
    own, body = made.chair.sheets[Step.ROSTER]
    forged = bytearray(body)
    forged[60] ^= 1
    sent = made.statement(made.cell.chair, Step.ROSTER, tuple(own.payloads[made.cell.chair]), bytes(forged))
    with pytest.raises(Blame) as caught:
        open_sheet(made.cell, Step.ROSTER, sent, bytes(forged), made.notary)
    assert caught.value.member == made.cell.chair


def test_cells_are_named_by_round_and_members(town: Make) -> None:
    cell = town(5, 4, 1).cell
    ids = {cell.id, replace(cell, round=9).id, Cell(cell.members[:4], cell.context, cell.round).id}
    assert len(ids) == 3
