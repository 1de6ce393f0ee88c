"""What the end of a window did to the tasks that a node has to do with, in words. Knows settlements, no log."""

from collections.abc import Iterator

from p2pfl.core.ids import NodeId, short
from p2pfl.ledger.outcome.members import Look, is_worker, present
from p2pfl.ledger.outcome.rules.procurement import why, why_not
from p2pfl.ledger.outcome.settle import Settlement
from p2pfl.ledger.outcome.task_ends import Paid, Picked
from p2pfl.ledger.outcome.tasks import Task, offer_of, tasks_of, winners_of


def settled_tasks(settlement: Settlement, node: NodeId) -> Iterator[str]:
    """Why the node was picked or not, and what it was paid."""
    look = settlement.before
    for picked in settlement.picked:
        yield from _picked(look, picked, node)
    for paid in settlement.paid:
        yield from _paid(look, paid, node)


def open_tasks(look: Look, node: NodeId, window: int) -> Iterator[str]:
    """Where the tasks stand that the node published, bid for or works on."""
    for id_, task in tasks_of(look):
        phase = task.phase(window)
        here = f"{task_name(id_, task)} is {phase} until window {getattr(task, phase, window)} closes"
        if present(look, task.publisher) == node:
            yield f"its own {here}"
        if offer_of(look, id_, node) is not None:
            yield f"{here}: it has a bid in"
        for who, won in winners_of(look, id_).items():
            if present(look, who) == node:
                yield f"{here}: it delivered {won.delivered} of {won.units} units, for {won.pay} credits so far"


def task_name(id_: bytes, task: Task) -> str:
    return f"task {short(id_)} ({task.title})"


def _picked(look: Look, picked: Picked, node: NodeId) -> Iterator[str]:
    task = picked.task
    name = task_name(picked.id, task)
    if present(look, task.publisher) == node:
        credits = sum(award.credits for award in picked.awards.values())
        units = sum(award.units for award in picked.awards.values())
        yield (
            f"its own {name}: of {len(picked.bids)} bids {len(picked.awards)} are picked, "
            f"{units} units for at most {credits} of its {task.budget} credits"
        )
    for who in picked.withheld:
        if present(look, who) == node:
            yield f"{name}: it sealed a bid and never opened it: no bid, and a lapse"
    for who, bid in picked.bids.items():
        if present(look, who) != node:
            continue
        if who in picked.awards:
            yield f"{name}: {why(task.rule, picked.awards[who], bid)}"
        else:
            yield f"{name}: not picked: {why_not(task.rule, task.budget, task.price, picked.bids, who)}"


def _paid(look: Look, paid: Paid, node: NodeId) -> Iterator[str]:
    name = task_name(paid.id, paid.task)
    if present(look, paid.task.publisher) == node:
        spent = sum(paid.payouts.values())
        yield f"its own {name} is closed: {spent} of {paid.task.budget} credits are paid, {paid.returned} come back"
    for who, won in paid.rows.items():
        if present(look, who) != node:
            continue
        done = f"{name} is closed: it delivered {won.delivered} of {won.units} units"
        if is_worker(look, node):
            yield f"{done}: {paid.payouts.get(who, 0)} of {won.credits} credits"
        else:
            yield f"{done}, and is no worker now: nothing is paid"
