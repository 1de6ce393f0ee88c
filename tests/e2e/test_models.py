"""Models with parts that do not learn like the rest, over the network; and a run that cannot go on."""

from pathlib import Path

import pytest
import torch

from p2pfl.cli import main
from p2pfl.cli.init import write_trial
from p2pfl.cli.templates import SAMPLES
from p2pfl.runs.local import free_ports

TASK = Path(__file__).with_name("task.py")


@pytest.mark.parametrize("name", ["frozen", "constant", "normed"])
@pytest.mark.parametrize(
    ("rule", "mode", "codec"), [("pairwise", "async", "deadzone"), ("average", "lockstep", "fp32")]
)
def test_a_model_of_ones_own_trains_over_the_network(kit, tmp_path, name, rule, mode, codec):
    config = kit.document(
        4,
        "ring",
        40,
        model={"name": f"{TASK}:{name}", "args": {}},
        mix={"rule": rule},
        compress={"codec": codec},
        pace={"mode": mode},
        train={"lr": 0.5},
        data={"partition": {"by": "dirichlet", "alpha": 1.0}},
    )
    served = kit.serve(config, tmp_path)
    served.check()
    print(f"accuracy {served.summary['accuracy_min']:.4f} to {served.summary['accuracy_mean']:.4f}")
    assert served.summary["accuracy_min"] > 0.75
    for node in served.nodes:
        if name == "constant":
            idle = node.work.schema.unflatten(node.job.local.x)["idle"]
            assert torch.allclose(idle, torch.full_like(idle, 0.25), rtol=1e-6)
        if name == "frozen":
            assert "1.weight" not in node.work.schema.unflatten(node.job.local.x)


def test_a_run_that_diverges_is_stopped_with_a_clear_word(tmp_path, capsys):
    """One line with the round, what is not finite and what to try; exit code 2. What it recorded still verifies."""
    trial = tmp_path / "trial"
    write_trial(
        trial,
        free_ports(1),
        "ring",
        SAMPLES["digits"],
        ("pace.rounds=200", "train.lr=1000.0", f"model.name={TASK}:steep", "model.args={}"),
    )
    node = trial / "nodes" / "n0"
    code = main(["node", "--config", str(node / "node.toml"), "--quiet"])
    shown = capsys.readouterr()
    assert code == 2
    assert shown.err.startswith("error: ")
    assert shown.err.count("\n") == 1
    assert "round 0, step" in shown.err
    assert "try a learning rate below 1000" in shown.err
    assert main(["ledger", "verify", str(node / "run")]) == 0
