"""Graphs by name and size. Each function takes n and its own parameters, and gives a Topology over n0, n1, ...

Impossible sizes are ConfigErrors that say what is possible. Random families draw from their seed alone.
"""

from collections.abc import Callable
from math import isqrt, log

from p2pfl.errors import ConfigError
from p2pfl.topology.graphs.graph import Topology
from p2pfl.topology.graphs.numbered import (
    build,
    check_neighbours,
    check_probability,
    check_size,
    check_whole,
    drawn,
    edges_of,
    log2_of,
    numbered,
)

SIDE_MIN = 3
"""Rows and columns of a torus: with two, going round would use one edge twice."""


def ring(n: int) -> Topology:
    """Every node with the one before and the one after it."""
    check_size("ring", n, 3)
    return build(n, ((i, (i + 1) % n) for i in range(n)))


def line(n: int) -> Topology:
    """A ring with one edge missing: the slowest way to agree."""
    check_size("line", n, 2)
    return build(n, ((i, i + 1) for i in range(n - 1)))


def star(n: int) -> Topology:
    """Every node with the first: to compare with a server in the middle."""
    check_size("star", n, 2)
    check_neighbours("star", n - 1)
    return build(n, ((0, i) for i in range(1, n)))


def complete(n: int) -> Topology:
    """Everybody with everybody."""
    check_size("complete", n, 2)
    check_neighbours("complete", n - 1)
    return build(n, ((i, j) for i in range(n) for j in range(i + 1, n)))


def torus(n: int, rows: int | None = None) -> Topology:
    """A grid whose ends meet, rows x (n / rows), as near to a square as n allows; four neighbours each."""
    check_size("torus", n, SIDE_MIN**2)
    if rows is None:
        rows = _nearest_square(n)
        if rows is None:
            below = next(m for m in range(n - 1, 0, -1) if _nearest_square(m))
            above = next(m for m in range(n + 1, 2 * n) if _nearest_square(m))
            raise ConfigError(
                f"torus: expected n = rows x columns with at least {SIDE_MIN} of each, got n = {n}; "
                f"possible are {below} and {above}"
            )
    check_whole("torus", "rows", rows)
    if rows < SIDE_MIN or n % rows or n // rows < SIDE_MIN:
        raise ConfigError(
            f"torus: expected rows to divide n = {n} with at least {SIDE_MIN} rows and columns, got rows = {rows}"
        )
    columns = n // rows
    right = ((r * columns + c, r * columns + (c + 1) % columns) for r in range(rows) for c in range(columns))
    down = ((r * columns + c, (r + 1) % rows * columns + c) for r in range(rows) for c in range(columns))
    return build(n, [*right, *down])


def hypercube(n: int) -> Topology:
    """Node i with every i XOR 2^k: log2 n neighbours each."""
    return build(n, ((i, i ^ (1 << k)) for k in range(log2_of("hypercube", n)) for i in range(n)))


def exponential(n: int) -> Topology:
    """Node i with i + 2^k and i - 2^k, modulo n (the exponential graph of Assran et al. 2019, in both directions)."""
    check_size("exponential", n, 3)
    return build(n, ((i, (i + (1 << k)) % n) for k in range((n - 1).bit_length()) for i in range(n)))


def one_peer_exponential(n: int) -> Topology:
    """A different single neighbour each round: i XOR 2^k, k = round modulo log2 n. Averages exactly in log2 n rounds.

    The undirected form of the one-peer exponential graph (Ying et al. 2021): there i sends to i + 2^k and receives
    from i - 2^k; here both are one node, so that every round is a set of pairs.
    """
    phases = tuple(
        frozenset(edges_of(n, ((i, i ^ (1 << k)) for i in range(n)))) for k in range(log2_of("one-peer-exponential", n))
    )
    return Topology(numbered(n), frozenset().union(*phases), phases if len(phases) > 1 else ())


def random_regular(n: int, k: int = 4, seed: int = 0) -> Topology:
    """Exactly k neighbours each, otherwise random: an expander with high probability (Friedman 2008)."""
    import networkx as nx

    check_whole("random-regular", "k", k)
    check_size("random-regular", n, 3)
    check_neighbours("random-regular", k)
    if not 2 <= k < n or n * k % 2:
        raise ConfigError(f"random-regular: expected 2 <= k < n with n x k even, got n = {n}, k = {k}")
    return drawn("random-regular", n, seed, lambda s: nx.random_regular_graph(k, n, seed=s), "a larger k")


def small_world(n: int, k: int = 4, p: float = 0.1, seed: int = 0) -> Topology:
    """A ring with k neighbours each, every edge moved elsewhere with probability p (Watts and Strogatz 1998)."""
    import networkx as nx

    check_whole("small-world", "k", k)
    check_probability("small-world", p)
    check_neighbours("small-world", k)
    if not 2 <= k < n or k % 2:
        raise ConfigError(f"small-world: expected an even k with 2 <= k < n, got n = {n}, k = {k}")
    return drawn("small-world", n, seed, lambda s: nx.watts_strogatz_graph(n, k, p, seed=s), "a larger k")


def erdos_renyi(n: int, p: float | None = None, seed: int = 0) -> Topology:
    """Every pair with probability p; without p 2 ln n / n, above the threshold ln n / n of connectedness."""
    import networkx as nx

    check_size("erdos-renyi", n, 2)
    chance = min(1.0, 2 * log(n) / n) if p is None else p
    check_probability("erdos-renyi", chance)
    check_neighbours("erdos-renyi", int(chance * (n - 1)), "on average ")
    return drawn("erdos-renyi", n, seed, lambda s: nx.gnp_random_graph(n, chance, seed=s), "a larger p")


STATIC: dict[str, Callable[..., Topology]] = {
    "ring": ring,
    "line": line,
    "star": star,
    "complete": complete,
    "torus": torus,
    "hypercube": hypercube,
    "exponential": exponential,
    "one-peer-exponential": one_peer_exponential,
    "random-regular": random_regular,
    "small-world": small_world,
    "erdos-renyi": erdos_renyi,
}


def _nearest_square(n: int) -> int | None:
    """The rows of the squarest torus of n nodes; None if there is none."""
    return next((rows for rows in range(isqrt(n), SIDE_MIN - 1, -1) if n % rows == 0), None)
