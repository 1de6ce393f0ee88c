"""D-PSGD's step on whole graphs: it keeps the mean, and disagreement shrinks as fast as the spectrum says."""

import networkx as nx
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from torch import Tensor

from p2pfl.mixing import Average
from p2pfl.mixing.rows import Heard, Phase
from p2pfl.topology import Topology, from_networkx

SIZE = 8


@st.composite
def graphs(draw: st.DrawFn) -> Topology:
    count = draw(st.integers(2, 12))
    graph = nx.gnp_random_graph(count, draw(st.floats(0.2, 1.0)), seed=draw(st.integers(0, 2**31)))
    assume(nx.is_connected(graph))
    return from_networkx(nx.relabel_nodes(graph, lambda node: f"n{node:02}"))


def mixed(graph: Topology, xs: dict[str, Tensor], absent: tuple[str, ...] = ()) -> dict[str, Tensor]:
    """One round; the rows of `absent` nodes reach nobody, and they hear nothing."""
    return {name: mixed_at(name, graph, xs, absent) for name in graph.nodes}


def mixed_at(name: str, graph: Topology, xs: dict[str, Tensor], absent: tuple[str, ...]) -> Tensor:
    others = graph.neighbours(name)
    gone = [name in absent or other in absent for other in others]
    row = [0.0 if away else graph.weights()[name][other] for other, away in zip(others, gone, strict=True)]
    inbox = torch.stack([torch.full((SIZE,), 9e9) if away else xs[o] for o, away in zip(others, gone, strict=True)])
    tensor = torch.tensor(row, dtype=torch.float64)
    heard = Heard(xs[name], inbox.double(), tensor, tensor.sum(), torch.zeros(len(others), 0))
    return Average().mix({}, xs[name], heard, Phase(xs[name], torch.tensor(0.0)))[1]


def spread(xs: dict[str, Tensor]) -> float:
    whole = torch.stack(list(xs.values()))
    return float(torch.linalg.matrix_norm(whole - whole.mean(0)))


def start(graph: Topology, seed: int) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {name: torch.randn(SIZE, dtype=torch.float64, generator=generator) for name in graph.nodes}


@given(graphs(), st.integers(0, 2**32))
def test_the_mean_is_kept_and_disagreement_shrinks(graph: Topology, seed: int) -> None:
    xs = start(graph, seed)
    mean, before = torch.stack(list(xs.values())).mean(0), spread(xs)
    for _ in range(3):
        xs = mixed(graph, xs)
        torch.testing.assert_close(torch.stack(list(xs.values())).mean(0), mean, rtol=0, atol=1e-12)
        assert spread(xs) <= before * graph.contraction * (1 + 1e-9) + 1e-12
        before = spread(xs)


@given(graphs(), st.integers(0, 2**32), st.integers(0, 11))
def test_an_absent_neighbour_counts_nothing(graph: Topology, seed: int, index: int) -> None:
    """Its weight stays with those that miss it: its row's values mean nothing, and the mean is still kept."""
    gone = graph.nodes[index % len(graph.nodes)]
    xs = start(graph, seed)
    after = mixed(graph, xs, absent=(gone,))
    assert torch.equal(after[gone], xs[gone])
    old, new = (torch.stack(list(values.values())).mean(0) for values in (xs, after))
    torch.testing.assert_close(new, old, rtol=0, atol=1e-12)


def test_two_nodes_meet_in_the_middle() -> None:
    graph = from_networkx(nx.relabel_nodes(nx.path_graph(2), {0: "a", 1: "b"}))
    xs = {"a": torch.zeros(SIZE, dtype=torch.float64), "b": torch.ones(SIZE, dtype=torch.float64)}
    assert graph.contraction == pytest.approx(0.0, abs=1e-12)
    for x in mixed(graph, xs).values():
        torch.testing.assert_close(x, torch.full((SIZE,), 0.5, dtype=torch.float64))


def test_who_agrees_is_not_moved_however_coarse_the_codec() -> None:
    x = torch.linspace(-1, 1, SIZE)
    coarse = (x * 2).round() / 2
    heard = Heard(
        coarse, coarse.repeat(3, 1), torch.full((3,), 0.25, dtype=torch.float64), torch.tensor(0.75), torch.zeros(3, 0)
    )
    assert torch.equal(Average().mix({}, x, heard, Phase(x, torch.tensor(0.0)))[1], x)
