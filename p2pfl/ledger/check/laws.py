"""Does a rule keep the laws that the ledger rests on? Tries many windows, and proves nothing. Knows rules, no log.

The windows are drawn from a fixed sequence of hashes: the same in every run.
"""

from collections.abc import Mapping
from dataclasses import fields, is_dataclass, replace
from hashlib import sha256
from typing import Any

from p2pfl.core.ids import NodeId
from p2pfl.ledger.blocks.genesis import PARAMETER_MAX, RULE
from p2pfl.ledger.outcome.rules import Fines, Lapses, Pair, Remembers, Window
from p2pfl.ledger.outcome.state import Draft, State

CASES = 64
SUPPLIES = (0, 1, 999, 10**6, 10**15)


def check_rule(rule: Any) -> None:
    """Nothing, or an AssertionError of one sentence that says which law `rule` breaks.

    A rule is a frozen dataclass of whole numbers with a `name`; it pays members whole credits, at most the supply;
    says the same twice and in whatever order things come; changes nothing that it is given; and has a reason for
    every member.
    """
    _check_form(rule)
    for number in range(CASES):
        dice = _Dice(number)
        state, window = _state(dice), _window(dice)
        before = repr(window)
        paid = _payouts(rule, state, window)
        _expect(repr(window) == before, "the rule changes the window that it is given")
        _expect(_payouts(rule, state, window) == paid, "the rule pays otherwise when it is asked again")
        backwards = _backwards(window)
        _expect(_payouts(rule, state, backwards) == paid, "what the rule pays depends on an order")
        _check_numbers(rule, "reputations", isinstance(rule, Remembers), state, window, backwards)
        _check_numbers(rule, "fines", isinstance(rule, Fines), state, window, backwards)
        for node in window.members:
            lines = _called(rule, "reasons", state, window, node)
            said = isinstance(lines, list) and lines and all(isinstance(line, str) and line for line in lines)
            _expect(said, "the rule has no reasons for a member: expected a list of sentences")


def _check_form(rule: Any) -> None:
    kind = type(rule)
    frozen = is_dataclass(rule) and not isinstance(rule, type) and getattr(kind, "__dataclass_params__").frozen  # noqa: B009
    _expect(frozen, f"expected an instance of a frozen dataclass, got {kind.__name__}")
    name = getattr(rule, "name", None)
    _expect(
        isinstance(name, str) and RULE.fullmatch(name), f"expected a name of a-z, 0-9, dots, underscores, got {name!r}"
    )
    for each in fields(rule):
        value = getattr(rule, each.name)
        whole = type(value) is int and 0 < value <= PARAMETER_MAX
        _expect(whole, f"{each.name}: expected a whole number of 1 to {PARAMETER_MAX}, got {value!r}")
    for method in ("__call__", "reasons"):
        _expect(callable(getattr(rule, method, None)), f"expected {kind.__name__} to have {method!r}")


def _payouts(rule: Any, state: State, window: Window) -> dict[NodeId, int]:
    paid = _called(rule, "__call__", state, window)
    _expect(isinstance(paid, Mapping), f"expected credits by member, got {type(paid).__name__}")
    whole = all(type(amount) is int and amount >= 0 for amount in paid.values())
    _expect(whole, "the rule pays what is no whole number of 0 or more")
    _expect(set(paid) <= set(window.members), "the rule pays somebody who is no member")
    total = sum(paid.values())
    _expect(total <= window.supply, f"the rule pays {total} of a supply of {window.supply}")
    return {node: amount for node, amount in paid.items() if amount}


def _check_numbers(rule: Any, method: str, has: bool, state: State, window: Window, backwards: Window) -> None:
    if not has:
        return
    found = _called(rule, method, state, window)
    whole = all(type(amount) is int and amount >= 0 for amount in found.values())
    _expect(whole, f"{method} has what is no whole number of 0 or more")
    _expect(dict(_called(rule, method, state, backwards)) == dict(found), f"{method} depends on an order")


def _backwards(window: Window) -> Window:
    return replace(
        window,
        members=window.members[::-1],
        evaluators=window.evaluators[::-1],
        pairs=window.pairs[::-1],
        scores=dict(reversed(list(window.scores.items()))),
        lapses=dict(reversed(list(window.lapses.items()))),
    )


def _called(rule: Any, method: str, *args: Any) -> Any:
    try:
        return getattr(rule, method)(*args)
    except AssertionError:
        raise
    except Exception as error:  # a stranger's code: whatever it raises is a broken law
        raise AssertionError(f"{method} raises {type(error).__name__}: {error}") from error


def _expect(holds: object, sentence: str) -> None:
    """Also under `python -O`."""
    if not holds:
        raise AssertionError(sentence)


# ------------------------------------------------------------------------------------------- windows to try


class _Dice:
    """Whole numbers from a sequence of hashes."""

    def __init__(self, number: int) -> None:
        self._number, self._thrown = number, 0

    def below(self, top: int) -> int:
        self._thrown += 1
        digest = sha256(b"p2pfl/check_rule/%d/%d" % (self._number, self._thrown)).digest()
        return int.from_bytes(digest[:8], "big") % top


def _window(dice: _Dice) -> Window:
    members = _members()[: dice.below(7)]
    pairs = []
    for sender in members:
        for receiver in members:
            if sender != receiver and dice.below(3):
                count = dice.below(200)
                pairs.append(Pair(sender, receiver, count, count * dice.below(10**6)))
    scores = {node: dice.below(2 * 10**6) - 10**6 for node in members if dice.below(4)}
    lapses = {node: Lapses(dice.below(3), dice.below(3)) for node in members if not dice.below(4)}
    evaluators = tuple(node for node in members if dice.below(2))
    return Window(3, 7, 8, SUPPLIES[dice.below(len(SUPPLIES))], members, tuple(pairs), scores, lapses, evaluators)


def _state(dice: _Dice) -> State:
    draft = Draft(State())
    for tag in ("stake", "reputation", "balance"):
        for node in _members():
            if dice.below(2):
                draft.put((dice.below(10**6 + 1),), tag, node)
    return draft.done()


def _members() -> tuple[NodeId, ...]:
    return tuple(NodeId(bytes([number]) * 32) for number in range(1, 7))
