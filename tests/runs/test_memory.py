"""A network that is too large for the machine is refused with the estimate, before it is built."""

from pathlib import Path

import pytest

from p2pfl.assemble.network import assemble
from p2pfl.config import parse_network
from p2pfl.errors import ConfigError
from p2pfl.runs.memory import check_memory, estimate_bytes, free_bytes
from p2pfl.runs.simulate import simulated

TEXT = 'format = 1\n[pace]\nmode = "lockstep"\n'


def test_refused_with_the_estimate() -> None:
    shared = assemble(simulated(parse_network(TEXT, Path("network.toml")), 32))
    needed = check_memory(shared, dense=True, free=10**12)
    assert needed == estimate_bytes(shared, dense=True) > 4 * 32 * shared.schema.size
    assert check_memory(shared, dense=True, runs=3, free=10**12) == 3 * needed
    with pytest.raises(
        ConfigError, match=r"32 nodes and 32 edges with \d+ parameters each take about .* GB, and 0.0 GB"
    ):
        check_memory(shared, dense=True, free=1000)


def test_more_nodes_and_edges_take_more() -> None:
    def size(n: int, family: str = "ring", rule: str = "pairwise", optimizer: str = "sgd") -> int:
        more = f'[topology]\nfamily = "{family}"\n[mix]\nrule = "{rule}"\n[train]\noptimizer = "{optimizer}"\n'
        return estimate_bytes(assemble(simulated(parse_network(TEXT + more, Path("n.toml")), n)), dense=True)

    assert size(8) < size(16) < size(16, "torus") < size(16, "complete")
    assert size(16) < size(16, optimizer="adam")
    assert size(16, rule="average") == size(16, "complete", rule="average")


def test_what_is_free() -> None:
    free = free_bytes()
    assert free is None or free > 10**6
