"""All graphs that have a name, for [topology] documents and commands. Knows the two rooms they come from."""

from collections.abc import Callable

from p2pfl.topology.families import STATIC
from p2pfl.topology.graph import Topology
from p2pfl.topology.varying import VARYING

FAMILIES: dict[str, Callable[..., Topology]] = STATIC | VARYING
