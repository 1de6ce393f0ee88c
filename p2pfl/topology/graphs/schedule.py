"""The lockstep schedule of pairs: which edges exchange in which round. Knows numbered nodes only.

A graph that does not change is walked colour by colour. A changing one is walked phase by phase; a phase in which some
node has two edges takes as many rounds as it needs colours. A phase without edges is a round in which nobody
exchanges.
"""

from collections.abc import Sequence

from p2pfl.topology.graphs.colouring import Pair, colour_edges


def compute_schedule(n: int, phases: Sequence[Sequence[Pair]]) -> list[list[Pair]]:
    """Matchings, in the order in which they are walked through, again and again. `phases` has at least one."""
    steps: list[list[Pair]] = []
    for phase in phases:
        if is_matching(phase):
            steps.append(sorted(phase))
        else:
            steps += colour_edges(n, phase)
    return steps


def is_matching(pairs: Sequence[Pair]) -> bool:
    """Whether no node is in two of the pairs."""
    ends = [end for pair in pairs for end in pair]
    return len(set(ends)) == len(ends)


def count_news(n: int, rounds: Sequence[Sequence[Pair]]) -> int:
    """Rounds within which what any node knows is known to all, wherever in the period they begin: an upper bound.

    One turn to the period's beginning, and from there as long as it takes. Raises ValueError if it never is.
    """
    known, full, count = [1 << u for u in range(n)], (1 << n) - 1, 0
    while any(one != full for one in known):
        before = list(known)
        for pairs in rounds:
            fresh = list(known)
            for u, v in pairs:
                fresh[u] |= known[v]
                fresh[v] |= known[u]
            known = fresh
            count += 1
            if all(one == full for one in known):
                return count + len(rounds) - 1
        if known == before:
            raise ValueError("what a node of one piece knows never reaches another piece")
    return count
