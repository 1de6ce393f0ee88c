"""Graphs by name and size. Each function takes n and its own parameters, and gives a Topology over n0, n1, ...

Impossible sizes are ConfigErrors that say what is possible. Random families draw from their seed alone.
"""

from collections.abc import Callable, Iterable
from math import isqrt, log
from typing import Any

from p2pfl.core import noise
from p2pfl.core.limits import NEIGHBOURS_MAX, PEERS_MAX
from p2pfl.errors import ConfigError
from p2pfl.topology.graph import Edge, Topology, edge

TRIES_MAX = 100
"""Random graphs are drawn so often until one is connected."""

SIDE_MIN = 3
"""Rows and columns of a torus: with two, going round would use one edge twice."""


def numbered(n: int) -> tuple[str, ...]:
    """n00, n01, ...: as many digits as it takes, so that the order of names is the order of numbers."""
    return tuple(f"n{i:0{len(str(n - 1))}d}" for i in range(n))


def ring(n: int) -> Topology:
    """Every node with the one before and the one after it."""
    _at_least("ring", n, 3)
    return _topology(n, ((i, (i + 1) % n) for i in range(n)))


def line(n: int) -> Topology:
    """A ring with one edge missing: the slowest way to agree."""
    _at_least("line", n, 2)
    return _topology(n, ((i, i + 1) for i in range(n - 1)))


def star(n: int) -> Topology:
    """Every node with the first: to compare with a server in the middle."""
    _at_least("star", n, 2)
    _at_most_neighbours("star", n - 1)
    return _topology(n, ((0, i) for i in range(1, n)))


def complete(n: int) -> Topology:
    """Everybody with everybody."""
    _at_least("complete", n, 2)
    _at_most_neighbours("complete", n - 1)
    return _topology(n, ((i, j) for i in range(n) for j in range(i + 1, n)))


def torus(n: int, rows: int | None = None) -> Topology:
    """A grid whose ends meet, rows x (n / rows), as near to a square as n allows; four neighbours each."""
    _at_least("torus", n, SIDE_MIN**2)
    if rows is None:
        rows = _nearest_square(n)
        if rows is None:
            below = next(m for m in range(n - 1, 0, -1) if _nearest_square(m))
            above = next(m for m in range(n + 1, 2 * n) if _nearest_square(m))
            raise ConfigError(
                f"torus: expected n = rows x columns with at least {SIDE_MIN} of each, got n = {n}; "
                f"possible are {below} and {above}"
            )
    _whole("torus", "rows", rows)
    if rows < SIDE_MIN or n % rows or n // rows < SIDE_MIN:
        raise ConfigError(
            f"torus: expected rows to divide n = {n} with at least {SIDE_MIN} rows and columns, got rows = {rows}"
        )
    columns = n // rows
    right = ((r * columns + c, r * columns + (c + 1) % columns) for r in range(rows) for c in range(columns))
    down = ((r * columns + c, (r + 1) % rows * columns + c) for r in range(rows) for c in range(columns))
    return _topology(n, [*right, *down])


def hypercube(n: int) -> Topology:
    """Node i with every i XOR 2^k: log2 n neighbours each."""
    return _topology(n, ((i, i ^ (1 << k)) for k in range(_log2("hypercube", n)) for i in range(n)))


def exponential(n: int) -> Topology:
    """Node i with i + 2^k and i - 2^k, modulo n (the exponential graph of Assran et al. 2019, in both directions)."""
    _at_least("exponential", n, 3)
    return _topology(n, ((i, (i + (1 << k)) % n) for k in range((n - 1).bit_length()) for i in range(n)))


def one_peer_exponential(n: int) -> Topology:
    """A different single neighbour each round: i XOR 2^k, k = round modulo log2 n. Averages exactly in log2 n rounds.

    The undirected form of the one-peer exponential graph (Ying et al. 2021): there i sends to i + 2^k and receives
    from i - 2^k; here both are one node, so that every round is a set of pairs.
    """
    phases = tuple(
        frozenset(_edges(n, ((i, i ^ (1 << k)) for i in range(n)))) for k in range(_log2("one-peer-exponential", n))
    )
    return Topology(numbered(n), frozenset().union(*phases), phases if len(phases) > 1 else ())


