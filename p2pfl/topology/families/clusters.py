"""Two levels without a middle: clusters average inside, often; heads carry it across, seldom. Pure; numbers only.

An interval is `every` rounds inside all clusters at once, by the Base-(k+1) graph with k = 1, which gives a cluster of
m nodes its exact mean in about 2 log2 m rounds of one exchange each (log2 m for powers of 2); then one round across, in
which `heads` members of each cluster meet those of other clusters in pairs. Who is head follows from the round: head t
of a run (`heads` of them per interval) is member t modulo m, and meets head t of the cluster that matching t of all
pairs of clusters says. So the wide-area work rotates, and a head that is gone costs its own meetings: nobody waits for
an election, and the next interval has others. All rounds are matchings: no node ever has two exchanges at a time.

After: hierarchical FedAvg (Liu, Zhang, Song, Letaief 2020), with kappa_1 local steps, kappa_2 edge averages per cloud
average; `every` is kappa_2. Differs from the paper in: no edge server and no cloud; a cluster's mean moves by the
meeting of two heads, half of it per member, instead of being replaced.
"""

from collections.abc import Iterator, Sequence
from fractions import Fraction
from itertools import combinations
from math import ceil

from p2pfl.topology.families.base_graph import Round, compute_base_graph
from p2pfl.topology.graphs.colouring import colour_edges

HALF = Fraction(1, 2)


def compute_clusters(sizes: Sequence[int], every: int | None, heads: int) -> Iterator[Round]:
    """The rounds of one period, for clusters of these sizes, numbered one after another. Two clusters or more.

    The period has as many intervals as it takes to make everybody head, and to walk through all pairs of clusters and
    through all rounds that a cluster's mean takes. Without `every`, an interval has as many rounds inside as the
    largest cluster needs for its mean. `heads` is at most the size of the smallest cluster.
    """
    starts = [sum(sizes[:c]) for c in range(len(sizes))]
    inside: list[list[Round]] = [compute_base_graph(size, 1) if size > 1 else [[]] for size in sizes]
    longest = max(len(rounds) for rounds in inside)
    every = longest if every is None else every
    across = colour_edges(len(sizes), list(combinations(range(len(sizes)), 2)))
    for interval in range(max(ceil(max(len(across), *sizes) / heads), ceil(longest / every))):
        for step in range(every):
            # Fewer rounds than it takes for the mean: go on where the last interval ended.
            at = step if every >= longest else interval * every + step
            beside = zip(starts, inside, strict=True)
            yield [_moved(share, start) for start, own in beside for share in own[at % len(own)]]
        meeting: Round = []
        for turn in range(interval * heads, (interval + 1) * heads):
            head = [start + turn % size for start, size in zip(starts, sizes, strict=True)]
            meeting += [(head[a], head[b], HALF) for a, b in across[turn % len(across)]]
        yield meeting


def split_evenly(n: int, clusters: int) -> list[int]:
    """The sizes of `clusters` clusters of n nodes, as equal as can be, the larger ones first."""
    small, larger = divmod(n, clusters)
    return [small + (c < larger) for c in range(clusters)]


def _moved(share: tuple[int, int, Fraction], start: int) -> tuple[int, int, Fraction]:
    u, v, weight = share
    return u + start, v + start, weight
