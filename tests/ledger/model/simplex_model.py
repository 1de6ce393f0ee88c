"""Every state that three honest validators and one that does anything reach in two views. Knows the voting rule only.

The decisions are the functions that `simplex.Finality` calls. Messages are monotone: what was once signed can reach
anybody at any time or never, so a state is what the honest have signed, and whatever certificate could exist, exists.
The fourth validator has signed everything from the start. Proposers propose everything: two blocks in view 1; in view 2
one on the genesis, and one on each block of view 1.
"""

from collections.abc import Iterator
from functools import cache
from itertools import combinations

from p2pfl.ledger.blocks.rule import Cast, Kind, VotingRule

PARENT = {"a": None, "b": None, "g": None, "ca": "a", "cb": "b"}
"""Blocks, and what they extend (None: the genesis)."""
BLOCKS = {1: ("a", "b"), 2: ("g", "ca", "cb")}
HONEST = 3
N = 4

Act = tuple[int, Kind, str]
ACTS: list[Act] = [
    (view, kind, block)
    for view, blocks in BLOCKS.items()
    for kind in Kind
    for block in (("",) if kind is Kind.NULLIFY else blocks)
]
BIT = {act: 1 << i for i, act in enumerate(ACTS)}
State = tuple[int, ...]
"""What each honest validator has signed, as bits; sorted, because they are alike."""


class Model:
    """One rule, explored."""

    def __init__(self, rule: VotingRule) -> None:
        self.rule = rule
        self.needed = rule.quorum(N) - 1  # the liar gives its vote to everything

    def explore(self, states_max: int = 1_000_000) -> tuple[int, State | None]:
        """How many states were reached, and the first in which two blocks are final that must not both be."""
        start = (0,) * HONEST
        seen, todo = {start}, [start]
        while todo:
            state = todo.pop()
            if self.broken(state):
                return len(seen), state
            for after in self.steps(state):
                if after not in seen:
                    assert len(seen) < states_max
                    seen.add(after)
                    todo.append(after)
        return len(seen), None

    def steps(self, state: State) -> Iterator[State]:
        """Each honest validator signs each thing that the rule allows it."""
        certificates = self.certificates(state)
        for i, signed in enumerate(state):
            for act in self.allowed(signed, certificates):
                yield tuple(sorted((*state[:i], signed | BIT[act], *state[i + 1 :])))

    @cache  # noqa: B019  # lives as long as its test
    def allowed(self, signed: int, certificates: frozenset[Act]) -> list[Act]:
        return [act for act in ACTS if not signed & BIT[act] and self.may(act, signed, certificates)]

    def may(self, act: Act, signed: int, certificates: frozenset[Act]) -> bool:
        view, kind, block = act
        if view == 2 and not any(v == 1 and k is not Kind.FINALIZE for v, k, _ in certificates):
            return False  # nobody is in view 2 yet
        cast = cast_of(signed, view)
        if kind is Kind.NULLIFY:
            return self.rule.may_nullify(cast)
        if kind is Kind.FINALIZE:
            return (view, Kind.NOTARIZE, block) in certificates and self.rule.may_finalize(cast)
        parent = PARENT[block]
        parent_view = 0 if parent is None else 1
        notarized = parent is None or (1, Kind.NOTARIZE, parent) in certificates
        extends = self.rule.may_extend(parent_view, view, lambda skipped: (skipped, Kind.NULLIFY, "") in certificates)
        return notarized and extends and self.rule.may_notarize(cast)

    def certificates(self, state: State) -> frozenset[Act]:
        return frozenset(act for act in ACTS if sum(1 for s in state if s & BIT[act]) >= self.needed)

    def broken(self, state: State) -> bool:
        final = [block for _, kind, block in self.certificates(state) if kind is Kind.FINALIZE]
        return any(PARENT[one] != other and PARENT[other] != one for one, other in combinations(final, 2))


def cast_of(signed: int, view: int) -> Cast:
    """What the validator remembers of a view."""
    cast = Cast()
    for act in ACTS:
        if act[0] == view and signed & BIT[act]:
            cast = cast.plus(act[1], act[2].encode())
    return cast
