"""Who gets the work of a task, and for how much. Pure; knows bids and a budget; knows no entry, state or window.

Two rules, by the name that a task gives.

`auction`: budget-feasible procurement (Singer 2010, section 4: proportional share, for additive values). A bid is a
pair (units u, ask a). Bids in ascending order of a / u, ties by key, are picked while the last one fits its share of
the budget:

    a_i <= budget * u_i / (u_1 + .. + u_i)

Each of those picked, U units in all, is paid its critical price: the largest ask with which it would still have been
picked. It does not depend on its own ask, so no other ask pays it more; with the first one k that was not picked it
is

    min(floor(budget * u_i / U), the last whole number that comes before k in the order)

and all together are at most the budget, because the first terms are. Differs from the paper in: whole credits;
`price`, the most that the task pays for a unit, as a bid of nobody that ends the order. Truthful in the ask; `units`
are promised, and paid as far as they are delivered, so that to promise more than one does never pays more.

`posted`: the publisher leads with a price and the bidders follow (a Stackelberg game of one price). Whoever asks no
more than `price` a unit is picked and paid that price; if the budget is for fewer units than were offered, they are
divided in proportion to the offers, by largest remainder. The ask does not change what one gets, once one is in.
"""

from collections.abc import Callable, Mapping
from fractions import Fraction
from typing import NamedTuple

from p2pfl.core.ids import NodeId
from p2pfl.ledger.outcome.rules import split


class Bid(NamedTuple):
    """`units` of work for `ask` credits in all; both above zero."""

    units: int
    ask: int

    @property
    def density(self) -> Fraction:
        return Fraction(self.ask, self.units)


class Award(NamedTuple):
    """`credits` for all of `units`; for fewer in proportion, rounded down."""

    units: int
    credits: int

    def pay(self, delivered: int) -> int:
        return self.credits * min(delivered, self.units) // self.units


Bids = Mapping[NodeId, Bid]
Awards = dict[NodeId, Award]


def auction(budget: int, price: int, bids: Bids) -> Awards:
    """See above. Independent of the order of `bids`; the credits of all awards are at most `budget`."""
    ranked = _ranked(price, bids)
    picked, total = 0, 0
    for _, bid in ranked:
        if bid.ask * (total + bid.units) > budget * bid.units:
            break
        picked, total = picked + 1, total + bid.units
    rival = ranked[picked] if picked < len(ranked) else None
    return {node: Award(bid.units, _critical(budget, price, total, node, bid, rival)) for node, bid in ranked[:picked]}


def posted(budget: int, price: int, bids: Bids) -> Awards:
    """See above."""
    takers = {node: bid.units for node, bid in _ranked(price, bids)}
    affordable = budget // price
    if sum(takers.values()) > affordable:
        takers = split(affordable, takers)
    return {node: Award(units, units * price) for node, units in sorted(takers.items()) if units}


TASK_RULES: dict[str, Callable[[int, int, Bids], Awards]] = {"auction": auction, "posted": posted}
"""By the name in "task.publish"."""


def why_not(rule: str, budget: int, price: int, bids: Bids, node: NodeId) -> str:
    """Why a bid was not picked, in one line."""
    bid = bids[node]
    if bid.ask > budget:
        return f"its bid of {bid.ask} credits is above the budget of {budget}"
    if bid.ask > price * bid.units:
        return f"it asks {_unit(bid)} a unit, and the task pays at most {price}"
    if rule == "posted":
        return f"the budget of {budget} buys {budget // price} units, of which none came to it"
    before = [other for other, _ in _ranked(price, bids)]
    total = sum(bids[other].units for other in before[: before.index(node) + 1])
    return (
        f"it asks {_unit(bid)} a unit, and those who ask less leave it no share: "
        f"{budget} credits for {total} units are {budget * 1000 // total / 1000:g} a unit"
    )


def why(rule: str, award: Award, bid: Bid) -> str:
    """Why one who was picked may earn what it may."""
    if rule == "posted":
        short = f" of the {bid.units} that it offered" if award.units < bid.units else ""
        return f"picked for {award.units} units{short} at the posted price: {award.credits} credits"
    return (
        f"picked for {award.units} units at {award.credits} credits: it asked {bid.ask}, "
        "and this is the most that it could have asked and still been picked"
    )


def _ranked(price: int, bids: Bids) -> list[tuple[NodeId, Bid]]:
    """Those who ask at most `price` a unit, cheapest first."""
    return sorted(
        ((node, bid) for node, bid in bids.items() if bid.ask <= price * bid.units),
        key=lambda item: (item[1].density, item[0]),
    )


def _critical(budget: int, price: int, total: int, node: NodeId, bid: Bid, rival: tuple[NodeId, Bid] | None) -> int:
    """The largest ask of `node` that is picked, the other bids as they are. `total`: units of all that are picked."""
    most = min(budget * bid.units // total, price * bid.units)
    if rival is None:
        return most
    other, theirs = rival
    level = theirs.ask * bid.units
    before = level // theirs.units if level % theirs.units or node < other else level // theirs.units - 1
    return min(most, before)


def _unit(bid: Bid) -> str:
    return f"{bid.ask * 1000 // bid.units / 1000:g}"
