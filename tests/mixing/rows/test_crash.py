"""Neighbourhood rules when a node dies in the middle of a run and comes back from its disk.

Rows are not journalled: a node goes on from the snapshot of its last window and takes up the round that its neighbours
are in. What it and they have missed by then is missed. So nothing here promises the result of a run without a crash
(docs/mixers.md says what it costs); what is promised is that everybody ends, with finite numbers, close to one another.
"""

from pathlib import Path

import pytest
import torch

from p2pfl.config import load_network
from p2pfl.core.noise import derive, root
from p2pfl.hosts.faults import Crash, Faults
from p2pfl.mixing import MIXERS
from p2pfl.runs.simulate import Simulation, World, build_simulation, run_simulation, simulated
from p2pfl.wire.keyfile import Signer

RULES = [rule for rule in MIXERS if rule != "pairwise"]
QUICK = ("average", "choco", "push_sum")
# rules that every run of the tests takes
ROUNDS = 24
LEFT_OUT = {"choco": 0.25}
"""How much of the accuracy a crash may cost; choco keeps copies that nobody can mend, so it may lose more."""


def run(folder: Path, rule: str, crashes: tuple[Crash, ...]) -> tuple[Simulation, float]:
    """The run, and the mean accuracy at its end."""
    (folder / "network.toml").write_text("format = 1\n[model]\nname = 'linear'\n")
    codec = {"choco": "deadzone", "cell": "fp32"}.get(rule, "fp16")
    changes = (
        *(f"mix.rule={rule}", f"compress.codec={codec}", "topology.family=complete", "train.lr=0.5"),
        *("pace.mode=lockstep", f"pace.rounds={ROUNDS}", "pace.window=4", "pace.evaluate=0", "pace.timeout_s=0.5"),
    )
    config = simulated(load_network(folder / "network.toml", changes), 5)
    simulation = build_simulation(config, World(faults=Faults(crashes=crashes)))
    trace = run_simulation(simulation)
    assert trace.outcome == "stopped"
    assert trace.counts.get("crashed", 0) == len(crashes)
    accuracies = [outcome.accuracy or 0.0 for outcome in simulation.outcomes.values()]
    return simulation, sum(accuracies) / len(accuracies)


@pytest.mark.parametrize(
    "rule", [rule if rule in QUICK else pytest.param(rule, marks=pytest.mark.slow) for rule in RULES]
)
def test_all_end_soundly_when_one_was_killed_and_restarted(tmp_path: Path, rule: str) -> None:
    victim = Signer(derive(root(1), "key", "n2")).node
    _, undisturbed = run(tmp_path, rule, ())
    simulation, accuracy = run(tmp_path, rule, (Crash(victim, at=0.7, restart_after=0.3),))
    assert {outcome.round for outcome in simulation.outcomes.values()} == {ROUNDS}
    assert not any(outcome.failure for outcome in simulation.outcomes.values())
    models = torch.stack([node.job.local.x for node in simulation.nodes.values()])
    assert bool(torch.isfinite(models).all())
    assert accuracy > undisturbed - LEFT_OUT.get(rule, 0.05)
