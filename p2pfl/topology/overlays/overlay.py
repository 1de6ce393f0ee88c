"""An overlay and how long it takes: a round, and until the nodes agree. Knows delays and weights; builds no graph."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, log
from typing import Any

import numpy as np

from p2pfl.topology.graphs.graph import Topology
from p2pfl.topology.graphs.spectrum import compute_contraction, compute_rounds
from p2pfl.topology.overlays.cycle import Workload, cycle_time_ms
from p2pfl.topology.overlays.underlay import Underlay

ROUNDS_TRIED_MAX = 512
"""Rounds of a changing graph that are multiplied one by one; beyond, whole periods are counted."""


@dataclass(frozen=True)
class Overlay:
    """One way to exchange over an underlay. round_ms: on average, with its local work; rounds: until the disagreement
    is at most the target times the first one, None if never. `topology` is None for what no network of peers runs."""

    name: str
    topology: Topology | None
    round_ms: float
    rounds: int | None
    num_edges: int
    degree: int
    """The most messages that a silo sends in one round."""

    @property
    def target_ms(self) -> float:
        """Until the target is reached; inf if never."""
        return float("inf") if self.rounds is None else self.rounds * self.round_ms


def judge(name: str, topology: Topology, underlay: Underlay, work: Workload, target: float) -> Overlay:
    """The figures of a graph whose nodes are the underlay's silos."""
    return Overlay(
        name,
        topology,
        cycle_time_ms(topology, underlay, work),
        rounds_to_target(topology, target),
        len(topology.edges),
        busiest(topology),
    )


def busiest(topology: Topology) -> int:
    """The most exchanges that a node has in one round."""
    frames = [topology.at(t) for t in range(len(topology.phases))] or [topology]
    return max(frame.degree(name) for frame in frames for name in frame.nodes)


def rounds_to_target(topology: Topology, target: float) -> int | None:
    """Rounds of plain averaging from phase 0 until the largest disagreement is at most `target` of what it was.

    The norm of W_r ... W_1 - J. For a changing graph this looks at every round, not only at the ends of periods.
    """
    if not topology.phases:
        return topology.rounds_to_consensus(target)
    frames = [topology.at(t).matrix() for t in range(len(topology.phases))]
    product = np.eye(len(topology.nodes)) - 1 / len(topology.nodes)
    for t in range(min(ROUNDS_TRIED_MAX, 4 * len(frames))):
        product = frames[t % len(frames)] @ product
        if disagreement(product) <= target:
            return t + 1
    return compute_rounds(compute_contraction(frames), len(frames), target)


def disagreement(left: Any) -> float:
    """The spectral norm of (n, n). The Frobenius norm, an upper bound, spares the eigenvalues when it is small."""
    bound = float(np.linalg.norm(left))
    return bound if bound < 1e-12 else float(np.sqrt(max(0.0, np.linalg.eigvalsh(left.T @ left)[-1])))


def one_way_rounds(n: int, target: float) -> int:
    """Of a ring in which everybody averages with the one before: |eigenvalues| |1 + e^(2 pi i k / n)| / 2."""
    return ceil(log(target) / log(np.cos(np.pi / n))) if n > 2 else 1


def fastest(overlays: Sequence[Overlay]) -> Overlay:
    """The one with the shortest round."""
    return min(overlays, key=lambda overlay: overlay.round_ms)


def soonest(overlays: Sequence[Overlay]) -> Overlay:
    """The one that reaches the target first; of equals the one with the shorter round."""
    return min(overlays, key=lambda overlay: (overlay.target_ms, overlay.round_ms))
