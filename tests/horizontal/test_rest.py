"""Nodes that pause: they train no more, mix on, and come back; nobody waits for them, and nothing of theirs is lost."""

from functools import partial
from pathlib import Path
from typing import Any

import pytest

from p2pfl.config import load_network
from p2pfl.core.party import Emit, TimerFired
from p2pfl.errors import ConfigError
from p2pfl.peer.order import Order
from p2pfl.runs.outcome import Outcome
from p2pfl.runs.simulate import Simulation, World, build_simulation, run_simulation, simulated

STEP_S = 0.01
DOCUMENT = "format = 1\n[model]\nname = 'linear'\n[topology]\nfamily = 'ring'\n[data]\npartition = { by = 'iid' }\n"
ASYNC, ROUNDS = ("mix.rule=pairwise",), ("mix.rule=average", "compress.codec=int8")


class Played:
    """A network of four, what its nodes said, and orders to them at given seconds."""

    def __init__(self, folder: Path, *changes: str, speeds: tuple[float, ...] = (1.0,)) -> None:
        (folder / "network.toml").write_text(DOCUMENT)
        config = simulated(load_network(folder / "network.toml", ("pace.evaluate=0", *changes)), 4)
        self.said: list[tuple[str, Emit]] = []
        world = World(step_s=STEP_S, speeds=speeds)
        self.simulation: Simulation = build_simulation(config, world, on_emit=self._hear)

    def _hear(self, outcome: Outcome, emit: Emit) -> None:
        self.said.append((outcome.name, emit))

    def order(self, name: str, at: float, order: Order) -> None:
        host: Any = self.simulation.host
        machine = host._machines[self.simulation.shared.ids[name]]
        host._agenda.at(at, lambda: machine.life.deliver(TimerFired(order)))

    def run(self) -> "Played":
        assert run_simulation(self.simulation, until=10_000.0).outcome == "stopped"
        return self

    def steps(self) -> dict[str, int]:
        return {name: node.job.local.steps for name, node in self.simulation.nodes.items()}

    def names(self, node: str) -> list[str]:
        return [emit.name for who, emit in self.said if who == node]

    def accuracies(self) -> list[float]:
        return [float(outcome.accuracy or 0.0) for outcome in self.simulation.outcomes.values()]


@pytest.fixture
def play(tmp_path: Path) -> Any:
    return partial(Played, tmp_path)


@pytest.mark.parametrize("rule", [ASYNC, ROUNDS], ids=["async", "rounds"])
def test_a_paused_node_does_not_train_and_ends_with_the_others_model(play: Any, rule: tuple[str, ...]) -> None:
    played = play(*rule, "pace.rounds=30")
    played.order("n1", 0.2, Order("o", "pause"))
    played.run()
    steps = played.steps()
    assert steps["n1"] < 0.3 * steps["n0"]
    assert min(played.accuracies()) > max(played.accuracies()) - 0.03
    assert "ordered" in played.names("n1")
    assert played.names("n1").count("resting") == 1


@pytest.mark.parametrize("rule", [ASYNC, ROUNDS], ids=["async", "rounds"])
def test_it_goes_on_when_told_or_when_its_time_is_over(play: Any, rule: tuple[str, ...]) -> None:
    played = play(*rule, "pace.rounds=30")
    played.order("n1", 0.2, Order("o", "pause"))
    played.order("n1", 0.7, Order("p", "resume"))
    played.order("n2", 0.2, Order("q", "pause", number=1))
    played.run()
    for node in ("n1", "n2"):
        assert [name for name in played.names(node) if name in ("resting", "awake")] == ["resting", "awake"]
    steps = played.steps()
    assert 0 < steps["n2"] < steps["n1"] < steps["n0"]


@pytest.mark.parametrize("rule", [ASYNC, ROUNDS], ids=["async", "rounds"])
def test_where_all_pause_no_round_passes(play: Any, rule: tuple[str, ...]) -> None:
    played = play(*rule, "pace.rounds=30")
    for number in range(4):
        played.order(f"n{number}", 0.2, Order("o", "pause", number=50))
    played.run()
    assert played.simulation.host.now > 50
    assert min(played.steps().values()) > 100


def test_a_timetable_puts_training_off(play: Any) -> None:
    played = play(*ASYNC, "pace.rounds=20", "train.pauses=['thu 00:00-01:00']").run()  # 1970 began on a Thursday
    assert played.simulation.host.now > 3600
    assert all(names.count("awake") == 1 for names in (played.names(f"n{number}") for number in range(4)))


def test_in_lockstep_there_is_no_pause(play: Any) -> None:
    played = play("pace.mode=lockstep", "pace.rounds=5")
    played.order("n1", 0.05, Order("o", "pause"))
    played.run()
    assert "pause.refused" in played.names("n1")
    assert len(set(played.steps().values())) == 1
    with pytest.raises(ConfigError, match=r"train.pauses: in lockstep everybody waits for everybody"):
        play("pace.mode=lockstep", "train.pauses=['00:00-01:00']")


def test_a_zone_nobody_knows(play: Any) -> None:
    with pytest.raises(ConfigError, match=r"train.zone: expected a time zone like Europe/Berlin, got 'Atlantis/North'"):
        play("train.pauses=['00:00-01:00']", "train.zone=Atlantis/North")


PARTITION = '''
import numpy as np

def one_alone(data, num_nodes, rng):
    """Node 2 alone has the last class, and nothing else."""
    last = data.num_classes - 1
    others = np.array_split(np.flatnonzero(data.y != last), num_nodes - 1)
    return [*others[:2], np.flatnonzero(data.y == last), *others[2:]]
'''


@pytest.mark.parametrize("rule", [ASYNC, (*ROUNDS, "train.seconds=0.02")], ids=["async", "rounds of a time budget"])
def test_late_work_is_used_not_lost(play: Any, tmp_path: Path, rule: tuple[str, ...]) -> None:
    """What only a machine eight times slower knows, all others know at the end."""
    (tmp_path / "cut.py").write_text(PARTITION)
    changes = (*rule, "pace.rounds=50", f"data.partition={{ by = '{tmp_path / 'cut.py'}:one_alone' }}")
    simulation = play(*changes, speeds=(8.0, 8.0, 1.0, 8.0)).run().simulation
    test, model = simulation.held.test, simulation.shared.model
    assert simulation.nodes["n2"].job.local.samples < 0.3 * simulation.nodes["n0"].job.local.samples
    of_last = test.y == 9
    for node in simulation.nodes.values():
        model.load(node.job.local.x)
        right = model.module(test.x).argmax(1) == test.y
        assert float(right[of_last].float().mean()) > 0.7
        assert float(right[~of_last].float().mean()) > 0.7
