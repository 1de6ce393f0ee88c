"""What a graph costs and how fast it averages, in numbers side by side. Knows graphs and links; prints nothing."""

from dataclasses import dataclass

from p2pfl.topology.figures.consensus import WANTED, Way, count_exchanges, measure, predict
from p2pfl.topology.graphs.graph import Topology
from p2pfl.topology.overlays.cycle import Workload, cycle_time_ms, pairs_time_ms
from p2pfl.topology.overlays.underlay import Underlay, make_underlay


@dataclass(frozen=True, slots=True)
class Pace:
    """One way to exchange on a graph, until disagreement is WANTED of the first.

    predicted: rounds, an upper bound from the spectrum; measured: rounds of gossip on random vectors; None: never.
    models_sent: until then, over all nodes. round_ms: on the links, the mean of a long run; None: no links known.
    curve: the disagreement after each round.
    """

    predicted: int | None
    measured: int | None
    models_sent: int | None
    round_ms: float | None
    curve: tuple[float, ...]

    @property
    def consensus_s(self) -> float | None:
        """Seconds until consensus on the links."""
        if self.round_ms is None or self.measured is None:
            return None
        return self.round_ms * self.measured / 1e3


@dataclass(frozen=True, slots=True)
class Study:
    """One graph. degree_max counts all neighbours a node ever has."""

    name: str
    num_nodes: int
    num_edges: int
    num_phases: int
    degree_max: int
    diameter: int
    spectral_gap: float
    average: Pace
    pairs: Pace


def study(
    topology: Topology, name: str = "graph", underlay: Underlay | None = None, work: Workload | None = None
) -> Study:
    """Measures one connected graph. With `work` also in seconds: on `underlay`, or on the links the graph itself knows.

    Raises ConfigError if `work` is given and links are not known.
    """
    if work is not None and underlay is None:
        underlay = make_underlay(topology, source=name)
    return Study(
        name,
        len(topology.nodes),
        len(topology.edges),
        max(1, len(topology.phases)),
        max(topology.degree(node) for node in topology.nodes),
        topology.diameter,
        topology.spectral_gap(),
        _pace(topology, "average", underlay, work),
        _pace(topology, "pairs", underlay, work),
    )


def _pace(topology: Topology, way: Way, underlay: Underlay | None, work: Workload | None) -> Pace:
    curve = measure(topology, way)
    measured = len(curve) - 1 if curve[-1] <= WANTED else None
    sent = None if measured is None else 2 * count_exchanges(topology, way, measured)
    round_ms = None
    if underlay is not None and work is not None:
        round_ms = (cycle_time_ms if way == "average" else pairs_time_ms)(topology, underlay, work)
    return Pace(predict(topology, way), measured, sent, round_ms, tuple(curve))
