"""Graphs that change from round to round, by name and size. Knows the rooms they are made of; no clock, no files.

Round t uses phase t modulo their number: every machine draws all phases for itself from a seed that is in the network's
document, so who meets whom needs no message. Each phase is doubly stochastic, so the mean over the nodes stays.
"""

import inspect
from collections.abc import Callable, Iterable, Sized
from math import isqrt
from typing import Any, TypeVar

from p2pfl.core import noise
from p2pfl.core.noise import Key
from p2pfl.errors import ConfigError
from p2pfl.topology.families.base_graph import Round, compute_base_graph
from p2pfl.topology.families.clusters import compute_clusters, split_evenly
from p2pfl.topology.families.matcha import compute_activity, compute_counts, compute_shares
from p2pfl.topology.families.static import STATIC
from p2pfl.topology.graphs.colouring import Pair
from p2pfl.topology.graphs.graph import Topology, edge
from p2pfl.topology.graphs.numbered import (
    TRIES_MAX,
    check_neighbours,
    check_range,
    check_size,
    check_whole,
    edges_of,
    numbered,
)
from p2pfl.topology.graphs.params import check_params, suggest
from p2pfl.topology.graphs.phases import PHASES_MAX, check_length

Phase = TypeVar("Phase", bound=Sized)


def base(n: int, k: int = 1) -> Topology:
    """At most k peers each round; the exact average of any n in about 2 log n rounds (Takezawa et al. 2023).

    With `k = 1` every round is a set of pairs. Weights are given, and not all are 1/2: a rule that meets in the middle
    averages only nearly.
    """
    check_size("base", n, 2)
    check_range("base", "k", k, 1, n - 1)
    return weighed("base", n, compute_base_graph(n, k))


def random_matchings(n: int, phases: int = 16, seed: int = 0) -> Topology:
    """Everybody meets one other at random in each round, which repeats after `phases` rounds."""
    check_size("random-matchings", n, 3)
    check_range("random-matchings", "phases", phases, 2, PHASES_MAX)

    def draw(key: Key) -> Iterable[Pair]:
        order = noise.generator(key).permutation(n).tolist()
        return zip(order[::2], order[1::2], strict=False)

    return _drawn_phases("random-matchings", n, phases, seed, draw)


def epidemic(n: int, k: int = 2, phases: int = 16, seed: int = 0) -> Topology:
    """A new random graph with k neighbours each in every round (EL-Oracle of de Vos et al. 2023).

    The rule `epidemic` draws whom to tell one-sidedly instead; here both ends of an edge exchange.
    """
    import networkx as nx

    check_size("epidemic", n, 3)
    check_range("epidemic", "phases", phases, 2, PHASES_MAX)
    check_whole("epidemic", "k", k)
    if not 1 <= k < n or n * k % 2:
        raise ConfigError(f"epidemic: expected 1 <= k < n with n x k even, got n = {n}, k = {k}")
    return _drawn_phases(
        "epidemic", n, phases, seed, lambda key: nx.random_regular_graph(k, n, seed=noise.seed64(key)).edges
    )


def matcha(
    n: int, base: str = "torus", budget: float = 0.5, phases: int = 64, seed: int = 0, **params: Any
) -> Topology:
    """The matchings of another family's graph, each as often as it helps, for a budget of links per round (MATCHA).

    `budget`: the share of the base's matchings that are active in a round, on average. Other parameters are the base's.
    """
    return from_matchings(_base_of("matcha", n, base, {"seed": seed} | params, params), budget, phases, seed)


