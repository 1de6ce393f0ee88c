"""One node's privacy budget as a value: what is promised, what has been released, whether a next release still fits.
Knows numbers; knows no learner, round or neighbour.

Everything a node says in gossip follows from its noisy steps, so what it has spent does not depend on the graph, on who
listens, or on how often something is repeated. A release counts once it has been computed, before anything that follows
from it may leave: the record is durable first (horizontal/budget.py). So a node that was killed has counted what the
world may have seen; steps that it then does again are drawn afresh and count again.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from p2pfl.privacy.accounting import (
    Bound,
    Event,
    check_target,
    epsilon_quick,
    epsilon_tight,
    releases_within,
    solve_noise,
)

EVENTS_MAX = 64
"""Different kinds of release in one record: each restart with another noise or rate begins one."""

Unit = Literal["example", "node"]


@dataclass(frozen=True, slots=True)
class Promise:
    """What the node promises: `unit` of protection, the releases it makes, and its budget. planned: releases of a run.

    epsilon None: no budget; what is spent is counted all the same. coalition: the members of a cell that may work
    together, where noise is shared out among the others (sharing.py); `alone` is then the noise that is left against
    all others. Sums of discrete noise are counted by their zCDP, which is the quick bound.
    """

    unit: Unit
    noise: float
    rate: float
    delta: float
    planned: int
    epsilon: float | None = None
    coalition: int | None = None
    alone: float | None = None

    def __post_init__(self) -> None:
        check_target(self.epsilon, self.delta)
        self.event(self.planned)

    def event(self, count: int) -> Event:
        return Event(self.noise, self.rate, count)

    def cost(self, events: Sequence[Event]) -> float:
        """Epsilon to report of these releases."""
        return self.bound(events, self.delta)

    @property
    def bound(self) -> Bound:
        return epsilon_tight if self.coalition is None else epsilon_quick


def promised(
    unit: Unit,
    noise: float | None,
    rate: float,
    epsilon: float | None,
    delta: float,
    planned: int,
    coalition: int | None = None,
) -> Promise:
    """The promise of a configuration; noise None: as much as the budget needs for `planned` releases. ConfigError."""
    if noise is None:
        assert epsilon is not None  # the configuration has one or the other
        bound = epsilon_tight if coalition is None else epsilon_quick
        noise = solve_noise(rate, planned, epsilon, delta, bound)
    return Promise(unit, noise, rate, delta, planned, epsilon, coalition)


@dataclass(frozen=True, slots=True)
class Spending:
    """What has been released under a promise, earlier runs of this folder included; `left` more releases fit."""

    promise: Promise
    events: tuple[Event, ...]
    left: int

    @staticmethod
    def begin(promise: Promise, events: Sequence[Event] = ()) -> "Spending":
        """After `events`. May take seconds if they are many kinds, or if the budget does not hold the whole run."""
        if promise.epsilon is None:
            return Spending(promise, tuple(events), promise.planned)
        alike = sum(event.count for event in events if event == promise.event(event.count))
        asked = promise.event(max(promise.planned - alike, 0))
        left = releases_within(events, asked, promise.epsilon, promise.delta, promise.bound) if asked.count else 0
        return Spending(promise, tuple(events), left)

    def allows(self, count: int) -> bool:
        return self.promise.epsilon is None or count <= self.left

    def after(self, count: int) -> "Spending":
        """With so many releases more."""
        events = self.events
        if events and events[-1] == self.promise.event(events[-1].count):
            count_before, events = events[-1].count, events[:-1]
        else:
            count_before = 0
        events = (*events, self.promise.event(count_before + count))
        return replace(self, events=events, left=max(self.left - count, 0))

    @property
    def count(self) -> int:
        return sum(event.count for event in self.events)

    def epsilon_quick(self) -> float:
        return epsilon_quick(self.events, self.promise.delta)

    def epsilon_tight(self) -> float:
        return self.promise.cost(self.events)
