"""How a window's contributions become credits. Knows states and windows; knows no entry, no block and no store.

A `Rule` is a pure function of the state and the window: whole numbers only, the same on every machine. It names what
it pays in credits of the window's supply; whoever settles the window checks that this is not more than there is. A
rule may do two more things, by having the method: keep a number for each member (`Remembers`), and take from stakes
(`Fines`). `p2pfl.testing.check_rule` tries a rule of your own; docs/contracts.md shows one.
"""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, fields, is_dataclass
from hashlib import sha256
from typing import Any, ClassVar, NamedTuple, Protocol, runtime_checkable

from p2pfl.core.ids import NodeId
from p2pfl.errors import ConfigError
from p2pfl.ledger.outcome.state import State
from p2pfl.wire import canonical

DOMAIN = b"p2pfl/rule/v1\0"
PARAMETER_MAX = (1 << 31) - 1


class Pair(NamedTuple):
    """Messages of this window that `sender` says it sent and `receiver` says it took, `size_bytes` together."""

    sender: NodeId
    receiver: NodeId
    num_messages: int
    size_bytes: int


class Lapses(NamedTuple):
    """What a member did wrong in a window, short of a crime: seals opened falsely, and seals never opened."""

    bad_reveals: int = 0
    withheld: int = 0


@dataclass(frozen=True, slots=True)
class Window:
    """What a rule gets to see of one accounting window: finalized heights first_height to last_height."""

    number: int
    first_height: int
    last_height: int
    supply: int
    members: tuple[NodeId, ...]
    """Who may be paid, ascending: admitted workers that are not frozen."""
    pairs: tuple[Pair, ...]
    """Ascending by sender and receiver; both are members."""
    scores: Mapping[NodeId, int] = field(default_factory=dict)
    """What evaluators say that each member's work was worth, in millionths; may be below zero. Members
    that were not scored are not in it. They are of the window three before this one: valuing takes that long."""
    lapses: Mapping[NodeId, Lapses] = field(default_factory=dict)
    """Of those who have any, members or not."""
    evaluators: tuple[NodeId, ...] = ()
    """Members who said these scores, ascending."""


class Rule(Protocol):
    """A frozen dataclass whose fields are whole numbers: its parameters in the genesis file."""

    name: ClassVar[str]

    def __call__(self, state: State, window: Window) -> Mapping[NodeId, int]:
        """Credits by member; together at most the window's supply."""
        ...

    def reasons(self, state: State, window: Window, node: NodeId) -> list[str]:
        """Why the node gets what it gets, in sentences: for `ledger explain`."""
        ...


@runtime_checkable
class Remembers(Protocol):
    """A rule that keeps a number for each member from window to window: the row `reputation`."""

    def reputations(self, state: State, window: Window) -> Mapping[NodeId, int]:
        """The new numbers, zero or more; members that are not in it keep theirs. `state` has the former ones."""
        ...


@runtime_checkable
class Fines(Protocol):
    """A rule that takes credits from stakes: they are burned."""

    def fines(self, state: State, window: Window) -> Mapping[NodeId, int]:
        """Credits by node, zero or more. More than a node has at stake takes what it has."""
        ...


def split(supply: int, shares: Mapping[NodeId, int]) -> dict[NodeId, int]:
    """`supply` divided in proportion to `shares` >= 0, by largest remainder, ties by smaller id.

    Sums to `supply` exactly, or to nothing if there are no shares. Independent of the order of `shares`.
    """
    total = sum(shares.values())
    if total == 0:
        return {}
    payouts = {node: supply * shares[node] // total for node in sorted(shares)}
    left = supply - sum(payouts.values())
    by_remainder = sorted(shares, key=lambda node: (-(supply * shares[node] % total), node))
    for node in by_remainder[:left]:
        payouts[node] += 1
    return payouts


def _receipts(**parameters: int) -> Rule:
    from p2pfl.ledger.outcome.rules.receipts import Receipts

    return Receipts(**parameters)


def _score(**parameters: int) -> Rule:
    from p2pfl.ledger.outcome.rules.score import Score

    return Score(**parameters)


def _reputation(**parameters: int) -> Rule:
    from p2pfl.ledger.outcome.rules.reputation import Reputation

    return Reputation(**parameters)


def _stake(**parameters: int) -> Rule:
    from p2pfl.ledger.outcome.rules.staked import Staked

    return Staked(**parameters)


RULES: dict[str, Callable[..., Rule]] = {
    "receipts": _receipts,
    "score": _score,
    "reputation": _reputation,
    "stake": _stake,
}
"""By the name in the genesis file."""


def add_rule(kind: Any) -> None:
    """Let a rule of one's own be named like the built-in ones, in this process. `kind` is its class.

    It comes from this machine's own configuration, never from the network; all nodes need the same code under the name.
    Raises ConfigError unless it is a frozen dataclass with a name that is free.
    """
    name = getattr(kind, "name", None)
    frozen = isinstance(kind, type) and is_dataclass(kind) and getattr(kind, "__dataclass_params__").frozen  # noqa: B009
    if not frozen or not isinstance(name, str):
        raise ConfigError(f"expected a rule: a frozen dataclass with a name, got {kind!r}"[:120])
    if RULES.get(name, kind) is not kind:
        raise ConfigError(f"there is a rule {name!r} already: choose another name for yours")
    RULES[name] = kind


def make_rule(name: str, parameters: Mapping[str, int]) -> Rule:
    """The rule of this name. Raises ConfigError for another name, or parameters it does not have."""
    if name not in RULES:
        raise ConfigError(f"expected a rule of {', '.join(RULES)}, got {name!r}")
    known = {each.name for each in fields(RULES[name]())}  # type: ignore[arg-type]
    for key, value in sorted(parameters.items()):
        if key not in known:
            raise ConfigError(f"the rule {name} has no parameter {key!r}; it has {', '.join(sorted(known))}")
        if type(value) is not int or not 0 < value <= PARAMETER_MAX:
            raise ConfigError(f"{name}.{key}: expected a whole number of 1 to {PARAMETER_MAX}, got {value!r}")
    return RULES[name](**parameters)


def rule_digest(rule: Rule) -> bytes:
    """What a header says of the rule in force: its name, version and parameters."""
    parameters: dict[str, Any] = asdict(rule)  # type: ignore[call-overload]
    rows = [[name, parameters[name]] for name in sorted(parameters)]
    return sha256(DOMAIN + canonical.packb([rule.name, rows])).digest()
