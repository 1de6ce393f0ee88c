"""A node's place in the graph. Knows identities and numbers, not how a graph is made."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from typing import NamedTuple

from p2pfl.core.ids import NodeId
from p2pfl.core.noise import Key, derive
from p2pfl.secagg.partition import Ground, cells_of


class Frame(NamedTuple):
    """The graph around one node in one phase of a graph that changes with time."""

    weights: Mapping[NodeId, float]  # of the phase's neighbours, in ascending order
    around: Mapping[NodeId, tuple[NodeId, ...]]  # the phase's neighbours of each of them, ascending


class Turn(NamedTuple):
    """One node's part in one round of a neighbourhood rule."""

    to: tuple[NodeId, ...]  # whom it says its row to, ascending
    rows: Mapping[NodeId, float]  # whose rows it is to hear, ascending, and their weights
    given: float  # the sum of the weights that its own row has at others


@dataclass(frozen=True)
class Neighbourhood:
    """What a node must know of the topology.

    neighbours: all it may ever talk to, in ascending order. weights: Metropolis-Hastings or given, by neighbour (for
    rules that need rows). degree_median: of the whole graph, to tell hubs. partners: the lockstep schedule, one
    neighbour or None for each round, repeated; matchings, so that partner-of is symmetric. members: everybody, in
    ascending order. diameter: of the whole graph. around: the neighbours of each neighbour, for rules that draw whom
    they speak to; everybody draws everybody's. frames: of a graph that changes with time, one per phase, repeated;
    then weights and around are not used. ground: what the rule "cell" draws cells from.
    """

    me: NodeId
    neighbours: tuple[NodeId, ...]
    weights: Mapping[NodeId, float]
    degree_median: float
    partners: tuple[NodeId | None, ...]
    members: tuple[NodeId, ...] = ()
    diameter: int = 1
    around: Mapping[NodeId, tuple[NodeId, ...]] = field(default_factory=dict)
    frames: tuple[Frame, ...] = ()
    ground: Ground | None = None

    @cached_property
    def intervals(self) -> Mapping[NodeId, float]:
        """After how many of its exchanges a node without rounds meets a neighbour of a changing graph once more.

        Those that the schedule has seldom come seldom. Empty for a graph that does not change: all are alike there.
        """
        if not self.frames:
            return {}
        met = Counter(peer for peer in self.partners if peer is not None)
        return {peer: met.total() / count for peer, count in met.items()}

    def partner(self, round_: int) -> NodeId | None:
        return self.partners[round_ % len(self.partners)] if self.partners else None

    def turn(self, round_: int, weighting: str, fanout: int, seed: Key) -> Turn:
        """Whom to tell and whom to hear in a round, with the weights that mixing/rows.py defines.

        fanout: everybody tells so many of its neighbours, drawn from `seed`; 0 is all of them. Law: j is in i's `to`
        if and only if i is in j's `rows`.
        """
        if weighting == "cell":
            assert self.ground is not None
            cell = cells_of(self.ground, seed, round_).get(self.me, ())
            rows = {peer: 1.0 / len(cell) for peer in cell if peer != self.me}
            return Turn(tuple(rows), rows, sum(rows.values()))
        neighbours, weights, around = self.neighbours, self.weights, self.around
        if self.frames:
            weights, around = self.frames[round_ % len(self.frames)]
            neighbours = tuple(weights)
        if not fanout and weighting in ("metropolis", "everybody"):
            if weighting == "everybody":
                weights = dict.fromkeys(neighbours, 1.0 / (1 + len(neighbours)))
            return Turn(neighbours, weights, sum(weights[peer] for peer in neighbours))
        to = told(self.me, neighbours, round_, fanout, seed)
        spoken = {peer: told(peer, around[peer], round_, fanout, seed) for peer in neighbours}
        heard = [peer for peer in neighbours if self.me in spoken[peer]]
        if weighting == "push":
            return Turn(to, {peer: 1.0 / (1 + len(spoken[peer])) for peer in heard}, len(to) / (1.0 + len(to)))
        if weighting == "uniform":
            return Turn(to, dict.fromkeys(heard, 1.0 / (1 + len(heard))), len(to) / (1.0 + len(to)))
        rows = {peer: weights[peer] for peer in heard}
        return Turn(to, rows, sum(weights[peer] for peer in to))


@lru_cache(maxsize=1 << 14)
def told(node: NodeId, neighbours: tuple[NodeId, ...], round_: int, fanout: int, seed: Key) -> tuple[NodeId, ...]:
    """The neighbours that `node` tells in a round, ascending: `fanout` of them by keyed hashes, or all."""
    if not 0 < fanout < len(neighbours):
        return neighbours
    lots = sorted(neighbours, key=lambda peer: derive(seed, "push", round_, node, peer))
    return tuple(sorted(lots[:fanout]))
