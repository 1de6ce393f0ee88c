"""The graph that follows from who is alive. Pure: equal views give equal graphs, so nobody negotiates an edge.

A graph named by a family is built anew over the live members: those that the network's document lists in its order,
then those who joined later, by key. Where a family cannot have so many nodes (a hypercube of 7), as many as it can have
are its, and the others are attached. A declared graph stays as it was declared: dead nodes and their edges are left
out, which may leave it in pieces, and who joined later is attached.

To attach a node: an edge to each of `k` others that are placed already, the nearest in the order of keys (a circle) or
drawn by lot from the two keys. Who was placed before does not change by that; when the ones a node hung on die, it is
attached to the next.
"""

from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Literal

from p2pfl.core.ids import NodeId
from p2pfl.core.limits import NEIGHBOURS_MAX
from p2pfl.errors import ConfigError
from p2pfl.topology.graphs.graph import Topology, edge

AttachRule = Literal["near", "random"]
SMALLER_MAX = 64
"""How many nodes fewer a family is tried with."""
KEPT_MAX = 4
"""Graphs of the last views that a Shape remembers."""

Build = Callable[[Sequence[str]], Topology]
"""The graph of a family over names. Raises ConfigError if there is none over so many."""


@dataclass(frozen=True, slots=True)
class Attach:
    """How a newcomer is placed: edges to `k` others."""

    rule: AttachRule = "near"
    k: int = 2


@dataclass(frozen=True)
class Shape:
    """What a network's document says of its graph. `listed`: its nodes and their names, in its order.

    build: of a family, or None; then `declared` is the graph itself.
    """

    listed: Mapping[NodeId, str]
    build: Build | None = None
    declared: Topology | None = None
    attach: Attach = Attach()
    _kept: dict[tuple[NodeId, ...], Topology] = field(default_factory=dict, repr=False, compare=False)

    def name_of(self, node: NodeId) -> str:
        """The document's name of a node; for one that joined later, one that no document can give."""
        return self.listed.get(node) or f"+{node.hex()[:40]}"

    def ids(self, alive: Sequence[NodeId]) -> dict[str, NodeId]:
        """The members of a view by their names in its graph."""
        return {self.name_of(node): node for node in alive}

    def graph(self, alive: Sequence[NodeId]) -> Topology:
        """The graph over these members, over names as `ids` gives them. `alive` is not empty, in any order."""
        view = tuple(sorted(alive))
        if view not in self._kept:
            while len(self._kept) >= KEPT_MAX:
                del self._kept[next(iter(self._kept))]
            self._kept[view] = self._draw(view)
        return self._kept[view]

    def _draw(self, view: tuple[NodeId, ...]) -> Topology:
        here = set(view)
        ordered = [node for node in self.listed if node in here] + [node for node in view if node not in self.listed]
        names = [self.name_of(node) for node in ordered]
        if self.build is not None:
            base = self._largest(names, self.build)
        else:
            assert self.declared is not None
            base = masked(self.declared, names)
        return attached(base, {self.name_of(node): node for node in ordered}, self.attach)

    def _largest(self, names: list[str], build: Build) -> Topology:
        """The family over as many of the names, the first ones, as it can have."""
        for size in range(len(names), max(1, len(names) - SMALLER_MAX), -1):
            try:
                return build(names[:size])
            except ConfigError:
                continue
        return Topology(tuple(names[:1]), frozenset())


def masked(graph: Topology, names: Sequence[str]) -> Topology:
    """The same graph without the nodes that are not among `names`; the first name alone if none of them is in it.

    What a node gave to one that is left out goes back to itself.
    """
    kept = set(names) & set(graph.nodes)
    if not kept:
        return Topology((names[0],), frozenset())
    if len(kept) == len(graph.nodes):
        return graph
    edges = frozenset(e for e in graph.edges if e[0] in kept and e[1] in kept)
    return Topology(
        tuple(name for name in graph.nodes if name in kept),
        edges,
        tuple(phase & edges for phase in graph.phases),
        {e: link for e, link in graph.links.items() if e in edges},
        {name: place for name, place in graph.places.items() if name in kept},
        tuple({e: w for e, w in share.items() if e in edges} for share in graph.shares),
    )


def attached(base: Topology, ids: Mapping[str, NodeId], attach: Attach) -> Topology:
    """The graph with all of `ids` in it, which name its nodes too: those that are missing are placed one by one.

    In a changing graph they have their edges in every phase. Given shares cannot hold for them: the weights then follow
    from the degrees.
    """
    new = [name for name in ids if name not in set(base.nodes)]
    if not new:
        return base
    degrees = {name: base.degree(name) for name in base.nodes}
    edges = set()
    for name in new:
        others = _nearest(name, list(degrees), ids) if attach.rule == "near" else _drawn(name, list(degrees), ids)
        ends = [other for other in others if degrees[other] < NEIGHBOURS_MAX][: attach.k]
        degrees[name] = len(ends)
        for end in ends:
            degrees[end] += 1
            edges.add(edge(name, end))
    more = frozenset(edges)
    phases = tuple(phase | more for phase in base.phases)
    return Topology((*base.nodes, *new), base.edges | more, phases, base.links, base.places)


def _nearest(name: str, others: list[str], ids: Mapping[str, NodeId]) -> list[str]:
    """The others as one meets them walking both ways round the circle of keys."""
    ring = sorted(others, key=ids.__getitem__)
    at = bisect_left(ring, ids[name], key=ids.__getitem__)
    steps = [at + step for far in range(len(ring)) for step in (far, -1 - far)]
    return list(dict.fromkeys(ring[step % len(ring)] for step in steps))


def _drawn(name: str, others: list[str], ids: Mapping[str, NodeId]) -> list[str]:
    """The others in an order drawn for each newcomer."""
    return sorted(others, key=lambda other: blake2b(ids[name] + ids[other]).digest())
