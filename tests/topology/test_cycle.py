"""Cycle times: Karp against all circles, the eigenvalue against a simulated run, and the law of the two rings."""

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from p2pfl.errors import ConfigError
from p2pfl.topology import FAMILIES
from p2pfl.topology.graphs.graph import Link, Topology, edge
from p2pfl.topology.overlays.cycle import (
    NEVER,
    Messages,
    Workload,
    both_ways,
    cycle_time_ms,
    find_messages,
    max_cycle_mean,
    mean_round_ms,
    pairs_time_ms,
    pass_round,
)
from p2pfl.topology.overlays.underlay import Underlay, make_underlay

WORK = Workload(model_bytes=1e6, compute_ms=20)


def flat(n: int, latency_ms: float = 5, mbps: float = 100, access_mbps: float = 1e9) -> Underlay:
    """All pairs joined by the same line."""
    names = tuple(f"s{i:02}" for i in range(n))
    edges = frozenset(edge(a, b) for a in names for b in names if a < b)
    return make_underlay(
        Topology(names, edges, links=dict.fromkeys(edges, Link(latency_ms, mbps))), access_mbps=access_mbps
    )


def all_circles(delays: np.ndarray) -> float:
    """The law itself: every simple circle, one by one."""
    n, best = len(delays), -np.inf
    for length in range(1, n + 1):
        for walk in permutations(range(n), length):
            around = [delays[b, a] for a, b in zip(walk, (*walk[1:], walk[0]), strict=True)]
            best = max(best, sum(around) / length)
    return float(best)


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 5), st.integers(0, 2**32 - 1))
def test_the_mean_of_karp_is_that_of_the_slowest_circle(n: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    delays = np.where(rng.random((n, n)) < 0.6, rng.integers(0, 50, (n, n)).astype(float), NEVER)
    delays[0, 0] = max(delays[0, 0], 0.0)  # at least one circle
    assert max_cycle_mean(delays) == pytest.approx(all_circles(delays))


def test_known_circles() -> None:
    no = NEVER
    assert max_cycle_mean(np.array([[3.0]])) == 3
    assert max_cycle_mean(np.array([[no, 4.0], [8.0, no]])) == 6
    # A heavy arc on no circle does not count.
    assert max_cycle_mean(np.array([[1.0, 100.0], [no, 2.0]])) == 2


@settings(max_examples=25, deadline=None)
@given(st.integers(3, 9), st.integers(1, 4), st.integers(0, 2**32 - 1))
def test_a_long_run_takes_as_long_as_the_eigenvalue_says(n: int, period: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    rounds = []
    for _ in range(period):
        pairs = both_ways((int(u), int(v)) for u, v in [rng.choice(n, 2, replace=False) for _ in range(n)])
        senders, receivers = np.array(pairs).T
        rounds.append(Messages(senders, receivers, 20 + rng.integers(1, 60, len(pairs)).astype(float)))
    expected = mean_round_ms(rounds, n, 20.0)
    times = np.zeros(n)
    halfway = 0.0
    for turn in range(400):
        if turn == 200:
            halfway = float(times.max())
        for messages in rounds:
            times = pass_round(times, messages, 20.0)
    assert (float(times.max()) - halfway) / (200 * period) == pytest.approx(expected, rel=0.02)


def test_all_alike() -> None:
    """Nothing to wait for but the line: work, latency, and the message at 100 Mbit/s."""
    assert cycle_time_ms(FAMILIES["ring"](8), flat(8), WORK) == pytest.approx(20 + 5 + 80)
    assert cycle_time_ms(FAMILIES["complete"](8), flat(8), WORK) == pytest.approx(105)


def test_an_access_line_is_shared_by_the_neighbours() -> None:
    ring, complete = FAMILIES["ring"](8), FAMILIES["complete"](8)
    narrow = flat(8, access_mbps=100)
    assert cycle_time_ms(ring, narrow, WORK) == pytest.approx(20 + 5 + 2 * 80)
    assert cycle_time_ms(complete, narrow, WORK) == pytest.approx(20 + 5 + 7 * 80)
    # One at a time, an exchange has the line for itself.
    assert pairs_time_ms(complete, narrow, WORK) == pytest.approx(105)


def test_one_long_line_counts_fully_both_ways_and_one_part_in_n_one_way() -> None:
    names = ("a", "b", "c", "d")
    links = {("a", "b"): 1.0, ("b", "c"): 1.0, ("c", "d"): 1.0, ("a", "d"): 101.0}
    ring = Topology(names, frozenset(links), links={e: Link(ms, 1000.0) for e, ms in links.items()})
    # Routed, a - d goes round the other way; so the delays are given straight.
    work = Workload(125, 10)  # 1 kbit takes 1 us at 1 Gbit/s
    arcs = [(0, 1), (1, 2), (2, 3), (3, 0)]
    under = make_underlay(ring)
    under.latency_ms[0, 3] = under.latency_ms[3, 0] = 101.0
    one_way = mean_round_ms([find_messages(arcs, under, work)], 4, work.compute_ms)
    both = mean_round_ms([find_messages(both_ways(arcs), under, work)], 4, work.compute_ms)
    assert one_way == pytest.approx(10 + 104 / 4, abs=0.01)
    assert both == pytest.approx(10 + 101, abs=0.01)


def test_rounds_without_messages_are_work_alone() -> None:
    busy = find_messages(both_ways([(0, 1)]), flat(2), WORK)
    quiet = find_messages([], flat(2), WORK)
    assert mean_round_ms([quiet], 2, 20.0) == 20
    assert mean_round_ms([busy, quiet], 2, 20.0) == pytest.approx((105 + 20) / 2)


def test_a_changing_graph_takes_its_mean_round() -> None:
    changing = FAMILIES["one-peer-exponential"](8)
    assert cycle_time_ms(changing, flat(8), WORK) == pytest.approx(105)


@pytest.mark.parametrize(("size", "ms"), [(0, 1), (-5, 1), (float("nan"), 1), (1e16, 1), (1, -1), (1, float("inf"))])
def test_work_that_cannot_be(size: float, ms: float) -> None:
    with pytest.raises(ConfigError, match="expected a model of 1 to 1e15 bytes and 0 to 1e9 ms"):
        Workload(size, ms)


def test_a_graph_of_other_size_is_refused() -> None:
    with pytest.raises(ConfigError, match="expected a graph of 8 nodes, got 9"):
        cycle_time_ms(FAMILIES["ring"](9), flat(8), WORK)