def clusters(n: int, clusters: int | None = None, every: int | None = None, heads: int | None = None) -> Topology:
    """Two levels: clusters average inside for `every` rounds, then rotating heads meet those of other clusters.

    Nodes are taken in order, as equal clusters as can be; without `clusters` about sqrt n of them, without `every` as
    many rounds as the largest cluster needs for its exact mean, without `heads` half of the smallest cluster at a time
    (after Liu et al. 2020, without a centre).
    """
    check_size("clusters", n, 4)
    count = isqrt(n) if clusters is None else clusters
    check_range("clusters", "clusters", count, 2, n // 2)
    if every is not None:
        check_range("clusters", "every", every, 1, PHASES_MAX)
    if heads is not None:
        check_range("clusters", "heads", heads, 1, n // count)
    across = n // count // 2 if heads is None else heads
    return weighed("clusters", n, compute_clusters(split_evenly(n, count), every, across))


VARYING: dict[str, Callable[..., Topology]] = {
    "base": base,
    "random-matchings": random_matchings,
    "epidemic": epidemic,
    "matcha": matcha,
    "clusters": clusters,
}


def from_matchings(topology: Topology, budget: float, phases: int, seed: int) -> Topology:
    """A graph's MATCHA schedule of `phases` rounds, over the same nodes. Raises ConfigError."""
    if not isinstance(budget, int | float) or isinstance(budget, bool) or not 0 < budget <= 1:
        raise ConfigError(f"matcha: expected a budget above 0 and at most 1, got {budget!r}")
    check_range("matcha", "phases", phases, 1, PHASES_MAX)
    check_whole("matcha", "seed", seed)
    matchings = topology.colouring()
    total = int(budget * len(matchings) * phases + 1e-9)
    if total < len(matchings):
        raise ConfigError(f"matcha: expected budget x phases of at least 1, got {budget:g} x {phases}")
    number = {name: i for i, name in enumerate(topology.nodes)}
    numbers = [[(number[a], number[b]) for a, b in matching] for matching in matchings]
    counts = compute_counts(compute_shares(len(topology.nodes), numbers, budget), phases, total)
    activity = compute_activity(counts, phases, noise.derive(noise.root(seed), "topology", "matcha"))
    active = bounded("matcha", (frozenset(e for j in chosen for e in matchings[j]) for chosen in activity))
    return Topology(topology.nodes, topology.edges, active, topology.links, topology.places)


def weighed(family: str, n: int, rounds: Iterable[Round]) -> Topology:
    """The graph of rounds with given weights."""
    names = numbered(n)
    shares = bounded(family, ({edge(names[u], names[v]): weight for u, v, weight in pairs} for pairs in rounds))
    phases = tuple(frozenset(share) for share in shares)
    return _checked(family, Topology(names, frozenset().union(*phases), phases, shares=shares))


def bounded(family: str, phases: Iterable[Phase]) -> tuple[Phase, ...]:
    """All of them. Raises ConfigError as soon as they are too many, before the rest is made."""
    found: list[Phase] = []
    edges = 0
    for phase in phases:
        found.append(phase)
        edges += len(phase)
        check_length(family, len(found), edges)
    return tuple(found)


def _drawn_phases(family: str, n: int, phases: int, seed: int, draw: Callable[[Key], Iterable[Pair]]) -> Topology:
    """Phases from a key each, all of them anew until the whole is connected."""
    check_whole(family, "seed", seed)
    key = noise.derive(noise.root(seed), "topology", family)
    for attempt in range(TRIES_MAX):
        rounds = (frozenset(edges_of(n, draw(noise.derive(key, attempt, t)))) for t in range(phases))
        drawn = bounded(family, rounds)
        found = Topology(numbered(n), frozenset().union(*drawn), drawn)
        if found.is_connected():
            return _checked(family, found)
    raise ConfigError(f"{family}: none of {TRIES_MAX} draws for n = {n} was connected; try more phases")


def _base_of(who: str, n: int, family: object, offered: dict[str, Any], given: dict[str, Any]) -> Topology:
    """The graph to begin with: `given` are its own parameters, and `offered` a seed too, if it takes one."""
    build = STATIC.get(family) if isinstance(family, str) else None
    if build is None:
        raise ConfigError(f"{who}: unknown base {family!r}{suggest(str(family), list(STATIC))}")
    takes_seed = "seed" in inspect.signature(build).parameters
    params = {key: value for key, value in offered.items() if key in given or takes_seed}
    check_params(build, {"n": n, **params}, f"{who}: {family}")
    return build(n, **params)


def _checked(family: str, topology: Topology) -> Topology:
    check_neighbours(family, max(topology.degree(name) for name in topology.nodes))
    return topology
