"""The overlays that published work compares: server, one-way ring, ring, trees. Knows delays; draws nothing at random.

Sources: Marfoq et al. 2020, section 3.1 (RING by Christofides, MST, delta-MBST by delta-PRIM and the Hamiltonian path
in the cube of the MST); Christofides 1976; Prim 1957; Karaganis 1968 (the cube of a tree has a Hamiltonian path).
"""

from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from p2pfl.topology.graphs.graph import Topology, edge
from p2pfl.topology.overlays.cycle import Arc, Workload, find_messages, mean_round_ms
from p2pfl.topology.overlays.overlay import Overlay, one_way_rounds
from p2pfl.topology.overlays.underlay import Underlay


def pair_delays_ms(underlay: Underlay, work: Workload) -> Any:
    """(n, n), symmetric: what one exchange takes if neither silo has another, the slower way of both; 0 to itself."""
    mbps = np.minimum(np.minimum(underlay.up_mbps[:, None], underlay.down_mbps[None, :]), underlay.core_mbps)
    delays = work.compute_ms + underlay.latency_ms + work.model_bytes * 8 / 1e3 / mbps
    np.fill_diagonal(delays, 0.0)
    return np.maximum(delays, delays.T)


def over(underlay: Underlay, pairs: Iterable[Arc]) -> Topology:
    """The graph of these pairs, over the silos, with what is known of each way."""
    names = underlay.names
    edges = frozenset(edge(names[u], names[v]) for u, v in pairs)
    return Topology(names, edges, links={e: underlay.link(*e) for e in edges}, places=underlay.places)


def find_server(underlay: Underlay, work: Workload) -> Overlay:
    """Everybody sends to one silo and gets the mean back: exact in one round, which is there and back again.

    The silo with the shortest round is the server. Its access link carries n - 1 models each way.
    """
    n, times = len(underlay.names), []
    for server in range(n):
        others = [i for i in range(n) if i != server]
        up = find_messages([(i, server) for i in others], underlay, work).delays_ms.max()
        down = find_messages([(server, i) for i in others], underlay, work).delays_ms.max()
        times.append(float(up + down - work.compute_ms))  # it only adds up what came
    return Overlay("star (server)", None, min(times), 1, n - 1, n - 1)


def find_tour(delays_ms: Any) -> list[int]:
    """A short closed tour through all silos (at most 3/2 of the shortest if delays keep the triangle inequality)."""
    import networkx as nx

    n = len(delays_ms)
    if n < 4:
        return list(range(n))
    graph = nx.Graph((i, j, {"weight": float(delays_ms[i, j])}) for i in range(n) for j in range(i))
    return [int(i) for i in nx.approximation.christofides(graph)[:-1]]


def find_one_way_ring(underlay: Underlay, work: Workload, tour: Sequence[int], target: float) -> Overlay:
    """RING of Marfoq et al.: everybody sends to the next only, and averages with what it gets; the better direction."""
    arcs = list(zip(tour, [*tour[1:], tour[0]], strict=True))
    n, times = len(tour), []
    for way in (arcs, [(v, u) for u, v in arcs]):
        times.append(mean_round_ms([find_messages(way, underlay, work)], n, work.compute_ms))
    return Overlay("ring, one way", None, min(times), one_way_rounds(n, target), n, 1)


def make_ring(tour: Sequence[int]) -> list[Arc]:
    """Its exchanges, both ways."""
    return list(zip(tour, [*tour[1:], tour[0]], strict=True)) if len(tour) > 2 else [(tour[0], tour[1])]


def make_tree(delays_ms: Any, degree_max: int) -> list[Arc]:
    """Prim's spanning tree, from silo 0, in which nobody has more than degree_max neighbours, 2 or more (delta-PRIM).

    With degree_max >= n - 1 it is the minimum spanning tree.
    """
    n = len(delays_ms)
    inside, degree, found = np.zeros(n, dtype=bool), np.zeros(n, dtype=np.intp), []
    inside[0] = True
    for _ in range(n - 1):
        open_ = np.where(inside & (degree < degree_max), 0.0, np.inf)
        costs = delays_ms + open_[:, None] + np.where(inside, np.inf, 0.0)[None, :]
        u, v = np.unravel_index(np.argmin(costs), costs.shape)
        found.append((int(u), int(v)))
        inside[v] = True
        degree[u] += 1
        degree[v] += 1
    return found


def make_path(tree: Sequence[Arc], n: int) -> list[Arc]:
    """A Hamiltonian path in the cube of a tree: no step is longer than three edges of the tree."""
    beside: list[list[int]] = [[] for _ in range(n)]
    for u, v in tree:
        beside[u].append(v)
        beside[v].append(u)
    order = _walk(beside, 0)
    return list(pairwise(order))


def _walk(beside: list[list[int]], root: int) -> list[int]:
    """All nodes, each at most three edges from the one before: even levels on the way down, odd ones on the way up.

    A subtree entered on an even level begins with its root and ends with a child of it (or itself); entered on an odd
    level the other way round.
    """
    order: list[int] = []
    stack: list[tuple[int, int, int, bool]] = [(root, -1, 0, False)]  # node, parent, level, are its children done
    while stack:
        node, parent, level, done = stack.pop()
        if done:
            order.append(node)
            continue
        children = [(child, node, level + 1, False) for child in beside[node] if child != parent]
        if level % 2 == 0:
            order.append(node)
            stack += reversed(children)
        else:
            stack.append((node, parent, level, True))
            stack += reversed(children)
    return order
