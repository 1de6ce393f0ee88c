"""How long a round of an overlay takes, on the average of a long run. Knows delays between silos; no weights, no files.

Theory of operation
-------------------
Silo i begins round r + 1 when its own round r is done and all its neighbours' messages of round r are there:

    t_i(r + 1) = max(t_i(r) + d_ii, max over neighbours j of t_j(r) + d_ji)
    d_ii = T           d_ji = T + latency + size / min(up_j / degree_j, down_i / degree_i, core_ji)

Nobody waits for the whole network, only, in the end, for the slowest circle in it: t grows by the largest mean delay
over all circles, the eigenvalue of d in the algebra of max and plus. Rounds that differ make one long round each
period: t(r + period) = P t(r) with P the product of their matrices, and a round takes its eigenvalue / period.

A one-way ring is one circle, so a long link in it counts only one part in n. Where exchanges go both ways, each edge is
a circle, and the slowest counts fully; unless it is used in few rounds of the period.

Sources: Marfoq et al. 2020, equations 3 and 5; Karp 1978 (maximum cycle mean).
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from p2pfl.errors import ConfigError
from p2pfl.topology.graphs.graph import Edge, Topology
from p2pfl.topology.overlays.underlay import Underlay

Arc = tuple[int, int]
"""A message's sender and receiver, by number."""

NEVER = -np.inf
"""The zero of max and plus: no message."""


@dataclass(frozen=True, slots=True)
class Workload:
    """What every silo does in a round. model_bytes: of one message; compute_ms: of its local steps."""

    model_bytes: float
    compute_ms: float

    def __post_init__(self) -> None:
        if not (0 < self.model_bytes < 1e15 and 0 <= self.compute_ms < 1e9):
            raise ConfigError(
                f"expected a model of 1 to 1e15 bytes and 0 to 1e9 ms of work a round, "
                f"got {self.model_bytes:g} and {self.compute_ms:g}"
            )


@dataclass(frozen=True, slots=True, eq=False)
class Messages:
    """Those of one round: senders (m,), receivers (m,), delays_ms (m,) with the sender's work in them."""

    senders: Any
    receivers: Any
    delays_ms: Any


def cycle_time_ms(topology: Topology, underlay: Underlay, work: Workload) -> float:
    """Of a round in which everybody exchanges with all its neighbours (of the round's phase). Raises ConfigError."""
    phases = topology.phases or (topology.edges,)
    return _time_of(topology, phases, underlay, work)


def pairs_time_ms(topology: Topology, underlay: Underlay, work: Workload) -> float:
    """Of a round in which everybody exchanges with one neighbour at most, as the schedule of pairs has it."""
    return _time_of(topology, topology.schedule(), underlay, work)


def find_messages(arcs: Sequence[Arc], underlay: Underlay, work: Workload) -> Messages:
    """What is sent in one round, and how long it takes; every access link is shared by its silo's messages."""
    senders, receivers = np.asarray(arcs, dtype=np.intp).reshape(-1, 2).T
    n = len(underlay.names)
    up = underlay.up_mbps / np.maximum(1, np.bincount(senders, minlength=n))
    down = underlay.down_mbps / np.maximum(1, np.bincount(receivers, minlength=n))
    mbps = np.minimum(np.minimum(up[senders], down[receivers]), underlay.core_mbps[senders, receivers])
    transfer_ms = work.model_bytes * 8 / 1e3 / mbps
    delays = work.compute_ms + underlay.latency_ms[senders, receivers] + transfer_ms
    return Messages(senders, receivers, delays)


def both_ways(pairs: Iterable[Arc]) -> list[Arc]:
    """An exchange as its two messages."""
    return [arc for u, v in pairs for arc in ((u, v), (v, u))]


def mean_round_ms(rounds: Sequence[Messages], n: int, compute_ms: float) -> float:
    """Of a period that repeats for ever: the eigenvalue of its matrix, over its length."""
    return max_cycle_mean(period_matrix(rounds, n, compute_ms)) / len(rounds)


def period_matrix(rounds: Sequence[Messages], n: int, compute_ms: float) -> Any:
    """P (n, n): P[i, j] is the longest time from j's beginning of the period to i's beginning of the next."""
    times = np.full((n, n), NEVER)
    np.fill_diagonal(times, 0.0)
    for messages in rounds:
        times = pass_round(times, messages, compute_ms)
    return times


def pass_round(times: Any, messages: Messages, compute_ms: float) -> Any:
    """One round on: times (n, ...) of when each silo begins it -> of when it begins the next."""
    after = times + compute_ms
    delays = messages.delays_ms.reshape(-1, *[1] * (times.ndim - 1))
    np.maximum.at(after, messages.receivers, times[messages.senders] + delays)
    return after


def max_cycle_mean(delays: Any) -> float:
    """The largest mean over circles of delays[i, j] (n, n), NEVER where there is no arc; at least one circle.

    Karp 1978: max over v of min over k of (D_n(v) - D_k(v)) / (n - k), D_k(v) the heaviest walk of k arcs to v. Walks
    begin everywhere at once, as if a source had an arc of weight 0 to each node; so it need not be strongly connected.
    """
    n = len(delays)
    heaviest = np.full((n + 1, n), NEVER)
    heaviest[0] = 0.0
    for k in range(n):
        heaviest[k + 1] = (delays + heaviest[k]).max(axis=1)
    steps = np.arange(n, 0, -1, dtype=np.float64)[:, None]
    reached = heaviest[n] > NEVER
    last, before = heaviest[n, reached], heaviest[:n, reached]
    with np.errstate(invalid="ignore"):
        means = np.where(before > NEVER, (last - before) / steps, np.inf)
    return float(means.min(axis=0).max())


def _time_of(topology: Topology, phases: Sequence[Iterable[Edge]], underlay: Underlay, work: Workload) -> float:
    under = underlay.over(topology.nodes)
    number = {name: i for i, name in enumerate(topology.nodes)}
    rounds = [find_messages(both_ways((number[a], number[b]) for a, b in sorted(p)), under, work) for p in phases]
    return mean_round_ms(rounds, len(topology.nodes), work.compute_ms)
