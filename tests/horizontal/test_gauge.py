"""What a node says of its lines: latency from above by small messages, bandwidth from below by large ones."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2pfl.core.ids import NodeId
from p2pfl.core.party import Verdict
from p2pfl.horizontal.pace.gauge import SMALL_BYTES, VISIBLE, Gauge
from p2pfl.wire.messages import Bye
from p2pfl.wire.post import Heard, Post

PEER, OTHER = NodeId(bytes([2]) * 32), NodeId(bytes([1]) * 32)
SAID = Bye(recipe=bytes(32), to=bytes(32), round=0)


def exchange(gauge: Gauge, sent: int, got: int, seconds: float, peer: NodeId = PEER, key: str = "k") -> None:
    gauge.posted(Post(key, peer, SAID, (bytes(sent),)), 10.0)
    gauge.heard(Heard(key, Verdict.ACCEPT, None, SAID, bytes(got)), 10.0 + seconds)


def test_latency_is_half_the_shortest_trip_of_a_small_message() -> None:
    gauge = Gauge()
    for seconds in (0.03, 0.01, 0.02):
        exchange(gauge, 0, 0, seconds)
    assert gauge.lines() == [{"peer": PEER.hex(), "latency_ms": 5.0, "bandwidth_mbps": None}]


def test_bandwidth_is_bytes_over_the_time_beyond_the_trip() -> None:
    gauge = Gauge()
    exchange(gauge, 0, 0, 0.1)
    exchange(gauge, 500_000, 500_000, 0.9)
    (line,) = gauge.lines()
    assert line["latency_ms"] == 50.0
    assert line["bandwidth_mbps"] == 10.0  # 8 Mbit in 0.8 s


def test_the_best_exchange_counts() -> None:
    gauge = Gauge()
    exchange(gauge, 0, 0, 0.1)
    for sent, seconds in ((100_000, 1.0), (1_000_000, 1.1), (100_000, 5.0)):
        exchange(gauge, sent, 0, seconds)
    assert gauge.lines()[0]["bandwidth_mbps"] == 8.0


def test_a_transfer_lost_in_its_trip_is_not_believed_to_be_endless() -> None:
    gauge = Gauge()
    exchange(gauge, 0, 0, 0.1)
    exchange(gauge, 100_000, 0, 0.1)
    assert gauge.lines()[0]["bandwidth_mbps"] == pytest.approx(0.8 / (VISIBLE * 0.1))


def test_what_says_nothing_about_a_line() -> None:
    gauge = Gauge()
    gauge.posted(Post("refused", PEER, SAID), 1.0)
    gauge.heard(Heard("refused", Verdict.BUSY, code="starting"), 1.1)
    gauge.posted(Post("lost", PEER, SAID), 1.0)
    gauge.lost("lost")
    gauge.heard(Heard("lost", Verdict.ACCEPT, None, SAID), 1.1)
    gauge.heard(Heard("never posted", Verdict.ACCEPT, None, SAID), 1.1)
    exchange(gauge, 0, 0, 0.0)  # a clock that stands still
    assert gauge.lines() == []


def test_lines_are_in_the_order_of_peers() -> None:
    gauge = Gauge()
    exchange(gauge, 0, 0, 0.2, PEER)
    exchange(gauge, 5000, 0, 0.2, OTHER)
    assert [line["peer"] for line in gauge.lines()] == [OTHER.hex(), PEER.hex()]
    assert gauge.lines()[0]["latency_ms"] is None


@given(
    st.floats(0.001, 0.2),
    st.floats(1.0, 1000.0),
    st.lists(st.tuples(st.integers(0, 1_000_000), st.floats(0, 1)), min_size=1, max_size=20),
)
def test_figures_are_bounds(latency_s: float, mbps: float, sizes: list[tuple[int, float]]) -> None:
    """On a line of known latency and bandwidth, with neighbours that take their time."""
    gauge = Gauge()
    exchange(gauge, 0, 0, 2 * latency_s)
    for size, wait_s in sizes:
        exchange(gauge, size, 0, 2 * latency_s + size * 8e-6 / mbps + wait_s)
    (line,) = gauge.lines()
    assert line["latency_ms"] is not None
    assert line["latency_ms"] >= latency_s * 1e3 - 1e-3
    if line["bandwidth_mbps"] is not None:
        assert line["bandwidth_mbps"] <= mbps * (1 + 1e-6) + 1e-3
        assert max(size for size, _ in sizes) > SMALL_BYTES
