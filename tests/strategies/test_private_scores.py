"""With differential privacy: what is shown and scored is the noised update, and scores tell of common examples only."""

from pathlib import Path

import pytest

from p2pfl.assemble.network import assemble
from p2pfl.assemble.splits import load_held, shares_of, splits_of
from p2pfl.config import load_network
from p2pfl.errors import ConfigError
from p2pfl.ledger.feeds.kinds import FAIR
from p2pfl.runs.folder import RunFolder
from p2pfl.runs.incentives import build_trial, run_trial, write_trial
from p2pfl.runs.second_opinion import recalled
from p2pfl.runs.simulate import World

CLIP = 0.5
DOCUMENT = f"""
format = 1
name = "private"
[model]
name = "mlp"
input_shape = [1, 8, 8]
num_classes = 10
args = {{ hidden = [4] }}
[topology]
family = "complete"
[pace]
rounds = 40
[train]
steps = 2
lr = 0.1
[data]
source = "digits"
[privacy]
unit = "node"
noise = 1.0
clip = {CLIP}
[ledger]
interval_s = 0.1
[valuation]
share = 10.0
split = "test"
"""


def test_the_noised_update_is_what_is_shown_and_scored(tmp_path: Path) -> None:
    """A local phase moves a model by at most `clip` before its noise, and by many times that with it."""
    (tmp_path / "network.toml").write_text(DOCUMENT)
    names = ("honest",) * 3
    simulation = build_trial(load_network(tmp_path / "network.toml"), names, World(step_s=0.03), window=2)
    rows = run_trial(simulation, names)
    assert all({finding for _, _, finding in row.scores} == {FAIR} for row in rows)
    write_trial(RunFolder.open(tmp_path / "run", resume=False), simulation, rows)
    config = simulation.shared.config
    shared, held = assemble(config, device="cpu"), load_held(config.data, config.seed)
    shares = shares_of(held, config.data, 3, config.seed)
    work = shared.work(splits_of(held, shares[0], config.data, config.seed, 0), config.train)
    kept = recalled(tmp_path / "run" / "n0" / "node.db", work)
    own = [made for made in kept.works.values() if made.opening.last > made.opening.first]
    assert own
    for made in own:
        phases = made.opening.last - made.opening.first
        assert float(made.q.norm()) > 3 * CLIP * phases


def test_scores_on_ones_own_examples_are_withheld(tmp_path: Path) -> None:
    (tmp_path / "network.toml").write_text(DOCUMENT)
    config = load_network(tmp_path / "network.toml", ('valuation.split="validation"',))
    with pytest.raises(ConfigError, match='would tell of them: expected "test"'):
        build_trial(config, ("honest",) * 3, World())
