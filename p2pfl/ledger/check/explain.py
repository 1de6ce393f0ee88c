"""Why a number in the ledger is what it is, in words. Knows the log and what it leads to; never changes anything.

The ledger holds no explanations: they are found by playing the log again and watching (`replay`). Whoever asks why a
balance is zero gets the first reason that applies, and then what the rule itself says.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from p2pfl.core.ids import NodeId, short
from p2pfl.errors import ConfigError
from p2pfl.ledger.blocks.block import Block, Place
from p2pfl.ledger.check.explain_scores import score_lines
from p2pfl.ledger.check.explain_tasks import open_tasks, settled_tasks
from p2pfl.ledger.check.source import View
from p2pfl.ledger.feeds.describe import roles_text, rule_text
from p2pfl.ledger.feeds.entry import Entry
from p2pfl.ledger.outcome.contract import FAULTS, Accounts, Outcome
from p2pfl.ledger.outcome.members import Look, endorsements, granted, present
from p2pfl.ledger.outcome.rulebook import in_force
from p2pfl.ledger.outcome.rules import Rule, Window
from p2pfl.ledger.outcome.settle import Settlement, window_of
from p2pfl.ledger.outcome.state import State
from p2pfl.ledger.outcome.work import flows

STALL_MS = 60_000
"""Between two heights; shorter pauses are not worth a line."""


@dataclass(frozen=True, slots=True)
class Played:
    """A height, played again."""

    block: Block
    entries: tuple[Entry, ...]
    outcome: Outcome


@dataclass(frozen=True, slots=True)
class Explanation:
    """What a node gets in a window, and why; what it would get, as things stand, while the window is not `closed`."""

    node: NodeId
    window: int
    first_height: int
    last_height: int
    closed: bool
    supply: int
    credits: int
    lines: tuple[str, ...]


def replay(view: View, last: int | None = None, after: Played | None = None) -> Iterator[Played]:
    """The finalized log from the genesis on, or from what was played before, up to a height."""
    accounts = Accounts(view.genesis)
    state = accounts.first_state() if after is None else after.outcome.state
    for block in view.blocks(1 if after is None else after.block.height + 1):
        if last is not None and block.height > last:
            return
        header, entries = block.header, view.entries(block)
        place = Place(header.height, header.time_ms, header.first_index, header.height % accounts.terms.epoch == 0)
        outcome = accounts.play(state, place, entries, block.evidence)
        if outcome.state.root() != header.state_root:
            raise ConfigError(
                f"{view.source.name}: replaying {header.name} gives another state; see: p2pfl ledger verify"
            )
        state = outcome.state
        yield Played(block, tuple(entries), outcome)


def explain(view: View, node: NodeId, window: int | None = None) -> Explanation:
    """Why `node` got what it got in a window; in the last closed one by default, or the open one if none is closed.

    Raises ConfigError for a window that has not begun.
    """
    accounts = Accounts(view.genesis)
    notes: list[str] = []
    time_ms = 0
    state, found, number, first = accounts.first_state(), None, 0, 1
    for played in replay(view):
        state = played.outcome.state
        notes += _notes(played, node, time_ms)
        time_ms = played.block.header.time_ms
        settlement = played.outcome.settlement
        if settlement is None:
            continue
        if window is None or settlement.window.number == window:
            found = (settlement, tuple(notes))
        notes, number, first = [], settlement.window.number + 1, settlement.window.last_height + 1
        if window is not None and found:
            break
    if found is not None:
        return _closed(node, *found)
    if window not in (None, number):
        raise ConfigError(f"window {window} has not begun: window {number} is open, at height {view.height}")
    return _open(accounts, state, node, number, first, view.height, notes)


def explain_since(view: View, node: NodeId, first_window: int) -> list[Explanation]:
    """Why `node` got what it got in each window from this one on, and what it would get in the open one."""
    found: list[Explanation] = []
    notes: list[str] = []
    accounts, state = Accounts(view.genesis), Accounts(view.genesis).first_state()
    time_ms, number, first = 0, 0, 1
    for played in replay(view):
        state = played.outcome.state
        notes += _notes(played, node, time_ms)
        time_ms = played.block.header.time_ms
        settlement = played.outcome.settlement
        if settlement is None:
            continue
        if settlement.window.number >= first_window:
            found.append(_closed(node, settlement, tuple(notes)))
        notes, number, first = [], settlement.window.number + 1, settlement.window.last_height + 1
    return [*found, _open(accounts, state, node, number, first, view.height, notes)]


def windows_of_round(view: View, node: NodeId, round_: int) -> list[int]:
    """The windows in which what `node` wrote about this round became final; none if nothing has yet."""
    window = view.genesis.window
    found = {
        (played.block.height - 1) // window
        for played in replay(view)
        if any(entry.author == node and entry.round == round_ for entry in played.entries)
    }
    return sorted(found)


def standing(look: Look, node: NodeId, sponsors_needed: int) -> str:
    """What the node is in the network, and what it lacks."""
    frozen = look.get("frozen", node)
    if frozen is not None:
        assert isinstance(frozen[0], int)
        return f"frozen: it signed {FAULTS[frozen[0]]}"
    successor = present(look, node)
    if successor != node:
        return f"its key was rotated: see {short(successor)}"
    value = look.get("member", node)
    if value is None:
        words = endorsements(look, node)
        return f"not a member: it has not asked to join{', though ' + _said(words) if words else ''}"
    asked = value[0]
    assert isinstance(asked, int)
    has = granted(look, node)
    waiting = asked & ~has
    if not waiting:
        return f"member: {roles_text(has)}"
    words = endorsements(look, node)
    spoken = sum(1 for roles in words.values() if roles & waiting)
    wants = f"asked for {roles_text(waiting)}: {spoken} of {sponsors_needed} needed sponsors spoke"
    return f"member: {roles_text(has)}; {wants}"


def _notes(played: Played, node: NodeId, before_ms: int) -> Iterator[str]:
    """What happened at this height that a node's credits have to do with; before_ms: the time of the height before."""
    yield from _stall(played.block.header.time_ms, before_ms, played.block.height)
    if node in played.outcome.burned:
        yield f"its stake of {played.outcome.burned[node]} credits is burned: it is convicted, and frozen"
    yield from (_vain(entry, played) for entry in played.entries if _concerns(entry, node, played))


