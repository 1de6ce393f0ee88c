"""Does a graph's `build` give graphs that a network can use? Knows networkx's graphs and the room's checks."""

from collections.abc import Callable, Sequence
from typing import Any

from p2pfl.testing.expect import called, expect
from p2pfl.topology import Topology, from_networkx


def check_topology(build: Callable[..., Any], sizes: Sequence[int] = (4, 9, 16), **params: Any) -> None:
    """Raises AssertionError for the first size at which `build(n, **params)` is no usable graph.

    `build` gives an nx.Graph (as a script named in [topology] does) or a Topology: connected, no loops, n nodes, and
    the same every time, because every machine draws it for itself.
    """
    for n in sizes:
        first, again = (_admit(called(f"build({n})", lambda n=n: build(n, **params)), n) for _ in range(2))
        expect(len(first.nodes) == n, f"expected build({n}) to have {n} nodes, got {len(first.nodes)}")
        expect(first.is_connected(), f"build({n}) is not in one piece")
        same = first.digest == again.digest
        expect(same, f"build({n}) gave two graphs: seed what it draws, because every machine draws the graph itself")


def _admit(graph: Any, n: int) -> Topology:
    if isinstance(graph, Topology):
        return graph
    admitted: Topology = called(f"build({n}) is no usable graph: it", from_networkx, graph)
    return admitted
