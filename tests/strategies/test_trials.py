"""Networks of honest nodes and others, in the simulator, with the code that real nodes run."""

from typing import Any

import pytest

from p2pfl.errors import ConfigError
from p2pfl.ledger.feeds.kinds import FAIR, UNFELT, UNREVEALED
from p2pfl.runs.incentives import Earned, build_trial, run_trial
from p2pfl.runs.simulate import World
from p2pfl.strategies import STRATEGIES, make_strategy, parse_strategies


@pytest.fixture
def trial(trial_config: Any) -> Any:
    def run(names: str, *overrides: str) -> dict[str, Earned]:
        nodes = parse_strategies(names)
        rows = run_trial(build_trial(trial_config(*overrides), nodes, World(step_s=0.03)), nodes)
        return {f"{row.strategy}{number}": row for number, row in enumerate(rows)}

    return run


def test_who_works_earns_and_who_does_not_does_not(trial: Any) -> None:
    rows = trial("honest*3,freerider,noreveal", 'valuation.split="test"')  # shards of 28 examples tell little
    honest = [row for row in rows.values() if row.strategy == "honest"]
    assert min(row.credits for row in honest) >= max(rows["freerider3"].credits, rows["noreveal4"].credits)
    assert sum(row.credits for row in honest) > 3 * rows["freerider3"].credits
    found = [finding for _, _, finding in rows["noreveal4"].scores]
    assert found
    assert set(found) == {UNREVEALED}
    assert all(micro <= 0 for _, micro, _ in rows["freerider3"].scores)
    assert {finding for row in honest for _, _, finding in row.scores} <= {FAIR}
    assert all(row.valuation["valuation_models"] > 0 for row in honest)


def test_a_grinding_leader_proposes_blocks_that_others_take(trial: Any) -> None:
    rows = trial("honest*3,grindingleader", 'valuation.split="test"')
    assert all(row.credits > 0 for row in rows.values())
    assert {finding for row in rows.values() for _, _, finding in row.scores} == {FAIR}


def test_nobody_commits_to_what_its_share_of_bytes_cannot_pay_for(trial: Any) -> None:
    rows = trial("honest*4", "valuation.share=0.001")
    assert all(row.valuation["valuation_bytes"] == 0 for row in rows.values())


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (('mix.rule="cell"', 'compress.codec="fp32"', 'pace.mode="lockstep"'), "nobody sees what one node did"),
        (('mix.rule="average"', 'pace.mode="lockstep"'), 'expected mix.rule "pairwise"'),
        (('privacy.unit="node"', "privacy.noise=2.0"), 'would tell of them: expected "test"'),
        (("data.validation_fraction=0.0",), "has no validation examples"),
    ],
)
def test_what_cannot_be_valued_is_refused_with_the_reason(trial: Any, overrides: tuple[str, ...], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        trial("honest*4", *overrides)


@pytest.mark.slow
def test_with_privacy_the_noised_update_is_what_is_scored(trial: Any) -> None:
    """On the common test set, which is nobody's own: scores then tell nothing of an evaluator's examples."""
    rows = trial("honest*3", 'privacy.unit="node"', "privacy.noise=0.05", 'valuation.split="test"', "privacy.delta=0.1")
    assert all(row.valuation["valuation_models"] > 0 for row in rows.values())


def test_who_is_only_moved_by_its_neighbours_is_found_out_from_the_first_window_on(trial: Any) -> None:
    """And nobody else is."""
    rows = trial("honest*4,copycat,poisonwire", 'valuation.split="test"')
    found = {name: [(window, finding) for window, _, finding in row.scores] for name, row in rows.items()}
    for cheat in ("copycat4", "poisonwire5"):
        first = [finding for window, finding in found[cheat] if window <= 2]
        assert UNFELT in first, found
    assert {finding for name, of in found.items() if name.startswith("honest") for _, finding in of} == {FAIR}


def test_names() -> None:
    assert parse_strategies("honest*2, copycat") == ("honest", "honest", "copycat")
    assert all(make_strategy(name).name == name for name in STRATEGIES)
    for bad in ("honest*0", "honest*x", "honest*1025", "angel", ""):
        with pytest.raises(ConfigError, match="expected"):
            parse_strategies(bad)
