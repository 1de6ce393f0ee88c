"""Equal views give equal graphs, and every live member has its place in them."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from p2pfl.core.ids import NodeId
from p2pfl.core.limits import NEIGHBOURS_MAX
from p2pfl.horizontal.terms.placing import Placing, neighbourhood_of
from p2pfl.membership.shape import Attach, Shape
from p2pfl.topology import Topology, load_topology
from p2pfl.topology.graphs.graph import edge


def key(number: int) -> NodeId:
    return NodeId(bytes([number * 37 % 256, number]) + bytes(30))


LISTED = {key(number): f"node{number}" for number in range(16)}
NAMES = list(LISTED.values())


def family(name: str, attach: Attach | None = None) -> Shape:
    return Shape(LISTED, build=lambda names: load_topology(name, names=names), attach=attach or Attach())


def declared(graph: Topology, attach: Attach | None = None) -> Shape:
    return Shape(LISTED, declared=graph, attach=attach or Attach())


SHAPES = {
    "ring": family("ring"),
    "hypercube": family("hypercube"),
    "torus": family("torus"),
    "random-regular": family("random-regular"),
    "changing": family("one-peer-exponential"),
    "declared": declared(load_topology("torus", names=NAMES)),
    "lots": declared(load_topology("star", names=NAMES), Attach("random", 3)),
    "phases": declared(load_topology("one-peer-exponential", names=NAMES)),
}
views = st.sets(st.integers(0, 23), min_size=1).map(lambda numbers: [key(number) for number in numbers])


@pytest.mark.parametrize("name", SHAPES)
def test_all_listed_alive_is_the_documents_graph(name: str) -> None:
    shape = SHAPES[name]
    plain = shape.declared if shape.build is None else shape.build(NAMES)
    assert plain is not None
    assert shape.graph(list(LISTED)[::-1]).digest == plain.digest


@pytest.mark.parametrize("name", SHAPES)
@given(view=views, seed=st.randoms(use_true_random=False))
@settings(max_examples=25, deadline=None)
def test_every_live_member_has_a_place_whatever_the_order(name: str, view: list[NodeId], seed: object) -> None:
    shape = SHAPES[name]
    graph = shape.graph(view)
    shuffled = list(view)
    seed.shuffle(shuffled)  # type: ignore[attr-defined]
    again = Shape(LISTED, shape.build, shape.declared, shape.attach).graph(shuffled)
    assert graph.digest == again.digest
    assert set(graph.nodes) == set(shape.ids(view))
    assert shape.build is None or graph.is_connected()


@pytest.mark.parametrize("name", SHAPES)
@given(view=views)
@settings(max_examples=15, deadline=None)
def test_an_edge_has_two_ends_that_agree(name: str, view: list[NodeId]) -> None:
    shape = SHAPES[name]
    places = {me: neighbourhood_of(shape, view, me) for me in view}
    for me, place in places.items():
        assert place.me == me
        assert me not in place.neighbours
        assert place.members == tuple(sorted(view))
        for other in place.neighbours:
            assert places[other].weights[me] == pytest.approx(place.weights[other])
        for round_, other in enumerate(place.partners):
            assert other is None or places[other].partners[round_] == me


def test_a_declared_graph_stays_as_declared() -> None:
    graph = load_topology("ring", names=NAMES)
    dead, new = key(3), [key(17), key(20)]
    alive = [node for node in LISTED if node != dead] + new
    found = declared(graph, Attach(k=2)).graph(alive)
    kept = {e for e in found.edges if not any(name.startswith("+") for name in e)}
    assert kept == {e for e in graph.edges if "node3" not in e}
    assert [found.degree(name) >= 2 for name in found.nodes if name.startswith("+")] == [True, True]


def test_joiners_hang_on_the_nearest_keys() -> None:
    graph = load_topology("complete", names=NAMES)
    found = declared(graph, Attach(k=2)).graph([*LISTED, key(17)])
    ring = sorted(LISTED)
    above = next((node for node in ring if node > key(17)), ring[0])
    below = next((node for node in reversed(ring) if node < key(17)), ring[-1])
    assert set(found.neighbours(f"+{key(17).hex()[:40]}")) == {LISTED[above], LISTED[below]}


def test_nobody_gets_more_neighbours_than_a_node_may_have() -> None:
    hub, leaves = key(0), [NodeId(bytes([200]) + number.to_bytes(31, "big")) for number in range(NEIGHBOURS_MAX + 5)]
    shape = Shape({hub: "hub"}, declared=Topology(("hub",), frozenset()), attach=Attach(k=1))
    graph = shape.graph([hub, *leaves])
    assert max(graph.degree(name) for name in graph.nodes) <= NEIGHBOURS_MAX


def test_founders_may_all_be_gone() -> None:
    shape = SHAPES["declared"]
    graph = shape.graph([key(17), key(18), key(19)])
    assert graph.is_connected()
    assert len(graph.nodes) == 3


def test_a_graph_in_pieces_has_places_too() -> None:
    graph = Topology(("a", "b", "c"), frozenset({edge("a", "b")}))
    ids = dict(zip(graph.nodes, (key(1), key(2), key(3)), strict=True))
    place = Placing(graph, ids).of("c")
    assert place.neighbours == ()
    assert place.diameter == 2
