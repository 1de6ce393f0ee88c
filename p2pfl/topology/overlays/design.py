"""Overlays for an underlay, side by side, and the one to take. Knows the rooms they come from; writes nothing.

The one to take is the first to reach the target among those whose mean round is no longer than that of the fastest
published overlay (ring, star, tree, MATCHA): as many steps of training a second, and agreement sooner.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from math import ceil

import numpy as np

from p2pfl.core import noise
from p2pfl.core.limits import NEIGHBOURS_MAX
from p2pfl.core.noise import Key, derive
from p2pfl.errors import ConfigError
from p2pfl.topology.families.varying import from_matchings
from p2pfl.topology.graphs.graph import Topology
from p2pfl.topology.overlays.classics import (
    find_one_way_ring,
    find_server,
    find_tour,
    make_path,
    make_ring,
    make_tree,
    over,
    pair_delays_ms,
)
from p2pfl.topology.overlays.cycle import Arc, Workload, cycle_time_ms
from p2pfl.topology.overlays.overlay import Overlay, fastest, judge, soonest
from p2pfl.topology.overlays.placed import Ground, find_shapes, lay, place, quiet_rounds
from p2pfl.topology.overlays.regular import tune_regular
from p2pfl.topology.overlays.underlay import Underlay

DESIGN_SILOS_MAX = 256
"""Tours and trees are found among all pairs."""

MATCHA_PHASES = 64
REGULAR_DEGREES = (3, 4, 6, 8)
QUIET_MAX = 64
"""Rounds of work between exchanges, at most."""


@dataclass(frozen=True, slots=True)
class Wish:
    """What the designer is asked for. degree_max: exchanges of a silo in one round; target: the disagreement to reach,
    as a share of the first; effort: tries of each local search; budget: MATCHA's."""

    degree_max: int = NEIGHBOURS_MAX
    target: float = 1e-3
    effort: int = 1000
    seed: int = 0
    budget: float = 0.5

    def __post_init__(self) -> None:
        if not 2 <= self.degree_max <= NEIGHBOURS_MAX:
            raise ConfigError(f"expected a largest degree of 2 to {NEIGHBOURS_MAX}, got {self.degree_max}")
        if not 0 < self.target < 1:
            raise ConfigError(f"expected a target above 0 and below 1, got {self.target:g}")


@dataclass(frozen=True)
class Plan:
    """published: what papers propose, `best_published` the one with the shortest round; ours: the rest; best: ours or a
    published one that peers can run."""

    published: tuple[Overlay, ...]
    ours: tuple[Overlay, ...]
    best: Overlay

    @property
    def overlays(self) -> tuple[Overlay, ...]:
        return self.published + self.ours

    @property
    def best_published(self) -> Overlay:
        return fastest(self.published)


def design(underlay: Underlay, work: Workload, wish: Wish) -> Plan:
    """Law: best.round_ms is at most that of each published overlay. Raises ConfigError. Deterministic in wish.seed."""
    n = len(underlay.names)
    if not 3 <= n <= DESIGN_SILOS_MAX:
        raise ConfigError(f"design: expected 3 to {DESIGN_SILOS_MAX} silos, got {n}")
    key = derive(noise.root(wish.seed), "topology", "design")
    tour = find_tour(pair_delays_ms(underlay, work))
    published = tuple(find_published(underlay, work, wish, tour))
    round_ms_max = fastest(published).round_ms
    ours = [*find_regular(underlay, work, wish, key), *find_placed(underlay, work, wish, tour, round_ms_max, key)]
    allowed = [
        one
        for one in [*published, *ours]
        if one.topology is not None and one.degree <= wish.degree_max and one.round_ms <= round_ms_max * (1 + 1e-9)
    ]
    runnable = [one for one in [*published, *ours] if one.topology is not None and one.degree <= wish.degree_max]
    return Plan(published, tuple(ours), soonest(allowed or runnable))


def find_published(underlay: Underlay, work: Workload, wish: Wish, tour: list[int]) -> Iterator[Overlay]:
    """Star, rings, trees and MATCHA, over all pairs and (MATCHA+) over the underlay's own links."""
    n = len(underlay.names)

    def one(name: str, topology: Topology) -> Overlay:
        return judge(name, topology, underlay, work, wish.target)

    yield find_server(underlay, work)
    yield find_one_way_ring(underlay, work, tour, wish.target)
    ring = over(underlay, make_ring(tour))
    yield one("ring", ring)
    yield one("ring, in pairs", in_pairs(ring))
    delays = pair_delays_ms(underlay, work)
    tree = make_tree(delays, n)
    yield one("MST", over(underlay, tree))
    widest = max(Counter(end for pair in tree for end in pair).values())  # looser bounds find the same tree again
    paths: list[list[Arc]] = [make_tree(delays, degree) for degree in range(2, min(wish.degree_max, widest) + 1)]
    bounded = [over(underlay, pairs) for pairs in [*paths, make_path(tree, n)]]
    yield one("delta-MBST", min(bounded, key=lambda graph: cycle_time_ms(graph, underlay, work)))
    complete = over(underlay, [(i, j) for i in range(n) for j in range(i)])
    phases = max(MATCHA_PHASES, ceil(1 / wish.budget))
    yield one("MATCHA", from_matchings(complete, wish.budget, phases, wish.seed))
    if len(underlay.edges) < n * (n - 1) // 2:
        links = Topology(underlay.names, underlay.edges, links={e: underlay.link(*e) for e in underlay.edges})
        yield one("MATCHA+", from_matchings(links, wish.budget, phases, wish.seed))


def find_regular(underlay: Underlay, work: Workload, wish: Wish, key: Key) -> Iterator[Overlay]:
    """Tuned random regular graphs, exchanging with all neighbours and in pairs."""
    for degree in REGULAR_DEGREES:
        if degree <= wish.degree_max:
            pairs = tune_regular(underlay, work, degree, wish.effort // 4, derive(key, "regular", degree))
            if pairs is not None:
                graph = over(underlay, pairs)
                yield judge(f"regular {degree}", graph, underlay, work, wish.target)
                yield judge(f"regular {degree}, in pairs", in_pairs(graph), underlay, work, wish.target)


def find_placed(
    underlay: Underlay, work: Workload, wish: Wish, tour: list[int], round_ms_max: float, key: Key
) -> Iterator[Overlay]:
    """Base-(k+1) graphs on the map: as they are, and with rounds of work between if that makes the round short."""
    for k, rounds in find_shapes(len(tour), wish.degree_max).items():
        ground = Ground(rounds, underlay, work)
        order = place(ground, np.asarray(tour), wish.effort, derive(key, "placed", k))
        quiet = quiet_rounds(ground.exact_ms(order), len(rounds), work.compute_ms, round_ms_max)
        yield judge(f"groups k={k}", lay(ground, order), underlay, work, wish.target)
        if quiet is not None and 0 < quiet <= QUIET_MAX:
            name = f"groups k={k}, {quiet}/{quiet + len(rounds)} quiet"
            yield judge(name, lay(ground, order, quiet), underlay, work, wish.target)


def in_pairs(graph: Topology) -> Topology:
    """One matching of the graph after the other, met in the middle: what the default rule does in lockstep."""
    phases = tuple(frozenset(matching) for matching in graph.schedule())
    return Topology(graph.nodes, graph.edges, phases, graph.links, graph.places)
