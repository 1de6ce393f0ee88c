"""Charts and numbers: whatever the values, SVG that parses, within its frame."""

import re
import xml.etree.ElementTree as ET
from math import inf, nan

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from p2pfl.sweep import charts
from p2pfl.sweep.graphs import graph_picture, graph_words
from p2pfl.sweep.numbers import amount, duration, percent_short, plain
from p2pfl.topology import load_topology

VALUES = st.one_of(st.floats(-1e12, 1e12), st.sampled_from([nan, inf, 0.0, 1e-300, 1e-12]))


@settings(max_examples=60)
@given(st.lists(st.tuples(VALUES, VALUES, st.floats(0, 1e6)), max_size=12), st.booleans(), st.booleans())
def test_any_values_make_a_chart(points: list[tuple[float, float, float]], log_x: bool, log_y: bool) -> None:
    x = charts.make_scale("x", [p[0] for p in points], 52, 348, log_x, plain)
    y = charts.make_scale("y", [p[1] for p in points], 210, 10, log_y, plain)
    text = charts.line_chart('a "title" <b>', [charts.Series("s<1>", 3, tuple(points))], x, y)
    root = ET.fromstring(text)
    for dot in root.iter("circle"):
        assert 52 <= float(dot.attrib["cx"]) <= 348
        assert 10 <= float(dot.attrib["cy"]) <= 210
    assert len(x.ticks()) <= 12
    assert "nan" not in re.sub("<title>.*?</title>", "", text)


@pytest.mark.parametrize(
    ("low", "high", "log", "ticks"),
    [(0, 60, False, [0, 20, 40, 60]), (0.1, 0.9, False, [0.2, 0.4, 0.6, 0.8]), (1e3, 1e6, True, [1e3, 1e4, 1e5, 1e6])],
)
def test_ticks(low: float, high: float, log: bool, ticks: list[float]) -> None:
    assert charts.make_scale("", [low, high], 0, 1, log, plain).ticks() == pytest.approx(ticks)


def test_numbers() -> None:
    assert [amount(v) for v in (0, 999, 1234, 1e6, 123456789, 5e12)] == [
        "0 B",
        "999 B",
        "1.23 kB",
        "1 MB",
        "123 MB",
        "5000 GB",
    ]
    assert [plain(v) for v in (0.0, 1234567.0, 60.0, 0.1234, 1e-9)] == ["0", "1,234,567", "60", "0.123", "1e-09"]
    assert [duration(v) for v in (0.2, 45, 180, 7200)] == ["1 s", "45 s", "3 min", "2.0 h"]
    assert percent_short(0.975) == "97.5 %"


@pytest.mark.parametrize(("family", "n"), [("ring", 8), ("star", 9), ("small-world", 40), ("complete", 128)])
def test_graphs(family: str, n: int) -> None:
    topology = load_topology(family, n)
    root = ET.fromstring(graph_picture(family, topology))
    dots = list(root.iter("circle"))
    assert len(dots) == n
    assert all(0 <= float(dot.attrib[axis]) <= 300 for dot in dots for axis in ("cx", "cy"))
    assert f"{n} nodes" in graph_words(topology)
