"""Work that somebody pays for out of its own balance: what entries do to a task. Pure; knows drafts and these kinds.

Theory of operation
-------------------
A task goes through its phases by accounting windows, counted from the one in which "task.publish" became final:

    bidding     "bid.commit" counts: a seal, one of each worker, the last one
    revealing   "bid.reveal" counts, if it is what was sealed
    working     the rule has picked at the end of revealing (`task_ends`); what the picked ones do now is paid
    closed      at the end of the last working window: everybody is paid, the rest of the budget goes back

The budget leaves the publisher's balance when the task is published, and lies in the task's row until it closes: it can
be spent once only. Windows are counted in heights, so while nothing becomes final no phase ends, and what is said
meanwhile counts in the first height after.

| row | value |
|---|---|
| ["task", id] | [publisher, rule, budget, price, last window of bidding, of revealing, of working, bids, title] |
| ["bid", id, node] | [seal, units, ask]; units 0 until it is opened; gone when the rule has picked |
| ["won", id, node] | [units, credits for all of them, units delivered so far] |
"""

from collections.abc import Iterator
from typing import NamedTuple

from p2pfl.core.ids import NodeId, short
from p2pfl.ledger.feeds.bounds import BIDS_MAX, TASKS_OF_ONE_MAX, TASKS_OPEN_MAX
from p2pfl.ledger.feeds.entry import Entry
from p2pfl.ledger.feeds.kinds import OpenBid, Publication, SealedBid
from p2pfl.ledger.feeds.statements import seal
from p2pfl.ledger.outcome.members import Look, granted, is_worker, present
from p2pfl.ledger.outcome.rules.procurement import TASK_RULES, Award, Bid
from p2pfl.ledger.outcome.stake import note_bad_reveal, set_number
from p2pfl.ledger.outcome.state import Draft

PHASES = ("bidding", "revealing", "working")


class Task(NamedTuple):
    """The value at ["task", id]. Phases end with these windows."""

    publisher: bytes
    rule: str
    budget: int
    price: int
    bidding: int
    revealing: int
    working: int
    num_bids: int
    title: str

    def phase(self, window: int) -> str:
        """In this window."""
        for name in PHASES:
            if window <= int(getattr(self, name)):
                return name
        return "closed"


class Offer(NamedTuple):
    """The value at ["bid", id, node]."""

    seal: bytes
    units: int = 0
    ask: int = 0


class Won(NamedTuple):
    """The value at ["won", id, node]."""

    units: int
    credits: int
    delivered: int = 0

    @property
    def pay(self) -> int:
        return Award(self.units, self.credits).pay(self.delivered)


def publish(draft: Draft, entry: Entry) -> str | None:
    """A member puts credits aside for work."""
    said = Publication(*entry.payload)  # type: ignore[arg-type]  # shape checked by parse
    author, has = entry.author, draft.number("balance", entry.author)
    if not granted(draft, author):
        return f"{short(author)} is not a member"
    if said.rule not in TASK_RULES:
        return f"expected a rule of {', '.join(TASK_RULES)}, got {said.rule}"
    if said.budget > has:
        return f"its budget of {said.budget} credits is above the balance of {has}"
    if said.price > said.budget:
        return f"its price of {said.price} credits a unit is above the budget of {said.budget}"
    owners = [task.publisher for _, task in tasks_of(draft)]
    if len(owners) >= TASKS_OPEN_MAX or owners.count(author) >= TASKS_OF_ONE_MAX:
        return f"{len(owners)} tasks are open, {owners.count(author)} of them its own: more wait until one is paid"
    now = _window(draft)
    ends = (now + said.bidding, now + said.bidding + said.revealing, now + said.bidding + said.revealing + said.working)
    set_number(draft, has - said.budget, "balance", author)
    draft.put((author, said.rule, said.budget, said.price, *ends, 0, said.title), "task", entry.id)
    return None


