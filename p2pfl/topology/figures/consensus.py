"""How fast a graph really averages: gossip on random vectors, round by round. Knows Topology; no clock, no bytes.

Two ways to exchange. "average": in a round everybody mixes with all its neighbours (of the round's phase), with the
graph's weights. "pairs": in a round everybody meets one neighbour at most, in the middle, as the default rule does in
lockstep; the schedule is the graph's (Topology.schedule).
"""

from collections.abc import Iterator
from itertools import cycle
from typing import Any, Literal

import numpy as np

from p2pfl.topology.graphs.graph import Edge, Topology
from p2pfl.topology.graphs.spectrum import compute_contraction, compute_rounds, weight_matrix

Way = Literal["average", "pairs"]

WANTED = 1e-3
"""The disagreement that counts as consensus, as a share of the first."""

ROUNDS_MAX = 20_000
VECTORS = 16
"""Random starts, averaged side by side."""


def measure(
    topology: Topology, way: Way, wanted: float = WANTED, rounds_max: int = ROUNDS_MAX, seed: int = 0
) -> list[float]:
    """The disagreement after 0, 1, 2, ... rounds, as a share of the first; ends at `wanted`, or after `rounds_max`.

    Disagreement: the distance of all vectors from their mean, over nodes and starts.
    """
    x = np.random.default_rng(seed).standard_normal((len(topology.nodes), VECTORS))
    x -= x.mean(axis=0)
    first = float(np.linalg.norm(x))
    curve = [1.0]
    for matrix in cycle(_matrices(topology, way)):
        if curve[-1] <= wanted or len(curve) > rounds_max:
            return curve
        x = matrix @ x
        curve.append(float(np.linalg.norm(x) / first))
    raise AssertionError("a graph has at least one round")


def predict(topology: Topology, way: Way, wanted: float = WANTED) -> int | None:
    """Rounds after which disagreement is surely at most `wanted`, from the spectrum; None if it never is."""
    if way == "average":
        return topology.rounds_to_consensus(wanted)
    matrices = list(_matrices(topology, way))
    return compute_rounds(compute_contraction(matrices), len(matrices), wanted)


def count_exchanges(topology: Topology, way: Way, rounds: int) -> int:
    """Edges used in the first `rounds` rounds; each is one vector in each direction."""
    per_round = [len(edges) for edges in rounds_of(topology, way)]
    turns, rest = divmod(rounds, len(per_round))
    return turns * sum(per_round) + sum(per_round[:rest])


def rounds_of(topology: Topology, way: Way) -> list[tuple[Edge, ...]]:
    """The edges of each round of one period."""
    if way == "pairs":
        return list(topology.schedule())
    return [tuple(topology.at(t).edge_list()) for t in range(max(1, len(topology.phases)))]


def _matrices(topology: Topology, way: Way) -> Iterator[Any]:
    if way == "average":
        yield from (topology.at(t).matrix() for t in range(max(1, len(topology.phases))))
        return
    number = {name: i for i, name in enumerate(topology.nodes)}
    for step in topology.schedule():
        pairs = [(number[a], number[b]) for a, b in step]
        yield weight_matrix(len(topology.nodes), pairs, [0.5] * len(pairs))