def _closed(node: NodeId, settlement: Settlement, vain: tuple[str, ...]) -> Explanation:
    window, paid = settlement.window, settlement.payouts.get(node, 0)
    more = settled_tasks(settlement, node)
    lines = _lines(settlement.rule, settlement.before, window, node, (*more, *vain))
    place = (node, window.number, window.first_height, window.last_height)
    return Explanation(*place, True, window.supply, paid, lines)


def _open(
    accounts: Accounts, state: State, node: NodeId, number: int, first: int, height: int, vain: list[str]
) -> Explanation:
    """As things stand: the rule on what is final so far."""
    last = first + accounts.terms.window - 1
    window, rule = window_of(state, last, accounts.terms.supply), accounts.rule_of(state)
    lines = _lines(rule, state, window, node, (*open_tasks(state, node, number), *vain))
    left = f"the window closes at height {last}, and this is height {height}: what follows is as things stand"
    paid = rule(state, window).get(node, 0)
    return Explanation(node, number, first, last, False, window.supply, paid, (left, *lines))


def _lines(rule: Rule, state: State, window: Window, node: NodeId, vain: tuple[str, ...]) -> tuple[str, ...]:
    lines = []
    adopted = in_force(state)
    if adopted is not None:
        text = rule_text(adopted.name, adopted.parameters)
        lines.append(
            f"the rule is {text}: validators adopted it, and it is in force from height {adopted.first_height} on"
        )
    if node not in window.members:
        lines.append(f"{short(node)} cannot be paid in this window: {standing(state, node, 0).split(';')[0]}")
    else:
        lines += [*score_lines(state, window.number, node), *rule.reasons(state, window, node)]
    lines += _unconfirmed(state, node)
    return (*lines, *vain)


def _stall(time_ms: int, before_ms: int, height: int) -> Iterator[str]:
    """Windows end with heights: one in which nothing became final for long closes late, and loses nothing."""
    if before_ms and time_ms - before_ms >= STALL_MS:
        yield (
            f"finality stood still for {(time_ms - before_ms) // 1000} s before height {height}: "
            "what was said meanwhile counts from there on"
        )


def _unconfirmed(state: State, node: NodeId) -> Iterator[str]:
    """What one end says and the other does not: since the beginning, because it may still come."""
    for sender, receiver, flow in flows(state):
        if present(state, sender) != node:
            continue
        who = short(receiver)
        if flow.sent > flow.taken:
            yield f"{flow.sent - flow.taken} messages that it says it sent to {who} are not confirmed"
        elif flow.taken > flow.sent:
            yield f"{flow.taken - flow.sent} messages that {who} confirms are not in its own feed"
        if flow.refused:
            yield f"{who} refused {flow.refused} of its messages"


def _concerns(entry: Entry, node: NodeId, played: Played) -> bool:
    return entry.author == node and entry.id in played.outcome.vain


def _vain(entry: Entry, played: Played) -> str:
    return f"its entry {short(entry.id)} ({entry.kind}) had no effect: {played.outcome.vain[entry.id]}"


def _said(words: dict[bytes, int]) -> str:
    return f"{len(words)} sponsor{'s' * (len(words) > 1)} spoke for it"
