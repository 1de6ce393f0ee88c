"""Random regular graphs, tuned: edges switched until the target is reached sooner. Knows delays and weights.

Expanders agree in few rounds (Friedman 2008), but their edges know nothing of distance. A switch takes two edges a - b,
c - d and makes them a - d, c - b: all degrees stay. It is kept if rounds to the target x time of a round gets smaller.
"""

from collections.abc import Sequence
from math import log
from typing import Any

import numpy as np

from p2pfl.core.noise import Key, derive, generator, seed64
from p2pfl.topology.overlays.cycle import Arc, Workload, both_ways, find_messages
from p2pfl.topology.overlays.underlay import Underlay

DRAWS = 5
"""Graphs that are drawn; the best one is tuned."""


def tune_regular(underlay: Underlay, work: Workload, degree: int, switches: int, key: Key) -> list[Arc] | None:
    """The edges of a tuned graph in which everybody has `degree` neighbours; None if there is none (n x degree odd)."""
    import networkx as nx

    n = len(underlay.names)
    if not 2 <= degree < n or n * degree % 2:
        return None
    starts = [
        [(min(u, v), max(u, v)) for u, v in nx.random_regular_graph(degree, n, seed=seed64(derive(key, draw))).edges]
        for draw in range(DRAWS)
    ]
    edges = min(starts, key=lambda start: _cost(start, underlay, work, degree))
    rng, best = generator(derive(key, "switches")), _cost(edges, underlay, work, degree)
    for _ in range(switches):
        tried = _switched(edges, rng)
        if tried is not None and (cost := _cost(tried, underlay, work, degree)) < best:
            edges, best = tried, cost
    return edges if np.isfinite(best) else None


def _switched(edges: Sequence[Arc], rng: np.random.Generator) -> list[Arc] | None:
    """None if that would join a node to itself or double an edge."""
    i, j = (int(x) for x in rng.integers(len(edges), size=2))
    (a, b), (c, d) = edges[i], edges[j] if rng.random() < 0.5 else edges[j][::-1]
    fresh = [(min(a, d), max(a, d)), (min(c, b), max(c, b))]
    if len({a, b, c, d}) < 4 or any(e in edges for e in fresh):
        return None
    return [e for k, e in enumerate(edges) if k not in (i, j)] + fresh


def _cost(edges: Sequence[Arc], underlay: Underlay, work: Workload, degree: int) -> float:
    """Milliseconds until disagreement is 1 / e of what it was; inf if it never is."""
    n = len(underlay.names)
    left = np.full((n, n), -1 / n)
    u, v = np.asarray(edges).T
    left[u, v] += 1 / (degree + 1)  # Metropolis-Hastings
    left[v, u] += 1 / (degree + 1)
    left[np.arange(n), np.arange(n)] += 1 / (degree + 1)
    rho: Any = np.abs(np.linalg.eigvalsh(left)).max()
    if rho > 1 - 1e-12:
        return float("inf")
    messages = find_messages(both_ways(edges), underlay, work)
    slowest = _slowest_circle(messages.senders, messages.receivers, messages.delays_ms, n)
    return float(slowest / -log(max(rho, 1e-12)))


def _slowest_circle(senders: Any, receivers: Any, delays_ms: Any, n: int) -> float:
    """Of two: there and back on one edge. All longer ones have a smaller mean if both ways take as long."""
    there = np.zeros((n, n))
    there[senders, receivers] = delays_ms
    return float((there + there.T).max() / 2)
