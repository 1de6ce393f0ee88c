"""What the named families share: numbered nodes, checks of sizes, seeded draws. Knows no family."""

from collections.abc import Callable, Iterable
from typing import Any

from p2pfl.core import noise
from p2pfl.core.limits import NEIGHBOURS_MAX, NODES_MAX
from p2pfl.errors import ConfigError
from p2pfl.topology.graphs.graph import Edge, Topology, edge

TRIES_MAX = 100
"""Random graphs are drawn so often until one is connected."""


def numbered(n: int) -> tuple[str, ...]:
    """n00, n01, ...: as many digits as it takes, so that the order of names is the order of numbers."""
    return tuple(f"n{i:0{len(str(n - 1))}d}" for i in range(n))


def edges_of(n: int, pairs: Iterable[tuple[int, int]]) -> set[Edge]:
    names = numbered(n)
    return {edge(names[i], names[j]) for i, j in pairs if i != j}


def build(n: int, pairs: Iterable[tuple[int, int]]) -> Topology:
    return Topology(numbered(n), frozenset(edges_of(n, pairs)))


def drawn(family: str, n: int, seed: int, draw: Callable[[int], Any], remedy: str) -> Topology:
    """The first connected one of a bounded number of draws, each from a key of its own."""
    check_whole(family, "seed", seed)
    key = noise.derive(noise.root(seed), "topology", family)
    for attempt in range(TRIES_MAX):
        found = build(n, draw(noise.seed64(noise.derive(key, attempt))).edges)
        if found.is_connected():
            return found
    raise ConfigError(f"{family}: none of {TRIES_MAX} draws for n = {n} was connected; try {remedy}")


def log2_of(family: str, n: int) -> int:
    check_size(family, n, 2)
    if n & (n - 1):
        below = 1 << (n.bit_length() - 1)
        raise ConfigError(f"{family}: expected n to be a power of 2, got {n}; possible are {below} and {2 * below}")
    return n.bit_length() - 1


def check_whole(family: str, name: str, value: object) -> None:
    if not isinstance(value, int) or isinstance(value, bool):
        raise ConfigError(f"{family}: expected {name} to be a whole number, got {value!r}")


def check_size(family: str, n: object, least: int) -> None:
    check_whole(family, "n", n)
    assert isinstance(n, int)
    if not least <= n <= NODES_MAX:
        raise ConfigError(f"{family}: expected {least} to {NODES_MAX} nodes, got n = {n}")


def check_neighbours(family: str, k: int, how: str = "") -> None:
    if k > NEIGHBOURS_MAX:
        raise ConfigError(f"{family}: expected at most {NEIGHBOURS_MAX} neighbours of a node, got {how}{k}")


def check_probability(family: str, p: object) -> None:
    if not isinstance(p, int | float) or isinstance(p, bool) or not 0 <= p <= 1:
        raise ConfigError(f"{family}: expected p between 0 and 1, got {p!r}")


def check_range(family: str, name: str, value: object, least: int, most: int) -> None:
    check_whole(family, name, value)
    assert isinstance(value, int)
    if not least <= value <= most:
        raise ConfigError(f"{family}: expected {name} from {least} to {most}, got {value}")
