"""Batches that follow a machine's speed: by a time that is given, and by how far all are on average."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2pfl.config import load_network
from p2pfl.errors import ConfigError
from p2pfl.horizontal.pace.sizes import KEPT, REMEMBERED, Sizes, sizes_of
from p2pfl.horizontal.pace.stride import Stride
from p2pfl.horizontal.pace.tempo import LOOK, Tempo
from p2pfl.runs.simulate import Simulation, World, build_simulation, run_simulation, simulated

NETWORK = """
format = 1
[model]
args = { hidden = [8] }
[pace]
mode = "async"
rounds = 24
evaluate = 0
[topology]
family = "complete"
[data]
source = "digits"
"""

speeds = st.floats(0.02, 50.0)


def settle(sizes: Sizes, seconds: float, step_s: float, fixed: float = 0.0, phases: int = 40) -> Stride:
    """A machine that needs `step_s` for a step of a usual batch; `fixed` of it for any batch."""
    stride = Stride(seconds, 5, sizes)
    for _ in range(phases):
        share = fixed + (1 - fixed) * sizes.batch / sizes.usual
        stride.took(stride.steps * step_s * share, stride.steps)
    return stride


@given(speeds)
def test_the_steps_of_a_phase_stay_near_the_usual_where_the_batch_can_follow(speed: float) -> None:
    sizes = Sizes(32, 4, 128)
    stride = settle(sizes, 5.0, 1 / speed)
    ideal = min(max(32 * speed, 4), 128)
    assert ideal / 2**0.61 - 1 <= sizes.batch <= ideal * 2**0.61 + 1
    phase_s = stride.steps * sizes.batch / 32 / speed
    assert phase_s == pytest.approx(5.0, abs=0.51 * sizes.batch / 32 / speed)
    if 0.125 < speed < 4:
        assert 3 <= stride.steps <= 8


@given(st.integers(1, 1000), st.integers(1, 1000), st.integers(0, 1000), st.integers(1, 1000))
def test_a_batch_keeps_within_its_bounds(usual: int, examples: int, more: int, other: int) -> None:
    low = min(other, usual)
    sizes = sizes_of(usual, low, usual + more, examples)
    seen = {sizes.batch}
    for step_s in [1e3] * 8 + [1e-3] * 8:
        sizes.took(step_s)
        sizes.fit(1 / step_s)
        seen.add(sizes.batch)
    assert min(seen) >= min(low, examples)
    assert max(seen) <= min(usual + more, examples)


def test_no_batch_is_taken_whose_step_is_mostly_its_fixed_part() -> None:
    """0.2 + 0.8 b / 32 of a step: at 8 examples both parts are the same, at 4 the fixed one is larger."""
    sizes = Sizes(32, 1, 32)
    stride = settle(sizes, 5.0, 20.0, fixed=0.2)
    assert (sizes.batch, stride.steps) == (8, 1)


def test_where_a_smaller_batch_is_no_faster_the_usual_one_comes_back() -> None:
    sizes = Sizes(32, 4, 32)
    stride = settle(sizes, 4.0, 2.0, fixed=1.0)
    assert (sizes.batch, stride.steps) == (32, 2)


def test_what_was_measured_long_ago_is_forgotten() -> None:
    sizes = Sizes(32, 4, 32)
    settle(sizes, 4.0, 2.0, fixed=1.0)
    tried = set()
    for _ in range(REMEMBERED + KEPT):
        sizes.took(2.0 * sizes.batch / 32)  # other work of the machine is over
        sizes.fit(0.4)
        tried.add(sizes.batch)
    assert min(tried) < 32


def test_a_clock_that_wavers_changes_nothing() -> None:
    sizes = Sizes(32, 4, 128)
    settle(sizes, 5.0, 1.0)
    for step_s in (0.7, 1.4, 0.8, 1.3, 0.7, 1.4) * 3:
        sizes.took(step_s)
        sizes.fit(1.0 / sizes.step_s)
        assert sizes.batch == 32


def test_at_ones_own_pace_who_does_fewer_phases_than_all_do_on_average_takes_smaller_batches() -> None:
    sizes = Sizes(32, 4, 32)
    tempo, mean = Tempo(sizes), 0.0
    for _ in range(20):
        mean += 4 * sizes.batch / 32  # phases of the others while this machine does one
        tempo.took(float(sizes.batch), 5, 1.0, mean)
    assert sizes.batch == 8


def test_who_keeps_up_keeps_the_usual_batch_and_who_leads_gets_it_back() -> None:
    sizes = Sizes(32, 4, 32)
    tempo, mean = Tempo(sizes), 0.0
    for rate, batch in ((1.6, 32), (0.6, 32), (8.0, 8), (1.0, 8), (0.2, 32)):
        for _ in range(int(LOOK)):
            mean += rate
            tempo.took(float(sizes.batch), 5, 1.0, mean)
        assert sizes.batch == batch


def test_what_passed_while_a_node_did_not_train_says_nothing_of_its_speed() -> None:
    sizes = Sizes(32, 4, 32)
    tempo = Tempo(sizes)
    tempo.took(1.0, 5, 1.0, 1.0)
    tempo.mark(60.0)
    for mean in (61.0, 62.0):
        tempo.took(1.0, 5, 1.0, mean)
    assert sizes.batch == 32


def run(folder: Path, machines: tuple[float, ...], *changes: str) -> Simulation:
    (folder / "network.toml").write_text(NETWORK)
    config = simulated(load_network(folder / "network.toml", changes), 4)
    simulation = build_simulation(config, World(step_s=0.01, wire_s=0.0001, speeds=machines))
    assert run_simulation(simulation).outcome == "stopped"
    return simulation


def batches(simulation: Simulation) -> list[int | None]:
    return [None if (sizes := node.job.sizes) is None else sizes.batch for node in simulation.nodes.values()]


def test_in_a_network_of_unequal_machines_the_slow_ones_take_smaller_batches(tmp_path: Path) -> None:
    simulation = run(tmp_path, (1.0, 8.0, 8.0, 8.0))
    assert batches(simulation)[0] in (4, 8)
    assert batches(simulation)[1:] == [32, 32, 32]
    steps = [node.job.local.steps for node in simulation.nodes.values()]
    assert steps[0] > 0.25 * steps[1]


@pytest.mark.parametrize("machines", [(1.0,), (1.0, 1.2, 1.3, 1.4)])
def test_machines_that_are_about_alike_all_take_the_usual_batch(tmp_path: Path, machines: tuple[float, ...]) -> None:
    simulation = run(tmp_path, machines)
    assert batches(simulation) == [32] * 4
    for node in simulation.nodes.values():
        assert node.job.local.samples == 32 * node.job.local.steps


@pytest.mark.parametrize(
    "changes",
    [
        ("train.batch_min=32",),
        ("train.epochs=0.5",),
        ("mix.rule='average'", "pace.mode='semi_sync'"),
        ("privacy={unit='example', noise=1.0, clip=1.0}",),
    ],
    ids=["as the document says", "passes over the data", "rounds without a time budget", "privacy"],
)
def test_where_batches_must_not_follow_the_speed(tmp_path: Path, changes: tuple[str, ...]) -> None:
    simulation = run(tmp_path, (1.0, 8.0), "pace.rounds=6", *changes)
    assert set(batches(simulation)) <= {None, 32}


def test_with_a_time_budget_all_take_as_many_steps_on_as_many_examples_as_they_have_time_for(tmp_path: Path) -> None:
    simulation = run(tmp_path, (1.0, 2.0, 4.0, 8.0), "pace.rounds=40", "train.seconds=0.0134")
    assert batches(simulation) == [8, 16, 32, 64]
    for node in simulation.nodes.values():
        assert node.job.stride is not None
        assert node.job.stride.steps == 5


def test_batch_max_bounds_them(tmp_path: Path) -> None:
    simulation = run(tmp_path, (1.0, 8.0), "pace.rounds=20", "train.seconds=0.02", "train.batch_max=32")
    assert batches(simulation) == [16, 32] * 2 or batches(simulation) == [8, 32] * 2


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (("train.batch_min=33",), "batch_min: expected at most batch_size = 32, got 33"),
        (("train.batch_max=31",), "batch_max: expected at least batch_size = 32, got 31"),
    ],
)
def test_bounds_that_leave_the_usual_batch_out(tmp_path: Path, changes: tuple[str, ...], said: str) -> None:
    (tmp_path / "network.toml").write_text(NETWORK)
    with pytest.raises(ConfigError, match=said):
        load_network(tmp_path / "network.toml", changes)
