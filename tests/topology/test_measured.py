"""Underlays from what nodes say: both ends of a line, the better figure; and status documents that are anything."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2pfl.core.limits import NEIGHBOURS_MAX
from p2pfl.errors import ConfigError
from p2pfl.topology.graphs.graph import Link
from p2pfl.topology.overlays.measured import Report, combine, read_report
from p2pfl.topology.overlays.underlay import make_underlay

ROW = {"peer": "bb", "latency_ms": 2.5, "bandwidth_mbps": 40}


def report(name: str, **lines: Link) -> Report:
    return Report(f"id-{name}", name, {f"id-{peer}": link for peer, link in lines.items()})


def test_what_a_node_says_is_read() -> None:
    found = read_report({"node": "aa", "name": "alice", "lines": [ROW, {"peer": "cc"}], "more": 1}, "here")
    assert found == Report("aa", "alice", {"bb": Link(2.5, 40.0), "cc": Link(None, None)})


def test_the_better_figure_of_both_ends_is_taken() -> None:
    network, strangers = combine(
        [
            report("a", b=Link(3.0, 50.0), c=Link(9.0, None)),
            report("b", a=Link(2.0, 80.0)),
            report("c", a=Link(12.0, 7.0), q=Link(1.0, 1.0)),
        ]
    )
    assert network.links == {("a", "b"): Link(2.0, 80.0), ("a", "c"): Link(9.0, 7.0)}
    assert strangers == 1  # q was not asked
    assert make_underlay(network).link("b", "c") == Link(11.0, 7.0)


def test_one_end_knows_the_latency_and_the_other_the_bandwidth() -> None:
    network, _ = combine([report("a", b=Link(None, 50.0)), report("b", a=Link(2.0, None))])
    assert network.links == {("a", "b"): Link(2.0, 50.0)}


def test_lines_of_unknown_latency_do_not_count() -> None:
    with pytest.raises(ConfigError, match="the lines between these nodes"):
        combine([report("a", b=Link(None, 50.0)), report("b")])


def test_two_nodes_of_one_name() -> None:
    with pytest.raises(ConfigError, match="expected nodes of different names, got a, a"):
        combine([Report("1", "a", {}), Report("2", "a", {})])


def test_a_network_in_pieces() -> None:
    line = Link(1.0, 1.0)
    with pytest.raises(ConfigError, match="the lines between these nodes"):
        combine([report("a", b=line), report("b", a=line), report("c", d=line), report("d", c=line)])


@pytest.mark.parametrize(
    "status",
    [
        {},
        {"node": 5, "name": "a", "lines": []},
        {"node": "aa", "name": "a", "lines": {}},
        {"node": "aa", "name": "a", "lines": [ROW] * (NEIGHBOURS_MAX + 1)},
        {"node": "aa", "name": "", "lines": []},
        {"node": "aa", "name": "a\x00", "lines": []},
        {"node": "aa", "name": "a", "lines": ["bb"]},
        {"node": "aa", "name": "a", "lines": [{"latency_ms": 1}]},
        *(
            {"node": "aa", "name": "a", "lines": [ROW | {"latency_ms": x}]}
            for x in (-1, "1", True, float("nan"), 10**400)
        ),
        {"node": "aa", "name": "a", "lines": [ROW | {"bandwidth_mbps": float("inf")}]},
    ],
)
def test_a_status_that_is_none(status: dict) -> None:
    with pytest.raises(ConfigError, match=r"^here: .*") as refused:
        read_report(status, "here")
    assert "\n" not in str(refused.value)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["peer", "latency_ms", "x"]), inner),
    max_leaves=8,
)


@given(st.dictionaries(st.sampled_from(["node", "name", "lines"]), JSON))
def test_anything_is_read_or_refused_in_one_line(status: dict) -> None:
    said = ""
    try:
        read_report(status, "here")
    except ConfigError as refused:
        said = str(refused)
    assert "\n" not in said
