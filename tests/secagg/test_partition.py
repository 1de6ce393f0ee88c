"""Cells are disjoint, of sound sizes, inside a closed neighbourhood, and the same for everybody who knows the seed."""

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from p2pfl.core.ids import NodeId
from p2pfl.core.noise import root
from p2pfl.secagg.cell import CELL_MAX, CELL_MIN
from p2pfl.secagg.partition import SCOPES, Ground, Scope, cells_of, cut

NODES = [NodeId(bytes([n]) * 32) for n in range(40)]


def graph(count: int, pairs: set[tuple[int, int]]) -> dict[NodeId, tuple[NodeId, ...]]:
    around: dict[NodeId, set[NodeId]] = {node: set() for node in NODES[:count]}
    for a, b in pairs:
        if a != b and a < count and b < count:
            around[NODES[a]].add(NODES[b])
            around[NODES[b]].add(NODES[a])
    return {node: tuple(sorted(near)) for node, near in around.items()}


@settings(max_examples=60)
@given(
    st.integers(1, 40),
    st.sets(st.tuples(st.integers(0, 39), st.integers(0, 39)), max_size=120),
    st.integers(CELL_MIN, CELL_MAX),
    st.sampled_from(SCOPES),
    st.integers(0, 5),
)
def test_cells_are_sound(count: int, pairs: set[tuple[int, int]], size: int, scope: Scope, round_: int) -> None:
    around = graph(count, pairs)
    ground = Ground(around, size, scope)
    found = cells_of(ground, root(1), round_)
    assert found == cells_of(Ground(dict(around), size, scope), root(1), round_)
    for node, cell in found.items():
        assert node in cell
        assert list(cell) == sorted(set(cell))
        assert CELL_MIN <= len(cell) <= max(size, 2 * CELL_MIN - 1)
        assert all(found[other] == cell for other in cell)  # disjoint
        assert set(cell) - {node} <= ground.contacts(node)
        if scope == "neighbourhood":
            assert any(set(cell) <= {centre, *around[centre]} for centre in cell)
    if scope == "members":
        assert len(found) == (count if count >= CELL_MIN else 0)


@settings(max_examples=60)
@given(st.integers(0, 60), st.integers(CELL_MIN, CELL_MAX))
def test_a_cut_is_even_and_leaves_nobody_out(count: int, size: int) -> None:
    parts = cut([NodeId(bytes([n]) * 32) for n in range(count)], size)
    assert sum(map(len, parts)) == (count if count >= CELL_MIN else 0)
    if parts:
        assert max(map(len, parts)) - min(map(len, parts)) <= 1
        assert min(map(len, parts)) >= CELL_MIN


def test_everybody_meets_everybody_in_time() -> None:
    ground = Ground(graph(12, {(a, b) for a in range(12) for b in range(12)}), 4, "members")
    met: Counter[tuple[NodeId, NodeId]] = Counter()
    for round_ in range(200):
        for node, cell in cells_of(ground, root(2), round_).items():
            met.update((node, other) for other in cell if other != node)
    assert len(met) == 12 * 11
    expected = 200 * 3 / 11
    assert all(abs(count - expected) < 6 * expected**0.5 for count in met.values())


@pytest.mark.parametrize("family", ["ring", "star"])
def test_few_are_left_alone(family: str) -> None:
    pairs = {(n, (n + 1) % 30) for n in range(30)} if family == "ring" else {(0, n) for n in range(1, 30)}
    ground = Ground(graph(30, pairs), 8)
    together = [len(cells_of(ground, root(3), round_)) for round_ in range(50)]
    assert sum(together) / len(together) > (15 if family == "ring" else 3)
