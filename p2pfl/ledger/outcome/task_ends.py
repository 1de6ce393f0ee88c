"""What the end of an accounting window does to tasks: work is counted, paid, and given out. Pure; knows no entry.

The unit of work is a message of the window that both ends have named, counted as the rule `receipts` counts it: at
most so many of one pair, and none unless two different members confirm. A member whose score is due in the window
and is nothing or less has delivered nothing. A message is delivered to one task only: the one with the smallest id
first.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from p2pfl.core.ids import NodeId
from p2pfl.ledger.outcome.members import is_worker, present
from p2pfl.ledger.outcome.rules import Window
from p2pfl.ledger.outcome.rules.procurement import TASK_RULES, Award, Bid
from p2pfl.ledger.outcome.rules.receipts import Receipts
from p2pfl.ledger.outcome.stake import note_withheld, set_number
from p2pfl.ledger.outcome.state import Draft
from p2pfl.ledger.outcome.tasks import Task, Won, bids_of, offers_of, tasks_of, winners_of


@dataclass(frozen=True, slots=True)
class Picked:
    """The rule of a task has picked: bids that were opened, bidders who never opened theirs, and what each won."""

    id: bytes
    task: Task
    bids: Mapping[NodeId, Bid]
    withheld: tuple[NodeId, ...]
    awards: Mapping[NodeId, Award]


@dataclass(frozen=True, slots=True)
class Paid:
    """A task has closed. `returned`: what the publisher got back."""

    id: bytes
    task: Task
    rows: Mapping[NodeId, Won]
    payouts: Mapping[NodeId, int]
    returned: int


def delivered(window: Window) -> dict[NodeId, int]:
    """Units of work of each member in this window."""
    worthless = {node for node, score in window.scores.items() if score <= 0}
    return {node: units for node, units in Receipts().shares(window).items() if node not in worthless}


def close_tasks(draft: Draft, window: Window) -> tuple[tuple[Picked, ...], tuple[Paid, ...]]:
    """Count what was done, pay the tasks that end with this window, let the rule of others pick."""
    left = delivered(window)
    picked: list[Picked] = []
    paid: list[Paid] = []
    for id_, task in list(tasks_of(draft)):
        if task.revealing < window.number:
            _count(draft, id_, left)
        if task.revealing == window.number:
            picked.append(_pick(draft, id_, task))
        if task.working <= window.number:
            paid.append(_pay(draft, id_, task))
    return tuple(picked), tuple(paid)


def _count(draft: Draft, id_: bytes, left: dict[NodeId, int]) -> None:
    """Units that were not counted for another task."""
    for node, won in winners_of(draft, id_).items():
        who = present(draft, node)
        more = min(left.get(who, 0), won.units - won.delivered)
        if more:
            left[who] -= more
            draft.put(tuple(won._replace(delivered=won.delivered + more)), "won", id_, node)


def _pick(draft: Draft, id_: bytes, task: Task) -> Picked:
    offers, bids = offers_of(draft, id_), bids_of(draft, id_)
    withheld = tuple(node for node, offer in offers.items() if not offer.units)
    for node in withheld:
        note_withheld(draft, present(draft, node))
    for node in offers:
        draft.remove("bid", id_, node)
    awards = TASK_RULES[task.rule](task.budget, task.price, bids)
    for node, award in awards.items():
        draft.put(tuple(Won(*award)), "won", id_, node)
    return Picked(id_, task, bids, withheld, awards)


def _pay(draft: Draft, id_: bytes, task: Task) -> Paid:
    """Every credit of the budget goes somewhere: to those who delivered, and the rest to the publisher."""
    rows = winners_of(draft, id_)
    payouts: dict[NodeId, int] = {}
    for node, won in rows.items():
        who = present(draft, node)
        if won.pay and is_worker(draft, who):
            payouts[node] = won.pay
            set_number(draft, draft.number("balance", who) + won.pay, "balance", who)
        draft.remove("won", id_, node)
    returned = task.budget - sum(payouts.values())
    assert returned >= 0, "a task pays at most its budget"
    owner = present(draft, task.publisher)
    set_number(draft, draft.number("balance", owner) + returned, "balance", owner)
    draft.remove("task", id_)
    return Paid(id_, task, rows, payouts, returned)
