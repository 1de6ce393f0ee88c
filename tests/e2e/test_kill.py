"""kill -9 for real: nodes in processes of their own, killed at random moments and started again from their folders."""

import random
import signal
from dataclasses import replace
from pathlib import Path

import pytest

from p2pfl.cli.init import write_trial
from p2pfl.cli.templates import SAMPLES
from p2pfl.config import load_network
from p2pfl.ledger.check.verify import verify_store
from p2pfl.runs.local import Process, end_processes, free_ports
from p2pfl.runs.network import references_agree, summarise
from p2pfl.runs.outcome import Outcome
from p2pfl.runs.simulate import World, build_simulation, run_simulation, simulated

NODES, ROUNDS = 4, 500
TASK = Path(__file__).with_name("task.py")


def round_of(process):
    process.follow()
    return process.outcome.round


def kill_and_restart(until, victim, processes, at_round):
    """Returns the round it was killed in and the round it went on from."""
    until(lambda: round_of(victim) >= at_round, processes, what=f"round {at_round}")
    victim.handle.send_signal(signal.SIGKILL)
    victim.handle.wait()
    victim.follow()
    killed_at, told = victim.outcome.round, victim.out / "metrics.jsonl"
    seen = told.read_text().count('"resumed"')
    victim.arguments = ("--resume",)
    victim.start()
    until(lambda: told.read_text().count('"resumed"') > seen, processes)
    resumed = [line for line in told.read_text().splitlines() if '"resumed"' in line][-1]
    return killed_at, int(resumed.split('"round": ')[1].split("}")[0].split(",")[0])


def undisturbed(config):
    model = replace(config.model, args={"step_s": 0.0})
    config = replace(config, model=model)
    simulation = build_simulation(simulated(config), World())
    assert run_simulation(simulation).outcome == "stopped"
    return sum(outcome.accuracy for outcome in simulation.outcomes.values()) / NODES


@pytest.mark.parametrize(
    ("kills", "seed", "cost"),
    [pytest.param(3, 1, 0.01, marks=pytest.mark.slow), pytest.param(10, 2, 0.03, marks=pytest.mark.soak)],
)
def test_killed_and_restarted(tmp_path, until, kills, seed, cost):
    """With ten kills somebody is away nearly all the time, and that may cost a little more."""
    rng = random.Random(seed)
    changes = (
        f"pace.rounds={ROUNDS}",
        "pace.timeout_s=5.0",
        "data.partition.alpha=0.1",
        f'model.name="{TASK}:slow"',
        "model.args.step_s=0.01",
    )
    paths = write_trial(tmp_path / "trial", free_ports(NODES), "ring", SAMPLES["digits"], changes)
    config = load_network(tmp_path / "trial" / "network.toml")
    processes = [Process(path, path.parent / "run", Outcome(path.parent.name, 0)) for path in paths]
    gap = (ROUNDS - 60) // kills
    moments = [10 + gap * index + rng.randrange(gap // 2) for index in range(kills)]
    try:
        for process in processes:
            process.start()
        for moment in moments:
            victim = rng.choice(processes)
            at, resumed = kill_and_restart(until, victim, processes, moment)
            print(f"seed {seed}: {victim.outcome.name} killed in round {at}, went on from {resumed}")
            assert max(at - ROUNDS // 10, 1) <= resumed <= at + 20
        until(lambda: all(p.handle.poll() is not None for p in processes), processes)
    finally:
        end_processes(processes)
    rows = [process.summary() for process in processes]
    ids = {entry.name: entry.key.hex() for entry in config.nodes}
    verified = all(verify_store(process.store).ok for process in processes)
    summary = summarise(rows, None, references_agree(rows, ids), verified, ids)
    calm = undisturbed(config)
    print(f"seed {seed}: accuracy {summary['accuracy_mean']:.4f} with {kills} kills, {calm:.4f} without")
    assert not summary["failures"]
    assert all(row["round"] == ROUNDS for row in rows)
    assert summary["feeds_verified"]
    assert summary["references_agree"]
    assert summary["accuracy_mean"] >= calm - cost
