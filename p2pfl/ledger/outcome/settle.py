"""The end of an accounting window: its supply is spent here, once, and nowhere else. Pure; knows windows, no entry.

In this order: the rule that was in force pays and fines, on the state as the window left it; tasks are paid and given
out; windows that are being valued go one step on (scores.py); stakes whose delay is over are free; the window's counts
are put away; a rule that validators adopted comes into force. What a rule does not pay is not issued, and what is
burned stays issued: docs/formats/state.md has the sum that must hold.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from p2pfl.core.ids import NodeId
from p2pfl.ledger.outcome.members import is_worker
from p2pfl.ledger.outcome.rulebook import turn
from p2pfl.ledger.outcome.rules import Fines, Remembers, Rule, Window
from p2pfl.ledger.outcome.scores import close as close_scores
from p2pfl.ledger.outcome.scores import collect_scores, revealed
from p2pfl.ledger.outcome.stake import burn, forget_lapses, free, lapses_of
from p2pfl.ledger.outcome.state import Draft, State
from p2pfl.ledger.outcome.task_ends import Paid, Picked, close_tasks
from p2pfl.ledger.outcome.work import collect, count_off


@dataclass(frozen=True, slots=True)
class Settlement:
    """A window that closed, and what came of it. `before`: the state that the rule saw; `burned`: what fines took."""

    window: Window
    rule: Rule
    payouts: Mapping[NodeId, int]
    burned: Mapping[NodeId, int]
    picked: tuple[Picked, ...]
    paid: tuple[Paid, ...]
    before: State = field(repr=False)


def window_of(state: State, last_height: int, supply: int) -> Window:
    """The open window, as it stands."""
    number, first = state.get("window") or (0, 1)
    assert isinstance(number, int)
    assert isinstance(first, int)
    members = tuple(NodeId(parts[0]) for parts, _ in state.items("member") if is_worker(state, parts[0]))
    lapses = {NodeId(parts[0]): lapses_of(state, parts[0]) for parts, _ in state.items("lapse")}
    scores = {node: score.micro for node, score in collect_scores(state, number).items()}
    said = revealed(state, number)
    return Window(number, first, last_height, supply, members, collect(state), scores, lapses, said)


def settle(draft: Draft, rule: Rule, window: Window) -> Settlement:
    """Close the window that the draft's base is at the end of."""
    before = draft.base
    payouts = checked(rule(before, window), window)
    fines = rule.fines(before, window) if isinstance(rule, Fines) else {}
    reputations = rule.reputations(before, window) if isinstance(rule, Remembers) else {}
    assert draft.get("settled", window.number) is None, f"window {window.number} is settled already"
    for node, amount in payouts.items():
        draft.put((draft.number("balance", node) + amount,), "balance", node)
    for node in sorted(reputations):
        draft.put((_whole(reputations[node]),), "reputation", node)
    burned = {node: burn(draft, node, _whole(fines[node])) for node in sorted(fines)}
    forget_lapses(draft)
    picked, paid = close_tasks(draft, window)  # lapses that it notes are of the next window: this one's rule has spoken
    close_scores(draft, window.number, before.root(), collect_scores(before, window.number))
    _put_away(draft, window, sum(payouts.values()))
    return Settlement(window, rule, payouts, burned, picked, paid, before)


def checked(payouts: Mapping[NodeId, int], window: Window) -> dict[NodeId, int]:
    """The payouts above zero, by node. A rule that breaks its law stops the node: all others stop at the same place."""
    good = all(type(amount) is int and amount >= 0 for amount in payouts.values())
    assert good, "a rule pays whole numbers"
    assert payouts.keys() <= set(window.members), "a rule pays members"
    assert sum(payouts.values()) <= window.supply, "a rule pays at most the window's supply"
    return {node: payouts[node] for node in sorted(payouts) if payouts[node]}


def _put_away(draft: Draft, window: Window, paid: int) -> None:
    draft.put((window.first_height, window.last_height, window.supply, paid), "settled", window.number)
    draft.put((draft.number("issued") + paid,), "issued")
    count_off(draft)
    free(draft, window.number)
    draft.put((window.number + 1, window.last_height + 1), "window")
    turn(draft, window.last_height)


def _whole(number: int) -> int:
    assert type(number) is int, "a rule counts in whole numbers"
    assert number >= 0, "a rule counts in whole numbers"
    return number
