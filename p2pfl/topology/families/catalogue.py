"""All graphs that have a name, for [topology] documents and commands. Knows the two rooms they come from."""

from collections.abc import Callable

from p2pfl.topology.families.static import STATIC
from p2pfl.topology.families.varying import VARYING
from p2pfl.topology.graphs.graph import Topology

FAMILIES: dict[str, Callable[..., Topology]] = STATIC | VARYING
