"""Who exchanges with whom: named graphs, their weights, speed and schedule. Knows no keys, addresses or tensors."""

from p2pfl.topology.families import FAMILIES
from p2pfl.topology.graph import Edge, Link, Place, Topology, edge
from p2pfl.topology.load import from_networkx, load_topology
from p2pfl.topology.params import parse_params
from p2pfl.topology.spectrum import WeightRule

__all__ = [
    "FAMILIES",
    "Edge",
    "Link",
    "Place",
    "Topology",
    "WeightRule",
    "edge",
    "from_networkx",
    "load_topology",
    "parse_params",
]
