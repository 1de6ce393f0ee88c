"""Who exchanges with whom: named graphs, their weights, speed and schedule. Knows no keys, addresses or tensors."""

from p2pfl.topology.families.catalogue import FAMILIES
from p2pfl.topology.figures.study import Pace, Study, study
from p2pfl.topology.files.dump import dump_topology
from p2pfl.topology.files.load import from_networkx, load_topology
from p2pfl.topology.graphs.graph import Edge, Link, Place, Topology, edge
from p2pfl.topology.graphs.params import parse_params
from p2pfl.topology.graphs.spectrum import WeightRule
from p2pfl.topology.overlays.cycle import Workload
from p2pfl.topology.overlays.underlay import Underlay, load_underlay

__all__ = [
    "FAMILIES",
    "Edge",
    "Link",
    "Pace",
    "Place",
    "Study",
    "Topology",
    "Underlay",
    "WeightRule",
    "Workload",
    "dump_topology",
    "edge",
    "from_networkx",
    "load_topology",
    "load_underlay",
    "parse_params",
    "study",
]
