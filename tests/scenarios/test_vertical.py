"""What companies get in a vertical scenario: valid documents, and tables that overlap and are in no common order."""

import csv
import importlib.util
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from common_vertical import MISSING, changed, written

from p2pfl.config.vertical import load_party

SCENARIOS = Path(__file__).resolve().parents[2] / "scenarios"
NAMES = sorted(path.parent.name for path in SCENARIOS.glob("*/job.toml"))


def scenario(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"scenario_{name}", SCENARIOS / name / "run.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", NAMES)
def test_every_company_gets_a_document_that_is_valid(name: str, tmp_path: Path) -> None:
    companies = scenario(name).synthetic(600)
    documents = written(tmp_path, SCENARIOS / name / "job.toml", companies, {"epochs": 3})
    ids = []
    for company, document in zip(companies, documents, strict=True):
        party = load_party(document)
        assert party.name == company.name == document.parent.name
        assert party.job.train.epochs == 3
        with (document.parent / "table.csv").open(encoding="utf-8") as file:
            header, *rows = list(csv.reader(file))
        assert header == ["id", *company.columns, *(["label"] if company.label is not None else [])]
        ids.append([row[0] for row in rows])
        assert len(rows) == pytest.approx(600 * (1 - MISSING), rel=0.03)
    assert ids[0] != ids[1]
    assert len(set(ids[0]) & set(ids[1])) > 500
    assert [company.label is not None for company in companies] == [True] + [False] * (len(companies) - 1)


@pytest.mark.parametrize("name", NAMES)
def test_made_up_people_are_the_same_every_time_and_do_both(name: str) -> None:
    module = scenario(name)
    first, again = module.synthetic(400), module.synthetic(400)
    for one, other in zip(first, again, strict=True):
        assert all(np.array_equal(one.columns[column], other.columns[column]) for column in one.columns)
    labels = list(first[0].label)
    assert 0.05 < labels.count("yes") / len(labels) < 0.5


def test_a_key_that_a_document_lacks_is_said() -> None:
    assert changed("a = 1  # why\nb = 2\n", {"b": 3}) == "a = 1  # why\nb = 3\n"
    with pytest.raises(SystemExit, match="expected one key c, found 0"):
        changed("a = 1\n", {"c": 3})
