"""A second opinion on what a trial paid: from what evaluators kept, and by training coalitions anew."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from p2pfl.cli import main
from p2pfl.errors import ConfigError
from p2pfl.ledger.check.source import FileSource, View
from p2pfl.ledger.check.standings import Closed, history
from p2pfl.ledger.stores.reader import open_reader
from p2pfl.runs.audit_scores import Asked, audit_scores
from p2pfl.runs.folder import RunFolder
from p2pfl.runs.incentives import build_trial, run_trial, write_trial
from p2pfl.runs.simulate import World

NAMES = ("honest", "honest", "noisylabels", "freerider")


@pytest.fixture(scope="module")
def trial(tmp_path_factory: pytest.TempPathFactory, trial_config: Any) -> Path:
    home = tmp_path_factory.mktemp("trial")
    simulation = build_trial(
        trial_config("model.args.hidden=[8]", "train.steps=2", "pace.rounds=110"), NAMES, World(step_s=0.03)
    )
    rows = run_trial(simulation, NAMES)
    write_trial(RunFolder.open(home / "run", resume=False), simulation, rows)
    return home / "run"


@pytest.fixture(scope="module")
def closed(trial: Path) -> list[Closed]:
    with open_reader(trial / "n0" / "node.db") as reader:
        return list(history(View(FileSource(reader))))


def test_the_same_work_on_the_same_examples_has_the_same_scores(trial: Path, closed: list[Closed]) -> None:
    """Evaluators of three updates tried all coalitions: whoever has what they had finds what the ledger holds."""
    found = audit_scores(trial, closed, Asked("updates", "validation"))
    assert found.estimator == "exact"
    assert found.evaluators == ("n0", "n1", "n2", "n3")
    assert len(found.windows) >= 2
    for row in found.rows:
        said = [window.scores[row.key].micro for window in closed if window.scored in found.windows]
        assert row.value == pytest.approx(sum(said) / 1e6, abs=1e-5)
        assert row.windows == len(said)
        assert row.credits == sum(w.payouts.get(row.key, 0) for w in closed if w.scored in found.windows)
    assert sum(row.share for row in found.rows) == pytest.approx(1)


def test_one_evaluator_says_what_it_knows(trial: Path, closed: list[Closed]) -> None:
    for run, node in ((trial / "n1", None), (trial, "n1")):
        found = audit_scores(run, closed, Asked("updates", node=node))
        assert found.evaluators == ("n1",)
        assert [row.name for row in found.rows] == ["n0", "n2", "n3"]
        assert found.notes == ("nobody whose folder is here judged n1",)
        assert found.split == "test"


def test_retraining_shares_out_what_all_learned(trial: Path, closed: list[Closed]) -> None:
    """Three players, eight coalitions; who put nothing in has nothing, by the summary of the trial."""
    found = audit_scores(trial, closed, Asked("retraining", rounds=20))
    values = {row.name: row.value for row in found.rows}
    assert (found.evaluations, values["n3"]) == (8, 0.0)
    assert sum(values.values()) > 0.3
    assert values["n2"] < max(values["n0"], values["n1"])
    alone = audit_scores(trial / "n1", closed, Asked("retraining", rounds=20))
    assert [row.value for row in alone.rows] == [row.value for row in found.rows]


def test_what_is_not_kept_is_said(trial: Path, closed: list[Closed], tmp_path: Path) -> None:
    """Nothing shown is kept: by retraining then, saying so; and a plain refusal where that was not asked for."""
    shutil.copytree(trial, tmp_path / "run")
    _forget(tmp_path / "run")
    with pytest.raises(ConfigError, match="no update that evaluators were shown is kept here"):
        audit_scores(tmp_path / "run", closed, Asked("updates"))
    found = audit_scores(tmp_path / "run", closed, Asked(rounds=1))
    assert found.by == "retraining"
    assert "valuation] keep above 0" in found.notes[0]


def _forget(run: Path) -> None:
    from p2pfl.core.party import Put
    from p2pfl.horizontal.valuing.memory import SPACE
    from p2pfl.ledger.stores.sqlite import SqliteStore

    for path in run.glob("*/node.db"):
        store = SqliteStore(path)
        store.commit([Put(SPACE, key, None) for key in store.load().get(SPACE, {})])
        store.close()


def test_the_command(trial: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    picture = tmp_path / "standing.svg"
    assert main(["ledger", "audit-scores", str(trial), "--plot", str(picture)]) == 0
    said = capsys.readouterr().out
    assert "Spearman of credits and values: " in said
    assert "standing" in picture.read_text()
    assert main(["ledger", "audit-scores", str(trial), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [row["name"] for row in found["nodes"]] == ["n0", "n1", "n2", "n3"]
    assert set(found["history"][-1]["standings"]) == {row["key"] for row in found["nodes"]}


def test_the_command_refuses(tmp_path: Path, trial: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["ledger", "audit-scores", str(tmp_path)]) == 2
    assert "expected a run's folder" in capsys.readouterr().err
    assert main(["ledger", "audit-scores", str(trial), "--plot", "x.bmp"]) == 2
    assert "--plot x.bmp" in capsys.readouterr().err