def commit(draft: Draft, entry: Entry) -> str | None:
    """A worker seals a bid; another one of it takes the place of the first."""
    id_, digest = SealedBid(*entry.payload)  # type: ignore[arg-type]  # shape checked by parse
    task = task_of(draft, id_)
    wrong = _not_now(draft, id_, task, "bidding")
    if wrong or task is None:
        return wrong
    if not is_worker(draft, entry.author):
        return f"{short(entry.author)} is not admitted as a worker"
    if present(draft, task.publisher) == entry.author:
        return "nobody bids for a task of its own"
    if draft.get("bid", id_, entry.author) is None:
        if task.num_bids == BIDS_MAX:
            return f"the task {short(id_)} has {BIDS_MAX} bids already"
        draft.put(tuple(task._replace(num_bids=task.num_bids + 1)), "task", id_)
    draft.put(tuple(Offer(digest)), "bid", id_, entry.author)
    return None


def reveal_bid(draft: Draft, entry: Entry) -> str | None:
    """A worker opens its bid; what does not fit the seal is no bid, and a lapse."""
    id_, units, ask, salt = OpenBid(*entry.payload)  # type: ignore[arg-type]  # shape checked by parse
    task = task_of(draft, id_)
    wrong = _not_now(draft, id_, task, "revealing")
    if wrong:
        return wrong
    offer = offer_of(draft, id_, entry.author)
    if offer is None:
        return f"it sealed no bid for the task {short(id_)}"
    if offer.units:
        return f"it has opened its bid for the task {short(id_)} already"
    if seal(entry.net, id_, entry.author, units, ask, salt) != offer.seal:
        note_bad_reveal(draft, entry.author)
        return f"{units} units for {ask} credits are not what it sealed for the task {short(id_)}: no bid"
    draft.put(tuple(Offer(offer.seal, units, ask)), "bid", id_, entry.author)
    return None


def is_early(look: Look, id_: bytes) -> bool:
    """Whether bids for this task are still sealed: opened now they would count for nothing, and be read by all."""
    task = task_of(look, id_)
    return task is not None and task.phase(_window(look)) == "bidding"


def _not_now(look: Look, id_: bytes, task: Task | None, phase: str) -> str | None:
    """Why an entry of this phase has no effect now; None if it may have one."""
    if task is None:
        return f"no task {short(id_)} is open"
    is_phase = task.phase(_window(look))
    if is_phase == phase:
        return None
    if is_phase == "closed":
        return f"the task {short(id_)} is closed"
    early = PHASES.index(is_phase) < PHASES.index(phase)
    until = getattr(task, is_phase)
    return f"too {'early' if early else 'late'}: the task {short(id_)} is {is_phase} until window {until} closes"


# ------------------------------------------------------------------------------------------------- the rows


def task_of(look: Look, id_: bytes) -> Task | None:
    value = look.get("task", id_)
    return Task(*value) if value else None  # type: ignore[arg-type]  # only `publish` and `commit` write it


def tasks_of(look: Look) -> Iterator[tuple[bytes, Task]]:
    """All open tasks, ascending by id."""
    for (id_,), value in look.items("task"):
        yield id_, Task(*value)  # type: ignore[arg-type]


def offer_of(look: Look, id_: bytes, node: bytes) -> Offer | None:
    value = look.get("bid", id_, node)
    return Offer(*value) if value else None  # type: ignore[arg-type]


def offers_of(look: Look, id_: bytes) -> dict[NodeId, Offer]:
    """The bids for one task, under the keys that made them."""
    return {NodeId(node): Offer(*value) for (of, node), value in look.items("bid") if of == id_}  # type: ignore[arg-type]


def winners_of(look: Look, id_: bytes) -> dict[NodeId, Won]:
    """Who was picked for one task, under the keys that bid."""
    return {NodeId(node): Won(*value) for (of, node), value in look.items("won") if of == id_}  # type: ignore[arg-type]


def bids_of(look: Look, id_: bytes) -> dict[NodeId, Bid]:
    """The opened bids of those who are still workers."""
    return {
        node: Bid(offer.units, offer.ask)
        for node, offer in offers_of(look, id_).items()
        if offer.units and is_worker(look, present(look, node))
    }


def escrow(look: Look) -> int:
    """Credits in the budgets of all open tasks."""
    return sum(task.budget for _, task in tasks_of(look))


def _window(look: Look) -> int:
    number = (look.get("window") or (0, 1))[0]
    assert isinstance(number, int)
    return number
