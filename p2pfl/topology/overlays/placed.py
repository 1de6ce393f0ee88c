"""Exact averages in few rounds, put on the map: the Base-(k+1) graph with each of its places given to a silo.

The graph (base_graph.py) says which places meet in which round. Who stands where is free, and decides how long the
rounds take: near silos should meet in the rounds with large groups, and no silo should wait twice for a far one. Found
by swaps from a start in the order of a short tour. Knows delays; nothing of how the rounds are found.

Rounds of work without an exchange may come before the others: they cost nothing but the work, so that the mean round is
shorter and the mean of all nodes comes later. Local steps between averages, as in FedAvg (McMahan et al. 2017).
"""

from collections.abc import Sequence
from math import ceil
from typing import Any

import numpy as np

from p2pfl.core.noise import Key, generator
from p2pfl.topology.families.base_graph import Round, compute_base_graph
from p2pfl.topology.graphs.graph import Topology, edge
from p2pfl.topology.overlays.cycle import Messages, Workload, both_ways, find_messages, mean_round_ms, pass_round
from p2pfl.topology.overlays.underlay import Underlay

SMALL_K = 12
"""Every number of peers up to this is looked at, and above it those that split the silos into up to 8 groups."""
SPLITS = 8
WARM_PERIODS, MEASURED_PERIODS = 2, 4


def find_shapes(n: int, degree_max: int) -> dict[int, list[Round]]:
    """The rounds by number of peers k <= degree_max; of those with as many rounds the one with the smallest k."""
    tried = {*range(1, SMALL_K + 1), *(ceil(n / groups) - 1 for groups in range(1, SPLITS + 1))}
    found: dict[int, list[Round]] = {}
    lengths: set[int] = set()
    for k in sorted(k for k in tried if 1 <= k <= min(degree_max, n - 1)):
        rounds = compute_base_graph(n, k)
        if len(rounds) not in lengths:
            lengths.add(len(rounds))
            found[k] = rounds
    return found


class Ground:
    """The rounds of one shape, laid on one underlay: how long a period takes for an order of the silos."""

    def __init__(self, rounds: Sequence[Round], underlay: Underlay, work: Workload) -> None:
        self.rounds, self.underlay, self.work = rounds, underlay, work
        self._n = len(underlay.names)
        self._arcs = [
            np.asarray(both_ways((u, v) for u, v, _ in pairs), dtype=np.intp).reshape(-1, 2) for pairs in rounds
        ]

    def messages(self, order: Any) -> list[Messages]:
        """Of every round, if place i is given to silo order[i]."""
        return [find_messages(order[arcs], self.underlay, self.work) for arcs in self._arcs]

    def exact_ms(self, order: Any) -> float:
        """Of a period."""
        return mean_round_ms(self.messages(order), self._n, self.work.compute_ms) * len(self.rounds)

    def quick_ms(self, order: Any) -> float:
        """The same, as the latest silo sees it over a few periods."""
        messages = self.messages(order)
        times, warm = np.zeros(self._n), 0.0
        for period in range(WARM_PERIODS + MEASURED_PERIODS):
            if period == WARM_PERIODS:
                warm = float(times.max())
            for of_round in messages:
                times = pass_round(times, of_round, self.work.compute_ms)
        return (float(times.max()) - warm) / MEASURED_PERIODS


def place(ground: Ground, order: Any, swaps: int, key: Key) -> Any:
    """A better order, by so many tries of giving two silos each other's place; ties are taken, to move on plateaus."""
    rng, n = generator(key), len(order)
    best = ground.quick_ms(order)
    for _ in range(swaps):
        i, j = rng.integers(n, size=2)
        if i == j:
            continue
        order[[i, j]] = order[[j, i]]
        now = ground.quick_ms(order)
        if now <= best:
            best = now
        else:
            order[[i, j]] = order[[j, i]]
    return order


def quiet_rounds(period_ms: float, rounds: int, compute_ms: float, round_ms_max: float) -> int | None:
    """Rounds of work alone that bring the mean round down to round_ms_max; None if none can."""
    over_ms = period_ms - rounds * round_ms_max
    if over_ms <= 0:
        return 0
    spare_ms = round_ms_max - compute_ms
    return ceil(over_ms / spare_ms - 1e-9) if spare_ms > 0 else None


def lay(ground: Ground, order: Any, quiet: int = 0) -> Topology:
    """The changing graph over the silos, with exact weights; `quiet` rounds of work alone come first."""
    underlay = ground.underlay
    names = [underlay.names[i] for i in order]
    shares = [{edge(names[u], names[v]): weight for u, v, weight in pairs} for pairs in ground.rounds]
    shares = [{} for _ in range(quiet)] + shares
    phases = tuple(frozenset(share) for share in shares)
    edges = frozenset().union(*phases)
    links = {e: underlay.link(*e) for e in edges}
    return Topology(underlay.names, edges, phases, links, underlay.places, tuple(shares))
