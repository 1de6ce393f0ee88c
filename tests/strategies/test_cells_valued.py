"""Secure cells that are scored as one: what their members sum besides their models, and who gets what for it."""

from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

from p2pfl.assemble.network import assemble
from p2pfl.errors import ConfigError
from p2pfl.horizontal.cells.deeds import ROUNDS_KEPT, CellDeeds, Sum
from p2pfl.horizontal.valuing.together import Said, agreed_on
from p2pfl.learn.optim import OptState
from p2pfl.learn.training import Trained
from p2pfl.ledger.feeds.entry import parse
from p2pfl.ledger.feeds.kinds import FAIR, UNOPENED
from p2pfl.ledger.stores.reader import open_reader
from p2pfl.runs.folder import RunFolder
from p2pfl.runs.incentives import build_trial, run_trial, write_trial
from p2pfl.runs.second_opinion import recalled
from p2pfl.runs.simulate import World, simulated

PLAIN = (
    'name="cells"',  # what is drawn in a network depends on it
    *("model.args.hidden=[4]", "pace.rounds=20", 'pace.mode="lockstep"', 'compress.codec="fp32"'),
    'valuation.unit="cell"',
)


@pytest.fixture
def cells(trial_config: Any) -> Any:
    """The trial in secure cells of three, each scored as one."""
    return partial(trial_config, *PLAIN, 'mix.rule="cell"', "mix.size=3", 'mix.scope="members"', "mix.window=2")


@pytest.mark.slow
def test_members_of_a_cell_share_what_it_is_worth(tmp_path: Path, cells: Any) -> None:
    """Six nodes in two cells of three. One says of its cell's work what the others do not: it is found out."""
    names = ("honest",) * 5 + ("copycat",)
    simulation = build_trial(cells(), names, World(step_s=0.03), window=2)
    rows = run_trial(simulation, names)
    assert any(micro for row in rows for _, micro, _ in row.scores)
    for row in rows:
        found = {finding for _, _, finding in row.scores}
        assert found == ({UNOPENED} if row.strategy == "copycat" else {FAIR}), row

    write_trial(RunFolder.open(tmp_path / "run", resume=False), simulation, rows)
    store = tmp_path / "run" / "n0" / "node.db"
    cells = {place: shown.opening.to for place, (shown, _) in recalled(store, None).shown.items()}
    with open_reader(store) as reader:
        entries = [parse(row.raw) for row in reader.rows() if isinstance(row.raw, bytes)]
    told = [entry.payload for entry in entries if entry.kind == "score.reveal"]
    assert told
    for window, *_, scores in told:
        values: dict[bytes, set[Any]] = {}
        for node, micro, finding in scores:  # type: ignore[union-attr, misc]
            if finding == FAIR and (window, node) in cells:
                values.setdefault(cells[window, node], set()).add(micro)  # type: ignore[index]
        assert all(len(found) == 1 for found in values.values()), "each evaluator gives members of a cell the same"


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (('valuation.unit="node"',), "nobody sees what one node did.* score cells as one"),
        (("mix.bits=16",), "too coarse for a cell's work"),
        (('privacy.unit="node"', "privacy.noise=2.0", "valuation.split=test"), "once more what its noise was paid for"),
    ],
)
def test_what_cannot_be_scored_as_one(cells: Any, overrides: tuple[str, ...], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        build_trial(cells(*overrides), ("honest",) * 4, World())


def test_without_cells_there_is_nothing_to_score_as_one(trial_config: Any) -> None:
    with pytest.raises(ConfigError, match=r'cells are scored with mix\.rule "cell"'):
        build_trial(trial_config(*PLAIN), ("honest",) * 4, World())


def test_who_sums_work_and_who_does_not_cannot_sum_together(cells: Any) -> None:
    configs = [simulated(cells(*changes), 4) for changes in (("valuation.on=true",), ("valuation.on=false",))]
    weighs, plain = (assemble(config, device="cpu").recipe for config in configs)
    assert weighs.digest != plain.digest


# ------------------------------------------------------------------------------------------------ deeds and words

X = torch.linspace(-1, 1, 12)


def trained(deeds: CellDeeds, by: float) -> None:
    deeds.trained(X, None, Trained(X + by, OptState(1, {}), 0.1, (1.0,), 1.0, 1, None))


def test_each_weighed_round_sums_the_work_since_the_last() -> None:
    deeds = CellDeeds(X, 2)
    for number in range(3):
        trained(deeds, 1.0)
        trained(deeds, 0.5)
        assert torch.allclose(deeds.due(), torch.full((12,), 1.5)), number
    assert deeds.look() is None
    deeds.summed(Sum(b"c" * 32, 5, 3, X, X + 2, torch.full((12,), 1.5)), 100)
    done = deeds.look()
    assert done is not None
    assert (done.first, done.last, deeds.bytes_said) == (4, 5, 100)
    assert torch.allclose(done.before + done.shift + done.update, done.after)
    deeds.take()
    assert deeds.look() is None


def test_cells_of_long_ago_are_forgotten() -> None:
    deeds = CellDeeds(X, 2)
    for number in range(ROUNDS_KEPT + 3):
        deeds.drawn({number.to_bytes(32, "big"): ()})
    assert sorted(deeds.cells) == [number.to_bytes(32, "big") for number in range(3, ROUNDS_KEPT + 3)]


def test_most_members_say_what_the_cell_did() -> None:
    a, b = X, torch.flip(X, (0,)) + X**2
    said = {name: [Said(bytes(32), v) for v in values] for name, values in {"2": (a, a, b), "1": (b,)}.items()}  # type: ignore[arg-type]
    assert agreed_on(said["2"]) is a
    assert agreed_on(said["1"]) is b
    assert agreed_on([said["2"][0], said["1"][0]]) is None, "two against two: nobody knows"
    assert agreed_on([Said(bytes(32), 0 * a)]) is None  # type: ignore[arg-type]
