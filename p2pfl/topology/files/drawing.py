"""A graph as somebody drew it, and the checks that make a Topology of it. Knows no file.

Whoever reads a file or runs a script makes a Drawing; `admit` finds what is wrong with it and says it in one line.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from math import isfinite
from typing import Any

from p2pfl.core.limits import NEIGHBOURS_MAX, NODES_MAX
from p2pfl.errors import ConfigError
from p2pfl.topology.graphs.graph import Edge, Link, Place, Topology, edge
from p2pfl.topology.graphs.numbered import numbered
from p2pfl.topology.graphs.params import suggest

NAME_CHARS_MAX = 64
"""Characters in a node's name."""

PIECES_SHOWN_MAX = 5


@dataclass(frozen=True, slots=True)
class Drawing:
    """Nodes, and edges between them, as they were written; `source` is what messages call it.

    In an anonymous drawing the labels are mere numbers: any names can be put in their place, in order. `phases`: of a
    graph that changes with time, edges and their weights (None: from the degrees); `edges` are then all of them.
    """

    source: str
    nodes: tuple[str, ...]
    edges: tuple[tuple[str, str, Link | None], ...]
    anonymous: bool = False
    places: Mapping[str, Place] = field(default_factory=dict)
    phases: tuple[tuple[tuple[str, str, Fraction | None], ...], ...] = ()


def admit(drawing: Drawing, names: Sequence[str] | None = None) -> Topology:
    """The Topology that was meant, over `names` if given. Raises ConfigError for everything that cannot be one.

    An anonymous drawing takes the names in order, so there must be as many; any other must use only these names.
    """
    nodes = _nodes(drawing, names)
    links = _edges(drawing, nodes)
    shares = [_shares(drawing, phase) for phase in drawing.phases]
    topology = Topology(
        nodes,
        frozenset(links),
        tuple(frozenset(edge(a, b) for a, b, _ in phase) for phase in drawing.phases),
        {e: link for e, link in links.items() if link is not None},
        drawing.places,
        tuple(shares) if any(shares) else (),
    )
    if drawing.anonymous:
        topology = topology.renamed(numbered(len(nodes)) if names is None else names)
    return check_usable(topology, drawing.source)


def check_usable(topology: Topology, source: str) -> Topology:
    """The same topology. Raises ConfigError if it has too many nodes or neighbours, or is in pieces."""
    if not 2 <= len(topology.nodes) <= NODES_MAX:
        raise ConfigError(f"{source}: expected 2 to {NODES_MAX} nodes, got {len(topology.nodes)}")
    for name in topology.nodes:
        check_name(name, source)
        if topology.degree(name) > NEIGHBOURS_MAX:
            raise ConfigError(
                f"{source}: expected at most {NEIGHBOURS_MAX} neighbours of a node, {name} has {topology.degree(name)}"
            )
    pieces = topology.components()
    if len(pieces) > 1:
        shown = ", ".join(f"{len(p)} node{'s' * (len(p) > 1)} with {p[0]}" for p in pieces[:PIECES_SHOWN_MAX])
        more = ", ..." if len(pieces) > PIECES_SHOWN_MAX else ""
        raise ConfigError(f"{source}: the graph is in {len(pieces)} pieces ({shown}{more}); join them with edges")
    return topology


def check_name(name: object, source: str) -> None:
    """Raises ConfigError unless `name` can stand in files, tables and messages."""
    if (
        not isinstance(name, str)
        or not 0 < len(name) <= NAME_CHARS_MAX
        or not name.isprintable()
        or name != name.strip()
    ):
        raise ConfigError(
            f"{source}: expected node names of 1 to {NAME_CHARS_MAX} printable characters, got {name!r:.80}"
        )


def compute_link(attributes: Mapping[str, Any], where: str) -> Link | None:
    """What edge attributes say of the line: `latency_ms`, `bandwidth_mbps`, or `distance` (km), `capacity` (bit/s).

    Latency from distance is 0.0085 ms per km plus 4 ms, as in the code of Marfoq et al. 2020. Raises ConfigError.
    """
    given = {key: _number(attributes, key, where) for key in ("latency_ms", "bandwidth_mbps", "distance", "capacity")}
    latency, bandwidth = given["latency_ms"], given["bandwidth_mbps"]
    if latency is None and given["distance"] is not None:
        latency = 4.0 + 0.0085 * given["distance"]
    if bandwidth is None and given["capacity"] is not None:
        bandwidth = given["capacity"] / 1e6
    return None if latency is None and bandwidth is None else Link(latency, bandwidth)


def compute_place(attributes: Mapping[str, Any]) -> Place | None:
    """Where a node is, if its attributes hold both coordinates, whatever their case."""
    lower = {str(key).lower(): value for key, value in attributes.items()}
    found = [lower.get("longitude"), lower.get("latitude")]
    if not all(isinstance(x, int | float) and isfinite(x) for x in found):
        return None
    return Place(float(found[0]), float(found[1]))  # type: ignore[arg-type]  # both are numbers


def _nodes(drawing: Drawing, names: Sequence[str] | None) -> tuple[str, ...]:
    if len(set(drawing.nodes)) < len(drawing.nodes):
        twice = next(name for i, name in enumerate(drawing.nodes) if name in drawing.nodes[:i])
        raise ConfigError(f"{drawing.source}: node {twice} is listed twice")
    if names is None:
        return drawing.nodes
    if drawing.anonymous:
        if len(names) != len(drawing.nodes):
            raise ConfigError(f"{drawing.source}: expected {len(names)} nodes, got a graph of {len(drawing.nodes)}")
        return drawing.nodes
    known = set(names)
    for name in drawing.nodes:
        if name not in known:
            raise ConfigError(f"{drawing.source}: unknown node {name!r}{suggest(name, names)}")
    return tuple(names)


def _edges(drawing: Drawing, nodes: tuple[str, ...]) -> dict[Edge, Link | None]:
    links: dict[Edge, Link | None] = {}
    known = set(nodes)
    for a, b, link in drawing.edges:
        for end in (a, b):
            if end not in known:
                raise ConfigError(f"{drawing.source}: edge {a} - {b}: unknown node {end!r}{suggest(end, nodes)}")
        if a == b:
            raise ConfigError(f"{drawing.source}: {a} is joined to itself; an edge needs two nodes")
        if edge(a, b) in links:
            raise ConfigError(f"{drawing.source}: edge {a} - {b} is listed twice")
        links[edge(a, b)] = link
    return links


def _shares(drawing: Drawing, phase: Sequence[tuple[str, str, Fraction | None]]) -> dict[Edge, Fraction]:
    """The given weights of a phase; empty if it has none."""
    shares = {edge(a, b): weight for a, b, weight in phase if weight is not None}
    totals: dict[str, Fraction] = {}
    for (a, b), weight in shares.items():
        for end in (a, b):
            totals[end] = totals.get(end, Fraction(0)) + weight
            if totals[end] > 1:
                raise ConfigError(
                    f"{drawing.source}: expected the weights of a node to sum to at most 1, {end} has more"
                )
    return shares


def _number(attributes: Mapping[str, Any], key: str, where: str) -> float | None:
    value = attributes.get(key)
    if value is None:
        return None
    if not isinstance(value, int | float) or isinstance(value, bool) or not isfinite(value) or value < 0:
        raise ConfigError(f"{where}: expected {key} to be a number of at least 0, got {value!r:.80}")
    return float(value)
