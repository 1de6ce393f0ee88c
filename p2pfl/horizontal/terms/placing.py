"""From a graph over names to each node's place in it. Knows topologies and identities; knows no document, no tensor."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from statistics import median

from p2pfl.core.ids import NodeId
from p2pfl.horizontal.terms.neighbourhood import Frame, Neighbourhood
from p2pfl.membership.shape import Shape
from p2pfl.topology.graphs.graph import Topology


@dataclass(frozen=True, eq=False)
class Placing:
    """One graph over the nodes that `ids` names; what all places share is computed once."""

    topology: Topology
    ids: Mapping[str, NodeId]

    def of(self, name: str) -> Neighbourhood:
        """The place of a node."""
        topology, ids = self.topology, self.ids
        others = topology.neighbours(name)
        weights = self._weights[name]
        return Neighbourhood(
            me=ids[name],
            neighbours=tuple(sorted(ids[other] for other in others)),
            weights={ids[other]: weights[other] for other in others},
            degree_median=self._degree_median,
            partners=tuple(ids[other[name]] if name in other else None for other in self._matchings),
            members=self._members,
            diameter=self._diameter,
            around={ids[other]: self._ids_beside(topology, other) for other in others},
            frames=tuple(self._frame(name, phase, shares) for phase, shares in self._phases),
        )

    def _frame(self, name: str, phase: Topology, weights: Mapping[str, Mapping[str, float]]) -> Frame:
        ids, others = self.ids, sorted(phase.neighbours(name), key=self.ids.__getitem__)
        return Frame(
            {ids[other]: weights[name][other] for other in others},
            {ids[other]: self._ids_beside(phase, other) for other in others},
        )

    def _ids_beside(self, graph: Topology, name: str) -> tuple[NodeId, ...]:
        return tuple(sorted(self.ids[far] for far in graph.neighbours(name)))

    @cached_property
    def _weights(self) -> Mapping[str, Mapping[str, float]]:
        return self.topology.weights()

    @cached_property
    def _matchings(self) -> list[dict[str, str]]:
        """Of each round of the schedule: who meets whom."""
        return [{a: b for pair in matching for a, b in (pair, pair[::-1])} for matching in self.topology.schedule()]

    @cached_property
    def _phases(self) -> list[tuple[Topology, Mapping[str, Mapping[str, float]]]]:
        """The graph of each phase and its weights; none if it does not change."""
        return [(frame := self.topology.at(t), frame.weights()) for t in range(len(self.topology.phases))]

    @cached_property
    def _degree_median(self) -> float:
        return float(median(self.topology.degree(name) for name in self.topology.nodes))

    @cached_property
    def _members(self) -> tuple[NodeId, ...]:
        return tuple(sorted(self.ids.values()))

    @cached_property
    def _diameter(self) -> int:
        """Of a graph in pieces: as if they stood in a line."""
        try:
            return self.topology.diameter
        except ValueError:
            return len(self.topology.nodes) - 1


def neighbourhood_of(shape: Shape, alive: Sequence[NodeId], me: NodeId) -> Neighbourhood:
    """The place of a member of this view (the event Members), which is not empty and has `me` in it.

    Law: in places computed from equal views, j is a neighbour of i if and only if i is one of j, with one weight.
    """
    return Placing(shape.graph(alive), shape.ids(alive)).of(shape.name_of(me))
