"""check_rule: the built-in rules pass, and each way to break a law is told in one sentence."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import pytest

from p2pfl.core.ids import NodeId
from p2pfl.ledger.outcome.rules import RULES, Window, make_rule, split
from p2pfl.ledger.outcome.state import State
from p2pfl.testing import check_rule


@dataclass(frozen=True)
class Equal:
    """Whoever is there gets the same."""

    name: ClassVar[str] = "equal"
    least: int = 1

    def __call__(self, state: State, window: Window) -> Mapping[NodeId, Any]:
        return split(window.supply, dict.fromkeys(window.members, self.least))

    def reasons(self, state: State, window: Window, node: NodeId) -> list[str]:
        return ["all alike"]


class Everything(Equal):
    def __call__(self, state: State, window: Window) -> Mapping[NodeId, Any]:
        return dict.fromkeys(window.members, window.supply)


class Halves(Equal):
    def __call__(self, state: State, window: Window) -> Mapping[NodeId, Any]:
        return dict.fromkeys(window.members, window.supply / 100)


class Stranger(Equal):
    def __call__(self, state: State, window: Window) -> Mapping[NodeId, Any]:
        return {NodeId(b"\x99" * 32): 0}


class First(Equal):
    def __call__(self, state: State, window: Window) -> Mapping[NodeId, Any]:
        return {window.members[0]: window.supply} if window.members else {}


class Divides(Equal):
    def __call__(self, state: State, window: Window) -> Mapping[NodeId, Any]:
        return {node: window.supply // len(window.pairs) // 100 for node in window.members}


class Silent(Equal):
    def reasons(self, state: State, window: Window, node: NodeId) -> list[str]:
        return []


class Writes(Equal):
    def __call__(self, state: State, window: Window) -> Mapping[NodeId, Any]:
        window.scores.update(dict.fromkeys(window.members, 5))  # type: ignore[attr-defined]
        return {}


class Negative(Equal):
    def fines(self, state: State, window: Window) -> Mapping[NodeId, int]:
        return dict.fromkeys(window.members, -1)


class Ordered(Equal):
    def reputations(self, state: State, window: Window) -> Mapping[NodeId, int]:
        return {node: place for place, node in enumerate(window.members)}


class Unnamed(Equal):
    name = "No Name"


@pytest.mark.parametrize("name", list(RULES))
def test_the_built_in_rules_pass(name: str) -> None:
    check_rule(make_rule(name, {}))


def test_a_rule_of_ones_own_passes() -> None:
    check_rule(Equal())


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        (Everything(), "of a supply of"),
        (Halves(), "the rule pays what is no whole number"),
        (Stranger(), "the rule pays somebody who is no member"),
        (First(), "what the rule pays depends on an order"),
        (Divides(), "__call__ raises ZeroDivisionError"),
        (Silent(), "the rule has no reasons for a member"),
        (Writes(), "the rule changes the window"),
        (Negative(), "fines has what is no whole number"),
        (Ordered(), "reputations depends on an order"),
        (Unnamed(), "expected a name of a-z"),
        (Equal, "expected an instance of a frozen dataclass"),
        (replace(Equal(), least=0), "least: expected a whole number of 1 to"),
    ],
    ids=lambda value: type(value).__name__ if not isinstance(value, str) else "",
)
def test_a_broken_law_is_told(rule: Any, words: str) -> None:
    with pytest.raises(AssertionError, match=words):
        check_rule(rule)
