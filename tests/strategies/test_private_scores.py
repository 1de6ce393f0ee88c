"""With differential privacy: what is shown and scored is the noised update, and scores tell of common examples only."""

from functools import partial
from pathlib import Path
from typing import Any

import pytest

from p2pfl.assemble.network import assemble
from p2pfl.assemble.splits import load_held, shares_of, splits_of
from p2pfl.errors import ConfigError
from p2pfl.ledger.feeds.kinds import FAIR
from p2pfl.runs.folder import RunFolder
from p2pfl.runs.incentives import build_trial, run_trial, write_trial
from p2pfl.runs.second_opinion import recalled
from p2pfl.runs.simulate import World

CLIP = 0.5


@pytest.fixture
def private(trial_config: Any) -> Any:
    """The trial with noise in every node's update."""
    less = ("model.args.hidden=[4]", "pace.rounds=40", "train.steps=2")
    noise = ('privacy.unit="node"', "privacy.noise=1.0", f"privacy.clip={CLIP}", 'valuation.split="test"')
    return partial(trial_config, *less, *noise)


def test_the_noised_update_is_what_is_shown_and_scored(tmp_path: Path, private: Any) -> None:
    """A local phase moves a model by at most `clip` before its noise, and by many times that with it."""
    names = ("honest",) * 3
    simulation = build_trial(private(), names, World(step_s=0.03), window=2)
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


def test_scores_on_ones_own_examples_are_withheld(private: Any) -> None:
    config = private('valuation.split="validation"')
    with pytest.raises(ConfigError, match='would tell of them: expected "test"'):
        build_trial(config, ("honest",) * 3, World())
