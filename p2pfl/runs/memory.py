"""Whether a simulated network fits into this machine's memory, before it fills it. Knows sizes; runs nothing.

Bytes = 4 P N (copies + slots + c E / N) for N nodes, E edges, P values and an optimizer with `slots` vectors of state.
The copies were measured as peak memory over runs of one million values and more; they hold within a factor of two.
"""

from pathlib import Path

from p2pfl.assemble.network import Shared, assemble
from p2pfl.config import NetworkConfig
from p2pfl.errors import ConfigError
from p2pfl.mixing.pairwise import Pairwise

SLOTS = {"sgd": 0, "momentum": 1, "adam": 2, "adamw": 2}
DENSE_PAIRS, DENSE_ROWS, PARTIES = 2.5, 6.0, 13.0
DENSE_EDGE, PARTIES_EDGE = 1.1, 3.6
"""A reference, which the events engine has at both ends with what an exchange holds beside it."""
MEMINFO = Path("/proc/meminfo")


def estimate_bytes(shared: Shared, dense: bool) -> int:
    """What a run of this network will hold at its peak, about."""
    num_nodes, num_edges = len(shared.topology.nodes), len(shared.topology.edges)
    pairs = isinstance(shared.mixer, Pairwise)
    copies = (DENSE_PAIRS if pairs else DENSE_ROWS) if dense else PARTIES
    copies += SLOTS.get(shared.config.train.optimizer, 0)
    edges = (DENSE_EDGE if dense else PARTIES_EDGE) * num_edges if pairs else 0.0
    return round(4 * shared.schema.size * (copies * num_nodes + edges))


def check_memory(shared: Shared, dense: bool, runs: int = 1, free: int | None = None) -> int:
    """The estimate for so many runs at a time. Raises ConfigError if that much memory is not free."""
    needed = runs * estimate_bytes(shared, dense)
    free = free_bytes() if free is None else free
    if free is not None and needed > free:
        nodes, edges = len(shared.topology.nodes), len(shared.topology.edges)
        what = f"{nodes} nodes and {edges} edges with {shared.schema.size} parameters each"
        what += f", {runs} runs at a time," if runs > 1 else ""
        raise ConfigError(
            f"too large for this machine's memory: {what} take about {_gb(needed)}, and {_gb(free)} are free; "
            "take fewer nodes or a smaller model"
        )
    return needed


def check_config(config: NetworkConfig, dense: bool, runs: int = 1) -> int:
    """`check_memory` of the network that the document describes. Raises ConfigError, also for a wrong document."""
    return check_memory(assemble(config, device="cpu"), dense, runs)


def free_bytes() -> int | None:
    """Memory that a new process may take; None where the system does not say."""
    try:
        for line in MEMINFO.read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    except (OSError, ValueError, IndexError):
        pass
    return None


def _gb(count: int) -> str:
    return f"{count / 1e9:.1f} GB"
