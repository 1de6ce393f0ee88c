"""The designer: its proposal is at least as fast as what is published, runs on nodes, and depends on its seed alone."""

from pathlib import Path

import pytest

from p2pfl.errors import ConfigError
from p2pfl.topology import load_topology
from p2pfl.topology.files.dump import dump_topology
from p2pfl.topology.graphs.graph import Link, Topology, edge
from p2pfl.topology.overlays.cycle import Workload, cycle_time_ms
from p2pfl.topology.overlays.design import DESIGN_SILOS_MAX, Wish, design
from p2pfl.topology.overlays.overlay import rounds_to_target, soonest
from p2pfl.topology.overlays.underlay import Underlay, load_underlay, make_underlay

HOSPITALS = Path(__file__).resolve().parent.parent.parent / "topology" / "hospitals.toml"
PAPER = Workload(model_bytes=42.88e6 / 8, compute_ms=25.4)


def flat(n: int) -> Underlay:
    names = tuple(f"s{i:03}" for i in range(n))
    edges = frozenset(edge(a, names[(i + k) % n]) for i, a in enumerate(names) for k in (1, 2) if n > k)
    return make_underlay(Topology(names, edges, links=dict.fromkeys(edges, Link(5.0, 100.0))))


def test_the_best_is_as_fast_as_any_published_one_and_its_file_says_the_same(tmp_path: Path) -> None:
    underlay = load_underlay(HOSPITALS)
    work, wish = Workload(1e6, 20), Wish(effort=100)
    plan = design(underlay, work, wish)
    assert plan.best.round_ms <= min(one.round_ms for one in plan.published) * (1 + 1e-9)
    assert plan.best in plan.overlays
    path = tmp_path / "best.toml"
    path.write_text(dump_topology(plan.best.topology, "the best"))
    again = load_topology(str(path))
    assert again.digest == plan.best.topology.digest
    assert cycle_time_ms(again, underlay, work) == pytest.approx(plan.best.round_ms)
    assert rounds_to_target(again, wish.target) == plan.best.rounds
    repeated = design(underlay, work, wish)
    assert [(one.name, one.round_ms, one.rounds) for one in repeated.overlays] == [
        (one.name, one.round_ms, one.rounds) for one in plan.overlays
    ]


@pytest.mark.parametrize("degree_max", [2, 3])
def test_no_more_exchanges_in_a_round_than_allowed(degree_max: int) -> None:
    plan = design(load_underlay(HOSPITALS), Workload(1e6, 20), Wish(degree_max=degree_max, effort=30))
    assert plan.best.degree <= degree_max
    assert plan.best.topology is not None
    assert plan.best.rounds is not None


@pytest.mark.parametrize("n", [3, 4, 5])
def test_few_silos(n: int) -> None:
    plan = design(flat(n), Workload(1e5, 1), Wish(effort=10))
    assert plan.best.rounds is not None
    assert plan.best.topology is not None
    assert plan.best.topology.nodes == flat(n).names


def test_what_cannot_be_asked_for() -> None:
    for n in (2, DESIGN_SILOS_MAX + 1):
        with pytest.raises(ConfigError, match=f"expected 3 to {DESIGN_SILOS_MAX} silos, got {n}"):
            design(flat(n), PAPER, Wish())
    for degree in (1, 257):
        with pytest.raises(ConfigError, match=f"largest degree of 2 to 256, got {degree}"):
            Wish(degree_max=degree)
    for target in (0.0, 1.0, -1.0, float("nan")):
        with pytest.raises(ConfigError, match="expected a target above 0 and below 1"):
            Wish(target=target)


@pytest.mark.parametrize(
    ("name", "paper"),
    [
        ("gaia", 2.65),
        ("amazon_us", 3.41),
        ("geantdistance", 4.85),
        pytest.param("ebone", 8.83, marks=pytest.mark.slow),
    ],
)
def test_the_four_networks_of_marfoq_et_al(data_dir: Path, name: str, paper: float) -> None:
    """The ring's lead over the star is of the paper's order; the designer is faster, and agrees strictly sooner."""
    plan = design(load_underlay(data_dir / "underlays" / f"{name}.gml", core_mbps=1000), PAPER, Wish(effort=40))
    found = {one.name: one for one in plan.published}
    assert 0.5 < found["star (server)"].round_ms / found["ring, one way"].round_ms / paper < 2
    assert plan.best.round_ms <= plan.best_published.round_ms
    assert plan.best.target_ms < soonest(plan.published).target_ms
