"""Who says a row to whom in a round, and with which weight: the two ends of an edge must never disagree."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from p2pfl.core.ids import NodeId
from p2pfl.core.noise import root
from p2pfl.horizontal.terms.neighbourhood import Neighbourhood, told
from p2pfl.topology import load_topology

SEED = root(5)


def places(family: str, n: int) -> dict[NodeId, Neighbourhood]:
    """Everybody's place in a graph."""
    graph = load_topology(family, n)
    ids = {name: NodeId(bytes(31) + bytes([number])) for number, name in enumerate(graph.nodes)}
    beside = {name: tuple(sorted(ids[other] for other in graph.neighbours(name))) for name in graph.nodes}
    weights = graph.weights()
    return {
        ids[name]: Neighbourhood(
            ids[name],
            beside[name],
            {ids[other]: weights[name][other] for other in graph.neighbours(name)},
            2.0,
            (),
            around={ids[other]: beside[other] for other in graph.neighbours(name)},
        )
        for name in graph.nodes
    }


graphs = st.sampled_from([("ring", 6), ("star", 7), ("complete", 6), ("torus", 9), ("line", 5)])


@settings(max_examples=30)
@given(graphs, st.integers(0, 50), st.sampled_from(["metropolis", "uniform", "push"]), st.integers(0, 3))
def test_who_is_told_expects_to_be_told(graph, round_, weighting, fanout):
    turns = {me: place.turn(round_, weighting, fanout, SEED) for me, place in places(*graph).items()}
    for me, turn in turns.items():
        assert list(turn.to) == sorted(turn.to)
        assert list(turn.rows) == sorted(turn.rows)
        for other in turns:
            assert (other in turn.to) == (me in turns[other].rows)


@settings(max_examples=30)
@given(graphs, st.integers(0, 50), st.integers(0, 3))
def test_pushed_shares_and_what_is_kept_make_one(graph, round_, fanout):
    turns = {me: place.turn(round_, "push", fanout, SEED) for me, place in places(*graph).items()}
    for me, turn in turns.items():
        counted = sum(other.rows.get(me, 0.0) for other in turns.values())
        assert counted == pytest.approx(turn.given, abs=1e-12)
        assert turn.given < 1


@settings(max_examples=20)
@given(graphs, st.integers(0, 50), st.integers(1, 3))
def test_uniform_weights_leave_one_share_for_oneself(graph, round_, fanout):
    for place in places(*graph).values():
        turn = place.turn(round_, "uniform", fanout, SEED)
        assert sum(turn.rows.values()) == pytest.approx(len(turn.rows) / (1 + len(turn.rows)))


def test_everybody_has_equal_weights():
    for place in places("complete", 5).values():
        turn = place.turn(0, "everybody", 0, SEED)
        assert set(turn.rows.values()) == {1 / 5}
        assert turn.given == pytest.approx(4 / 5)


def test_draws_are_of_the_asked_number_and_change():
    names = tuple(NodeId(bytes(31) + bytes([i])) for i in range(9))
    draws = {told(names[0], names[1:], round_, 2, SEED) for round_ in range(40)}
    assert all(len(draw) == 2 for draw in draws)
    assert len(draws) > 10
    drawn = {peer for draw in draws for peer in draw}
    assert drawn == set(names[1:])
    assert told(names[0], names[1:], 3, 8, SEED) == names[1:]
    assert told(names[0], names[1:], 3, 0, SEED) == names[1:]
