"""A task from its publication to its last credit: phases, seals, the budget, and the line that explains each."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from p2pfl.core.ids import short
from p2pfl.ledger.blocks.faults import fork_fault
from p2pfl.ledger.check.explain import explain
from p2pfl.ledger.check.source import FileSource, View
from p2pfl.ledger.check.verify import verify_store
from p2pfl.ledger.feeds.bounds import TASKS_OF_ONE_MAX
from p2pfl.ledger.feeds.entry import make
from p2pfl.ledger.feeds.evidence import evidence_of
from p2pfl.ledger.feeds.statements import consent
from p2pfl.ledger.outcome.tasks import offer_of, task_of, winners_of
from p2pfl.ledger.stores.reader import open_reader
from p2pfl.wire.keyfile import Signer


@contextmanager
def view_of(market: Any, folder: Path) -> Iterator[View]:
    path = market.write(folder / "node.db")
    assert verify_store(path).ok, "the second opinion agrees"
    with open_reader(path) as reader:
        yield View(FileSource(reader))


def why(market: Any, folder: Path, who: int, window: int | None = None) -> str:
    with view_of(market, folder) as view:
        return "\n".join(explain(view, market.key(who), window).lines)


def publish(market: Any, who: int = 0, budget: int = 500, price: int = 500, **more: Any) -> bytes:
    terms = {"title": "label the scans", "rule": "auction", "bidding": 1, "revealing": 1, "working": 1} | more
    phases = (terms["bidding"], terms["revealing"], terms["working"])
    entry = market.say(who, "task.publish", [terms["title"], terms["rule"], budget, price, *phases])
    id_: bytes = entry.id
    return id_


def test_a_task_is_bid_for_done_and_paid(make_market: Any, conserved: Any, tmp_path: Path) -> None:
    market = make_market()
    before = [market.balance(who) for who in range(5)]
    task = publish(market)
    market.close()
    assert market.balance(0) == before[0] - 500, "the budget is put aside at once"
    market.window()
    for who, units, ask in ((1, 4, 40), (2, 4, 80), (3, 4, 800)):
        market.bid(who, task, units, ask)
    market.close()
    lines = why(market, tmp_path / "open", 1, 2)
    assert f"task {short(task)} (label the scans) is bidding until window 2 closes: it has a bid in" in lines
    market.window()
    assert winners_of(market.tip.state, task) == {}
    for who, units, ask in ((1, 4, 40), (2, 4, 80), (3, 4, 800)):
        market.reveal(who, task, units, ask)
    outcome = market.window()
    (picked,) = outcome.settlement.picked
    assert {market.key(1), market.key(2)} == set(picked.awards)
    assert [award.credits for award in picked.awards.values()] == [250, 250], "half of the budget each: below 800"
    market.work(1, 1)  # four messages, to four different members
    market.sends(2, 0)
    market.sends(2, 1)
    outcome = market.window()
    (paid,) = outcome.settlement.paid
    assert (paid.payouts, paid.returned) == ({market.key(1): 250, market.key(2): 125}, 125)
    assert task_of(market.tip.state, task) is None
    assert all(conserved(state) for state in market.states)
    assert not [tag for tag in ("task", "bid", "won") if market.tip.state.items(tag)]

    name = f"task {short(task)} (label the scans)"
    assert f"{name}: picked for 4 units at 250 credits: it asked 40" in why(market, tmp_path / "a", 1, 3)
    assert f"{name}: not picked: its bid of 800 credits is above the budget of 500" in why(market, tmp_path / "b", 3, 3)
    assert "of 3 bids 2 are picked, 8 units for at most 500 of its 500" in why(market, tmp_path / "c", 0, 3)
    assert f"{name} is closed: it delivered 2 of 4 units: 125 of 250 credits" in why(market, tmp_path / "d", 2)
    assert f"its own {name} is closed: 375 of 500 credits are paid, 125 come back" in why(market, tmp_path / "e", 0)


def test_a_posted_price_is_shared_out(make_market: Any, conserved: Any, tmp_path: Path) -> None:
    market = make_market()
    task = publish(market, rule="posted", budget=90, price=30)
    market.window()
    for who in (1, 2):
        market.bid(who, task, 3, 60)
    market.window()
    for who in (1, 2):
        market.reveal(who, task, 3, 60)
    picked = market.window().settlement.picked[0]
    assert sorted(award.units for award in picked.awards.values()) == [1, 2]
    market.work(2, 1, 2)
    paid = market.window().settlement.paid[0]
    assert (sum(paid.payouts.values()), paid.returned) == (90, 0)
    assert conserved(market.tip.state)
    assert "units of the 3 that it offered at the posted price" in why(market, tmp_path, 1, 3)


def test_a_reveal_that_does_not_match_its_commit(make_market: Any, conserved: Any, tmp_path: Path) -> None:
    market = make_market()
    task = publish(market)
    market.window()
    market.bid(1, task, 4, 300)
    market.window()
    market.reveal(1, task, 4, 299)
    market.say(2, "bid.reveal", [task, 4, 10, bytes(32)])
    outcome = market.close()
    assert sorted(outcome.vain.values()) == [
        f"4 units for 299 credits are not what it sealed for the task {short(task)}: no bid",
        f"it sealed no bid for the task {short(task)}",
    ]
    assert market.tip.state.get("lapse", market.key(1)) == (1, 0)
    settlement = market.window().settlement
    assert settlement.picked[0].awards == {}
    assert settlement.picked[0].withheld == (market.key(1),)
    text = why(market, tmp_path, 1)
    assert "(bid.reveal) had no effect: 4 units for 299 credits are not what it sealed" in text
    assert "it sealed a bid and never opened it: no bid, and a lapse" in text
    assert market.window().settlement.paid[0].returned == 500
    assert conserved(market.tip.state)


def test_a_seal_that_was_copied_opens_nothing(make_market: Any) -> None:
    market = make_market()
    task = publish(market)
    market.window()
    market.bid(1, task, 4, 300)
    market.close()
    offer = offer_of(market.tip.state, task, market.key(1))
    assert offer is not None
    market.say(2, "bid.commit", [task, offer.seal])
    market.window()
    market.reveal(1, task, 4, 300)
    market.reveal(2, task, 4, 300)
    assert len([reason for reason in market.close().vain.values() if "are not what it sealed" in reason]) == 1


def test_a_window_that_closes_during_a_finality_stall(make_market: Any, conserved: Any, tmp_path: Path) -> None:
    """Nothing becomes final for an hour while work goes on: no phase ends, and the work is paid when it is final."""
    market = make_market()
    task = publish(market)
    market.window()
    market.bid(1, task, 8, 300)
    market.window()
    market.reveal(1, task, 8, 300)
    market.window()
    market.work(1, 1)
    market.close()
    market.stand_still(3600)
    market.work(1, 1)  # said while nothing was final
    market.reveal(1, task, 8, 300)  # and this comes far too late
    outcome = market.close()
    (paid,) = outcome.settlement.paid
    assert paid.payouts == {market.key(1): 500}
    text = why(market, tmp_path, 1)
    assert "is closed: it delivered 8 of 8 units: 500 of 500 credits" in text
    assert f"finality stood still for 3601 s before height {market.tip.height}" in text
    assert f"too late: the task {short(task)} is working until window" in text
    assert conserved(market.tip.state)


@pytest.mark.parametrize(
    ("terms", "words"),
    [
        ({"budget": 10**9}, "its budget of 1000000000 credits is above the balance of 2000"),
        ({"budget": 10, "price": 11}, "its price of 11 credits a unit is above the budget of 10"),
        ({"rule": "lottery"}, "expected a rule of auction, posted, got lottery"),
    ],
)
def test_what_cannot_be_published(make_market: Any, tmp_path: Path, terms: dict[str, Any], words: str) -> None:
    market = make_market()
    task = publish(market, **terms)
    assert market.close().vain == {task: words}
    market.window()
    assert words in why(market, tmp_path, 0)


def test_phases_and_who_may_bid(make_market: Any) -> None:
    market = make_market(n=6)
    market.say(5, "leave", [1])
    task = publish(market)
    market.close()
    market.bid(0, task, 1, 1)
    market.bid(5, task, 1, 1)
    market.bid(1, b"\x99" * 32, 1, 1)
    market.reveal(2, task, 1, 1)
    assert sorted(market.close().vain.values()) == sorted(
        [
            "nobody bids for a task of its own",
            f"{short(market.key(5))} is not admitted as a worker",
            "no task 99999999 is open",
            f"too early: the task {short(task)} is bidding until window 2 closes",
        ]
    )
    market.bid(1, task, 1, 50)
    market.bid(1, task, 2, 60)  # the last one counts
    market.window()
    market.bid(2, task, 1, 1)
    market.reveal(1, task, 2, 60)
    market.reveal(1, task, 2, 60)
    assert sorted(market.close().vain.values()) == [
        f"it has opened its bid for the task {short(task)} already",
        f"too late: the task {short(task)} is revealing until window 3 closes",
    ]
    assert market.window().settlement.picked[0].awards[market.key(1)].units == 2


def test_one_publisher_has_few_tasks_open(make_market: Any) -> None:
    market = make_market()
    for _ in range(TASKS_OF_ONE_MAX + 1):
        publish(market, budget=1, price=1)
    (reason,) = market.close().vain.values()
    assert "4 of them its own" in reason


def test_one_message_is_delivered_to_one_task(make_market: Any) -> None:
    market = make_market()
    tasks = [publish(market, who) for who in (0, 4)]
    market.window()
    for task in tasks:
        market.bid(1, task, 4, 300)
    market.window()
    for task in tasks:
        market.reveal(1, task, 4, 300)
    market.window()
    market.work(1, 1)
    paid = market.window().settlement.paid
    assert sorted(next(iter(each.rows.values())).delivered for each in paid) == [0, 4]
    assert paid[0].id == min(tasks)


def test_who_is_convicted_is_not_paid_and_who_goes_on_under_a_new_key_is(
    make_market: Any, conserved: Any, tmp_path: Path
) -> None:
    market = make_market()
    task = publish(market)
    market.window()
    for who in (1, 2):
        market.bid(who, task, 4, 100)
    market.window()
    for who in (1, 2):
        market.reveal(who, task, 4, 100)
    market.window()
    market.work(1, 1, 2)
    market.close()
    new = Signer(b"\x42" * 32)
    market.say(1, "key.rotate", [new.node, consent(new, market.net, market.key(1))])
    entry = market.say(2, "model", [b"\x11" * 32, 0])
    other = make(market.nodes[2], market.net, (0, entry.seq), entry.prev, 0, "model", [b"\x22" * 32, 0])
    before = market.balance(1)
    settlement = market.close(fork_fault(evidence_of(entry, other))).settlement
    (paid,) = settlement.paid
    assert paid.payouts == {market.key(1): 187}, "three of four: what the convicted confirmed counts no more"
    assert market.tip.state.number("balance", new.node) == before + 187 + settlement.payouts[new.node]
    assert conserved(market.tip.state)
    assert "and is no worker now: nothing is paid" in why(market, tmp_path, 2)
