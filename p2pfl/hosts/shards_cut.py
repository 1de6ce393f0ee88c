"""Dividing a network's nodes among shards, so that little has to cross. Knows graphs, not what is sent.

Two divisions are tried, and the one with fewer halo rows is taken: blocks of consecutive numbers (nothing beats them on
rings, grids and most small worlds), and blocks along the reverse Cuthill-McKee order, in which neighbours are near each
other (George, Liu 1981). Either is then improved by moving single nodes to the shard in which most of their neighbours
are, while sizes stay within `SLACK` of even: the greedy step of Fiduccia and Mattheyses (1982), without its hill
climbing. A random regular graph has no good cut, whatever is tried.
"""

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from p2pfl.mixing import Mixer
from p2pfl.topology.graphs.graph import Topology

Pair = tuple[int, int]
Members = tuple[tuple[int, ...], ...]
"""The numbers of each shard's nodes, ascending. No shard is empty."""

SLACK = 0.02
PASSES = 8


class Cut(NamedTuple):
    """What crosses. edges: whose ends are in different shards, of `all_edges`; rows and bytes: in a mean round, over
    all shards, each row once for every shard that needs it. Rules that draw whom they speak to need fewer."""

    edges: int
    all_edges: int
    rows_per_round: float
    bytes_per_round: float


def divide(num_nodes: int, pairs: Sequence[Pair], count: int) -> Members:
    """`count` shards of nearly the same size, 1 <= count <= num_nodes."""
    beside: list[list[int]] = [[] for _ in range(num_nodes)]
    for a, b in pairs:
        beside[a].append(b)
        beside[b].append(a)
    if count == 1:
        return (tuple(range(num_nodes)),)
    plain = _blocks(range(num_nodes), count)
    tried = [plain, _improved(plain, beside), _improved(_blocks(_along(num_nodes, pairs), count), beside)]
    best = min(tried, key=lambda shard_of: _halo(shard_of, beside))  # the first of equals: blocks by number
    return tuple(tuple(n for n in range(num_nodes) if best[n] == shard) for shard in range(count))


def cut_of(topology: Topology, mixer: Mixer, size: int, members: Members) -> Cut:
    """What crosses between shards of `topology` under a rule, of models with `size` values."""
    shard_of = {topology.nodes[n]: shard for shard, numbers in enumerate(members) for n in numbers}
    crossing = sum(shard_of[a] != shard_of[b] for a, b in topology.edges)
    if mixer.needs == "pair":
        rounds = topology.schedule()
        rows = [2 * sum(shard_of[a] != shard_of[b] for a, b in matching) for matching in rounds]
        vectors = 1
    else:
        frames = [topology.at(t).edges for t in range(max(len(topology.phases), 1))]
        rows, vectors = [_rows(edges, shard_of) for edges in frames], mixer.vectors
    mean = sum(rows) / len(rows) if rows else 0.0
    return Cut(crossing, len(topology.edges), mean, 4.0 * vectors * size * mean)


def _rows(edges: frozenset[tuple[str, str]], shard_of: dict[str, int]) -> int:
    ends = {(a, shard_of[b]) for pair in edges for a, b in (pair, pair[::-1])}
    return sum(shard_of[node] != shard for node, shard in ends)


def _blocks(order: Sequence[int], count: int) -> list[int]:
    """The shard of each node: blocks of `order` whose sizes differ by at most 1."""
    shard_of = [0] * len(order)
    for shard in range(count):
        for place in range(shard * len(order) // count, (shard + 1) * len(order) // count):
            shard_of[order[place]] = shard
    return shard_of


def _along(num_nodes: int, pairs: Sequence[Pair]) -> list[int]:
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import reverse_cuthill_mckee

    ends = np.asarray(pairs, np.int32).reshape(-1, 2)
    both = np.concatenate([ends, ends[:, ::-1]])
    graph = coo_array((np.ones(len(both)), (both[:, 0], both[:, 1])), shape=(num_nodes, num_nodes)).tocsr()
    return [int(n) for n in reverse_cuthill_mckee(graph, symmetric_mode=True)]


def _improved(shard_of: Sequence[int], beside: Sequence[Sequence[int]]) -> list[int]:
    """Nodes moved one by one to where more of their neighbours are, until nobody gains or `PASSES` are over."""
    found, sizes = list(shard_of), Counter(shard_of)
    even = len(found) / len(sizes)
    low, high = max(int(even * (1 - SLACK)), 1), int(even * (1 + SLACK)) + 1
    for _ in range(PASSES):
        moved = False
        for node, others in enumerate(beside):
            here = found[node]
            near = Counter(found[other] for other in others)
            if sizes[here] <= low or (len(near) < 2 and here in near):
                continue
            open_ = [shard for shard in sorted(near) if shard != here and sizes[shard] < high]
            there = max(open_, key=lambda shard: near[shard], default=here)
            if near[there] > near[here]:
                found[node], moved = there, True
                sizes[here] -= 1
                sizes[there] += 1
        if not moved:
            break
    return found


def _halo(shard_of: Sequence[int], beside: Sequence[Sequence[int]]) -> int:
    return sum(len({shard_of[other] for other in others} - {shard_of[n]}) for n, others in enumerate(beside))
