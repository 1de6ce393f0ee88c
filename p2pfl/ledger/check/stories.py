"""What became of each task, and which rules were in force: found by playing the log again. Changes nothing."""

from dataclasses import dataclass, replace

from p2pfl.ledger.check.explain import replay
from p2pfl.ledger.check.source import View
from p2pfl.ledger.feeds.entry import Entry
from p2pfl.ledger.outcome.rulebook import InForce, in_force
from p2pfl.ledger.outcome.task_ends import Paid, Picked
from p2pfl.ledger.outcome.tasks import Task, task_of


@dataclass(frozen=True, slots=True)
class Story:
    """A task from its publication on; `picked` and `paid` are None until then."""

    id: bytes
    task: Task
    published: int
    """The height."""
    picked: Picked | None = None
    paid: Paid | None = None


def tasks_told(view: View) -> dict[bytes, Story]:
    """All tasks that were ever published, in order."""
    stories: dict[bytes, Story] = {}
    for played in replay(view):
        state, settlement = played.outcome.state, played.outcome.settlement
        for entry in played.entries:
            stories |= _published(entry, task_of(state, entry.id), played.block.height)
        for picked in settlement.picked if settlement else ():
            stories[picked.id] = replace(stories[picked.id], picked=picked, task=picked.task)
        for paid in settlement.paid if settlement else ():
            stories[paid.id] = replace(stories[paid.id], paid=paid)
    return stories


def rules_told(view: View) -> list[InForce]:
    """Every rule that has been in force, in order; the first is the genesis'."""
    genesis = view.genesis
    found = [InForce(genesis.rule, genesis.parameters, 1)]
    for played in replay(view):
        now = in_force(played.outcome.state)
        if now is not None and now != found[-1]:
            found.append(now)
    return found


def _published(entry: Entry, task: Task | None, height: int) -> dict[bytes, Story]:
    return {entry.id: Story(entry.id, task, height)} if task is not None else {}
