"""A node's place in the graph. Knows identities and numbers, not how a graph is made."""

from collections.abc import Mapping
from dataclasses import dataclass

from p2pfl.core.ids import NodeId


@dataclass(frozen=True)
class Neighbourhood:
    """What a node must know of the topology.

    neighbours: all it may ever talk to, in ascending order. weights: Metropolis-Hastings, by neighbour (for rules
    that need rows). degree_median: of the whole graph, to tell hubs. partners: the lockstep schedule, one neighbour or
    None for each round, repeated; a proper edge colouring, so that partner-of is symmetric. members: everybody, in
    ascending order. diameter: of the whole graph.
    """

    me: NodeId
    neighbours: tuple[NodeId, ...]
    weights: Mapping[NodeId, float]
    degree_median: float
    partners: tuple[NodeId | None, ...]
    members: tuple[NodeId, ...] = ()
    diameter: int = 1

    def partner(self, round_: int) -> NodeId | None:
        return self.partners[round_ % len(self.partners)] if self.partners else None
