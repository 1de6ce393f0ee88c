"""What all nodes' data say together: exact counts, moments within the rounding, or nothing at all."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from p2pfl.core.noise import derive, root
from p2pfl.errors import ConfigError, HostError
from p2pfl.hosts.faults import Crash, Faults
from p2pfl.hosts.life import lanes
from p2pfl.hosts.sim import SimHost
from p2pfl.learn.data import Data, Splits
from p2pfl.ledger.stores.memory import MemoryStore
from p2pfl.runs.stats import Census, Question, census, column_of, counted
from p2pfl.runs.stats_noise import Promised
from p2pfl.wire.keyfile import Signer

QUESTION = Question("age", 0.0, 100.0, 5)
NETWORK = bytes(32)


def ask_all(columns: list[np.ndarray[Any, Any]], question: Question = QUESTION, **crash: float) -> list[Census]:
    """Every node's census after a run in virtual time; crash=(second) takes the first one away for ever."""
    signers = [Signer(derive(root(11), n)) for n in range(len(columns))]
    members = tuple(signer.node for signer in signers)
    faults = Faults(crashes=tuple(Crash(members[0], at, None) for at in crash.values()))
    host, newest = SimHost(1, faults, lanes()), dict[bytes, Census]()
    for signer, column in zip(signers, columns, strict=True):
        part = counted(column, question)

        def make(signer: Signer = signer, part: torch.Tensor = part) -> Any:
            newest[signer.node] = census(NETWORK, members, signer, part, question, 2.0)
            return newest[signer.node].party

        host.add(signer.node, make, census(NETWORK, members, signer, part, question, 2.0).work, MemoryStore)
    host.run(1e5)
    return [newest[member] for member in members]


@pytest.mark.parametrize("count", [3, 5, 16])
def test_the_figures_are_those_of_all_rows(count: int) -> None:
    rng = np.random.default_rng(count)
    columns = [rng.uniform(-5, 105, rng.integers(0, 400)) for _ in range(count)]
    rows = np.clip(np.concatenate(columns), 0, 100)
    for each in ask_all(columns):
        found = each.answer()
        assert (found.count, found.nodes) == (len(rows), count)
        assert abs(found.mean - rows.mean()) <= found.error
        assert abs(found.variance - rows.var()) < 4 * 100 * found.error
        assert found.counts == tuple(np.histogram(rows, found.edges)[0])


def test_large_counts_are_exact() -> None:
    columns = [np.full(2**20 - 1 - n, 50.0) for n in range(4)]
    found = ask_all(columns)[0].answer()
    assert found.count == sum(map(len, columns))
    assert abs(found.mean - 50.0) < 1e-4


def test_without_one_node_nobody_learns_anything() -> None:
    for node in ask_all([np.full(10, 30.0)] * 5, at=0.05)[1:]:
        with pytest.raises(HostError, match="nobody learned"):
            node.answer()


def test_a_question_of_its_own_range_is_another_question() -> None:
    signer, members = Signer(derive(root(1))), tuple(Signer(derive(root(1), n)).node for n in range(3))
    members = (*members, signer.node)
    ids = set()
    for question in (QUESTION, Question("age", 0.0, 99.0, 5), Question("age", 0.0, 100.0, 6), Question("x", 0, 100, 5)):
        part = counted(np.zeros(3), question)
        ids.add(census(NETWORK, members, signer, part, question, 1.0).job.plan.recipe.digest)
    assert len(ids) == 4


def test_columns_by_name_number_or_label() -> None:
    x, y = torch.tensor([[1.0, 2.0], [3.0, 4.0]]), torch.tensor([0, 1])
    data = Data(x, y, "table", ("no", "yes"), ("age", "height"))
    empty = data.subset(torch.empty(0, dtype=torch.int64))
    splits = Splits(data, empty, data)
    assert column_of(splits, "height").tolist() == [2.0, 4.0]
    assert column_of(splits, "x0").tolist() == [1.0, 3.0]
    assert column_of(splits, "label").tolist() == [0.0, 1.0]
    for bad in ("weight", "x2", "x-1", "x", "xx"):
        with pytest.raises(ConfigError, match="no column"):
            column_of(splits, bad)


def test_what_cannot_be_asked() -> None:
    for low, high, bins in ((1.0, 1.0, 5), (2.0, 1.0, 5), (0.0, float("inf"), 5), (0.0, 1.0, 0), (0.0, 1.0, 1025)):
        with pytest.raises(ConfigError, match="stats: expected"):
            Question("age", low, high, bins)
    signer = Signer(derive(root(1)))
    with pytest.raises(ConfigError, match="3 to 16 nodes"):
        census(NETWORK, (signer.node,), signer, counted(np.zeros(1), QUESTION), QUESTION, 1.0)


@pytest.mark.parametrize("coalition", [0, 2])
def test_private_answers_have_the_noise_that_was_promised(coalition: int) -> None:
    """Five nodes of 4,000 rows each: the noise is seen in 500 bins, and is what the nodes' parts add up to."""
    pytest.importorskip("dp_accounting", reason="needs dp-accounting: pip install 'p2pfl-node[privacy]'")
    question = Question("age", 0.0, 100.0, 500, Promised(2.0, 1e-6, coalition))
    rng = np.random.default_rng(2)
    columns = [rng.uniform(0, 100, 4000) for _ in range(5)]
    rows = np.concatenate(columns)
    answers = [each.answer() for each in ask_all(columns, question)]
    assert len({answer.counts for answer in answers}) == 1
    found = answers[0]
    off = np.array(found.counts) - np.histogram(rows, found.edges)[0]
    sigma = found.deviation
    assert sigma == pytest.approx(question.promised.noise(5).noise * 2 * (5 / (5 - coalition)) ** 0.5, rel=0.05)
    assert float(off.std()) == pytest.approx(sigma, rel=0.15)
    assert abs(found.count - len(rows)) < 5 * sigma
    assert abs(found.mean - rows.mean()) < 0.5
    assert min(found.counts) >= 0


def test_a_private_question_is_another_one_and_has_bounds() -> None:
    pytest.importorskip("dp_accounting", reason="needs dp-accounting: pip install 'p2pfl-node[privacy]'")
    signer = Signer(derive(root(1)))
    members = (*(Signer(derive(root(1), n)).node for n in range(3)), signer.node)
    ids = set()
    for promised in (None, Promised(2.0), Promised(2.5), Promised(2.0, 1e-7), Promised(2.0, 1e-6, 2)):
        question = Question("age", 0.0, 100.0, 5, promised)
        part = counted(np.zeros(3), question)
        ids.add(census(NETWORK, members, signer, part, question, 1.0).job.plan.recipe.digest)
    assert len(ids) == 5
    assert Promised(2.0, 1e-6, 2).alone(4) > 2.0
    assert Promised(2.0, 1e-6, 2).alone(4) == pytest.approx(2.0 * 2**0.5, rel=0.15)
    with pytest.raises(ConfigError, match="at most 2 of 4"):
        Promised(2.0, 1e-6, 3).noise(4)
    for bad in ((0.0, 1e-6, 1), (2.0, 0.0, 1), (2.0, 1e-6, -1)):
        with pytest.raises(ConfigError):
            Promised(*bad)


def test_the_command_says_what_is_missing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from p2pfl.cli import main

    assert main(["stats", "--config", str(tmp_path / "none.toml"), "--column", "age", "--range", "0", "1"]) == 2
    assert capsys.readouterr().err.count("\n") == 1
