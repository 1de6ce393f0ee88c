"""Measured rounds never exceed the bound from the spectrum, and both are what is known of simple graphs."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from p2pfl.topology import FAMILIES, Topology, load_underlay, study
from p2pfl.topology.figures.consensus import count_exchanges, measure, predict
from p2pfl.topology.overlays.cycle import Workload

GRAPHS = ["ring", "line", "torus", "complete", "random-regular", "base", "matcha", "clusters", "random-matchings"]


@settings(max_examples=20, deadline=None)
@given(st.sampled_from(GRAPHS), st.sampled_from(["average", "pairs"]), st.sampled_from([9, 12, 16]))
def test_the_prediction_is_a_bound(family: str, way: str, n: int) -> None:
    topology = FAMILIES[family](n)
    curve = measure(topology, way)
    predicted = predict(topology, way)
    assert predicted is not None
    assert len(curve) - 1 <= predicted
    assert curve[-1] <= 1e-3 < curve[-2]
    assert all(b <= a + 1e-12 for a, b in pairwise(curve))


def test_exact_ones() -> None:
    assert measure(FAMILIES["complete"](8), "average")[1:] == pytest.approx([0.0], abs=1e-12)
    assert len(measure(FAMILIES["one-peer-exponential"](16), "pairs")) == 5
    assert len(measure(FAMILIES["base"](7), "average")) - 1 == predict(FAMILIES["base"](7), "average")


def test_a_graph_in_pieces_never_agrees() -> None:
    apart = Topology(tuple("abcd"), frozenset({("a", "b"), ("c", "d")}))
    assert predict(apart, "average") is None
    curve = measure(apart, "pairs", rounds_max=20)
    assert len(curve) == 21
    assert curve[-1] > 0.1


@settings(max_examples=20, deadline=None)
@given(st.sampled_from(GRAPHS), st.sampled_from(["average", "pairs"]), st.integers(0, 200))
def test_exchanges_are_counted_round_by_round(family: str, way: str, rounds: int) -> None:
    topology = FAMILIES[family](12)
    if way == "average":
        expected = sum(len(topology.at(t).edges) for t in range(rounds))
    else:
        steps = topology.schedule()
        expected = sum(len(steps[t % len(steps)]) for t in range(rounds))
    assert count_exchanges(topology, way, rounds) == expected


def test_a_pair_meets_in_the_middle() -> None:
    pair = Topology(("a", "b"), frozenset({("a", "b")}))
    assert np.allclose(measure(pair, "pairs"), [1, 0])


def test_a_study_in_seconds() -> None:
    underlay = load_underlay(Path(__file__).resolve().parent.parent.parent / "topology" / "hospitals.toml")
    one = study(FAMILIES["ring"](12), "ring", underlay, Workload(1e6, 20.0))
    assert one.average.round_ms > one.pairs.round_ms > 20  # two links are shared by two exchanges, one is not
    assert one.average.consensus_s == pytest.approx(one.average.round_ms * one.average.measured / 1e3)
    assert study(FAMILIES["ring"](12)).average.consensus_s is None
