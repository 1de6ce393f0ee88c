"""The graph that a network document asks for. Knows [topology] and the room of graphs; no keys, no tensors."""

from collections.abc import Sequence

from p2pfl.config.schema import TopologyConfig
from p2pfl.topology import Topology, load_topology


def load_graph(section: TopologyConfig, names: Sequence[str]) -> Topology:
    """The checked graph over these nodes; one node alone is a graph too. Raises ConfigError."""
    if len(names) == 1:
        return Topology((names[0],), frozenset())
    spec = section.family if section.family is not None else str(section.file)
    return load_topology(spec, params=section.params, names=names)