def random_regular(n: int, k: int = 4, seed: int = 0) -> Topology:
    """Exactly k neighbours each, otherwise random: an expander with high probability (Friedman 2008)."""
    import networkx as nx

    _whole("random-regular", "k", k)
    _at_least("random-regular", n, 3)
    _at_most_neighbours("random-regular", k)
    if not 2 <= k < n or n * k % 2:
        raise ConfigError(f"random-regular: expected 2 <= k < n with n x k even, got n = {n}, k = {k}")
    return _drawn("random-regular", n, seed, lambda s: nx.random_regular_graph(k, n, seed=s), "a larger k")


def small_world(n: int, k: int = 4, p: float = 0.1, seed: int = 0) -> Topology:
    """A ring with k neighbours each, every edge moved elsewhere with probability p (Watts and Strogatz 1998)."""
    import networkx as nx

    _whole("small-world", "k", k)
    _probability("small-world", p)
    _at_most_neighbours("small-world", k)
    if not 2 <= k < n or k % 2:
        raise ConfigError(f"small-world: expected an even k with 2 <= k < n, got n = {n}, k = {k}")
    return _drawn("small-world", n, seed, lambda s: nx.watts_strogatz_graph(n, k, p, seed=s), "a larger k")


def erdos_renyi(n: int, p: float | None = None, seed: int = 0) -> Topology:
    """Every pair with probability p; without p 2 ln n / n, above the threshold ln n / n of connectedness."""
    import networkx as nx

    _at_least("erdos-renyi", n, 2)
    chance = min(1.0, 2 * log(n) / n) if p is None else p
    _probability("erdos-renyi", chance)
    _at_most_neighbours("erdos-renyi", int(chance * (n - 1)), "on average ")
    return _drawn("erdos-renyi", n, seed, lambda s: nx.gnp_random_graph(n, chance, seed=s), "a larger p")


FAMILIES: dict[str, Callable[..., Topology]] = {
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


def _edges(n: int, pairs: Iterable[tuple[int, int]]) -> set[Edge]:
    names = numbered(n)
    return {edge(names[i], names[j]) for i, j in pairs if i != j}


def _topology(n: int, pairs: Iterable[tuple[int, int]]) -> Topology:
    return Topology(numbered(n), frozenset(_edges(n, pairs)))


def _drawn(family: str, n: int, seed: int, draw: Callable[[int], Any], remedy: str) -> Topology:
    """The first connected one of a bounded number of draws, each from a key of its own."""
    _whole(family, "seed", seed)
    key = noise.derive(noise.root(seed), "topology", family)
    for attempt in range(TRIES_MAX):
        found = _topology(n, draw(noise.seed64(noise.derive(key, attempt))).edges)
        if found.is_connected():
            return found
    raise ConfigError(f"{family}: none of {TRIES_MAX} draws for n = {n} was connected; try {remedy}")


def _nearest_square(n: int) -> int | None:
    """The rows of the squarest torus of n nodes; None if there is none."""
    return next((rows for rows in range(isqrt(n), SIDE_MIN - 1, -1) if n % rows == 0), None)


def _log2(family: str, n: int) -> int:
    _at_least(family, n, 2)
    if n & (n - 1):
        below = 1 << (n.bit_length() - 1)
        raise ConfigError(f"{family}: expected n to be a power of 2, got {n}; possible are {below} and {2 * below}")
    return n.bit_length() - 1


def _whole(family: str, name: str, value: object) -> None:
    if not isinstance(value, int) or isinstance(value, bool):
        raise ConfigError(f"{family}: expected {name} to be a whole number, got {value!r}")


def _at_least(family: str, n: object, least: int) -> None:
    _whole(family, "n", n)
    assert isinstance(n, int)
    if not least <= n <= PEERS_MAX:
        raise ConfigError(f"{family}: expected {least} to {PEERS_MAX} nodes, got n = {n}")


def _at_most_neighbours(family: str, k: int, how: str = "") -> None:
    if k > NEIGHBOURS_MAX:
        raise ConfigError(f"{family}: expected at most {NEIGHBOURS_MAX} neighbours of a node, got {how}{k}")


def _probability(family: str, p: object) -> None:
    if not isinstance(p, int | float) or isinstance(p, bool) or not 0 <= p <= 1:
        raise ConfigError(f"{family}: expected p between 0 and 1, got {p!r}")
