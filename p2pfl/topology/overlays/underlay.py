"""The network under an overlay: how long and how wide the way is from each silo to each other. Knows no overlay.

An underlay is a graph file like any other (load.py), whose edges say `latency_ms` and `bandwidth_mbps`, or `distance`
and `capacity`. Messages take the way of least latency; the latencies on it add up, and the bandwidth that is available
on it is that of its narrowest link. At either end is a silo's access link, which it shares among those it exchanges
with at a time (cycle.py).

Source: Marfoq, Xu, Neglia, Vidal 2020, "Throughput-optimal topology design for cross-silo federated learning", section
2. As there, overlay edges that share a link in the middle of the network do not slow each other down.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from p2pfl.errors import ConfigError
from p2pfl.topology.files.load import load_topology
from p2pfl.topology.graphs.graph import Edge, Link, Place, Topology, edge

SILOS_MAX = 1024
"""Ways between all pairs are kept, and finding them takes the cube of this."""

CORE_MBPS = 1_000.0
"""Of a link whose file does not say (Marfoq et al. 2020, section 4)."""
ACCESS_MBPS = 10_000.0
"""Of a silo, each way, unless told otherwise (the same)."""


@dataclass(frozen=True, eq=False)
class Underlay:
    """n silos. latency_ms (n, n), one way, 0 on the diagonal; core_mbps (n, n), inf on the diagonal; both symmetric.

    up_mbps, down_mbps (n,): of the access links. All float64.
    """

    names: tuple[str, ...]
    latency_ms: Any
    core_mbps: Any
    up_mbps: Any
    down_mbps: Any
    places: Mapping[str, Place] = field(default_factory=dict)
    edges: frozenset[Edge] = frozenset()
    """Its own links."""

    def over(self, names: Sequence[str]) -> "Underlay":
        """The same silos in the order of `names`; if none of these is known, they are other names for them, in order.

        Raises ConfigError if some but not all are known, or there are not as many.
        """
        if len(names) != len(self.names):
            raise ConfigError(f"underlay: expected a graph of {len(self.names)} nodes, got {len(names)}")
        number = {name: i for i, name in enumerate(self.names)}
        known = [name for name in names if name in number]
        if not known:
            new = dict(zip(self.names, names, strict=True))
            edges = frozenset(edge(new[a], new[b]) for a, b in self.edges)
            return replace(self, names=tuple(names), places={}, edges=edges)
        if len(known) < len(names):
            strange = next(name for name in names if name not in number)
            raise ConfigError(f"underlay: unknown silo {strange!r}; {len(known)} of {len(names)} nodes are silos")
        at = np.array([number[name] for name in names])
        grid = np.ix_(at, at)
        return replace(
            self,
            names=tuple(names),
            latency_ms=self.latency_ms[grid],
            core_mbps=self.core_mbps[grid],
            up_mbps=self.up_mbps[at],
            down_mbps=self.down_mbps[at],
        )

    def link(self, a: str, b: str) -> Link:
        """The way between two silos as if it were a line."""
        i, j = self.names.index(a), self.names.index(b)
        width = min(float(self.core_mbps[i, j]), float(self.up_mbps[i]), float(self.down_mbps[j]))
        return Link(round(float(self.latency_ms[i, j]), 3), round(width, 3))


def load_underlay(path: Path | str, core_mbps: float | None = None, access_mbps: float = ACCESS_MBPS) -> Underlay:
    """Reads a graph file with links. Raises ConfigError. `core_mbps`: taken for all links, whatever the file says."""
    if Path(path).suffix == ".py":
        raise ConfigError(f"{path}: an underlay is a .toml, .gml or .graphml file, not a script")
    return make_underlay(load_topology(str(path)), core_mbps, access_mbps, str(path))


def make_underlay(
    graph: Topology, core_mbps: float | None = None, access_mbps: float = ACCESS_MBPS, source: str = "underlay"
) -> Underlay:
    """The ways through a graph whose links are known. Raises ConfigError."""
    n = len(graph.nodes)
    if n > SILOS_MAX:
        raise ConfigError(f"{source}: expected an underlay of at most {SILOS_MAX} silos, got {n}")
    if not access_mbps > 0 or (core_mbps is not None and not core_mbps > 0):
        raise ConfigError(f"{source}: expected bandwidths above 0, got {access_mbps:g} and {core_mbps}")
    number = {name: i for i, name in enumerate(graph.nodes)}
    latency, width = np.full((n, n), np.inf), np.zeros((n, n))
    np.fill_diagonal(latency, 0.0)
    np.fill_diagonal(width, np.inf)
    for a, b in graph.edge_list():
        i, j, link = number[a], number[b], graph.links.get(edge(a, b), Link())
        if link.latency_ms is None:
            raise ConfigError(f"{source}: edge {a} - {b} has no latency_ms (or distance): that is no underlay")
        latency[i, j] = latency[j, i] = link.latency_ms
        width[i, j] = width[j, i] = core_mbps or _width(link, f"{source}: edge {a} - {b}")
    latency, width = find_ways(latency, width)
    access = np.full(n, float(access_mbps))
    return Underlay(graph.nodes, latency, width, access, access, graph.places, graph.edges)


def find_ways(latency_ms: Any, width_mbps: Any) -> tuple[Any, Any]:
    """Ways of least latency, and the narrowest link on each: both (n, n) of what the links are (inf and 0: no link).

    Of two ways with one latency the wider is taken. Floyd 1962 and Warshall 1962, a row of all pairs at a time.
    """
    latency, width = latency_ms.copy(), width_mbps.copy()
    for k in range(len(latency)):
        through = latency[:, k, None] + latency[None, k, :]
        narrow = np.minimum(width[:, k, None], width[None, k, :])
        better = (through < latency) | ((through == latency) & (narrow > width))
        latency, width = np.where(better, through, latency), np.where(better, narrow, width)
    return latency, width


def _width(link: Link, where: str) -> float:
    if link.bandwidth_mbps is None:
        return CORE_MBPS
    if not link.bandwidth_mbps > 0:
        raise ConfigError(f"{where}: expected a bandwidth above 0, got {link.bandwidth_mbps:g}")
    return link.bandwidth_mbps
