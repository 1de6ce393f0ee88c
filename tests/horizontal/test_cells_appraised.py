"""What an evaluator finds of cells: their members share a value, and who says something else is found out."""

from typing import Any

import pytest
import torch

from p2pfl.core import noise
from p2pfl.core.ids import NodeId
from p2pfl.horizontal.cells.deeds import Sum, Together
from p2pfl.horizontal.valuing.appraisal import Appraisal, Subject, look_at
from p2pfl.horizontal.valuing.part import make_cell_work
from p2pfl.horizontal.valuing.shown import Shown
from p2pfl.horizontal.valuing.together import appraise_cells
from p2pfl.ledger.feeds.kinds import FAIR, STALE, UNOPENED, UNREVEALED

X = torch.linspace(-1.0, 1.0, 48)
IDS = [NodeId(bytes([number]) * 32) for number in range(8)]
A, B = b"a" * 32, b"b" * 32
CELLS = {A: tuple(IDS[:4]), B: tuple(IDS[4:7])}


@pytest.fixture
def work(kit: Any) -> Any:
    return kit.nodes([(0, 1)])[0].work


def shows(work: Any, number: int, cell: bytes, update: torch.Tensor) -> Subject:
    deed = Together(2, 3, X, X + update, update, Sum(cell, 3, len(CELLS.get(cell, ())), X, X + update, update))
    made = make_cell_work(deed, update, IDS[number], bytes(32), bytes([number]) * 32, work)
    shown, body = made.show(bytes(32), IDS[7], 4, False)
    raw = b"".join(bytes(part) for part in body)
    return Subject(IDS[number], made.opening.commitment, number, Shown.from_fields(shown.to_fields()), raw, False)


def rows(work: Any, *subjects: Subject, earlier: tuple[torch.Tensor, ...] = ()) -> dict[int, tuple[int, int]]:
    task = Appraisal(X, 0.5 * X, subjects, earlier, {}, noise.root(1), "validation")
    found = appraise_cells(task, CELLS, work)
    return {IDS.index(NodeId(node)): (micro, finding) for node, micro, finding in found.rows}


def test_each_member_gets_its_part_of_what_the_cell_is_worth(work: Any) -> None:
    both = rows(work, *(shows(work, n, A, -0.1 * X) for n in (0, 1)), *(shows(work, n, B, -0.3 * X) for n in (4, 5, 6)))
    assert {finding for _, finding in both.values()} == {FAIR}
    assert both[0] == both[1]
    assert both[4] == both[5] == both[6]


def test_who_says_something_else_of_its_cell_is_found_out(work: Any) -> None:
    lie = torch.flip(X, (0,)) ** 2
    found = rows(work, shows(work, 0, A, -0.1 * X), shows(work, 1, A, -0.1 * X), shows(work, 2, A, lie))
    assert [finding for _, finding in found.values()] == [FAIR, FAIR, UNOPENED]
    split = rows(work, shows(work, 0, A, -0.1 * X), shows(work, 2, A, lie))
    assert split == {0: (0, FAIR), 2: (0, FAIR)}, "one against one: nobody knows which"


def test_a_cell_is_that_of_its_members(work: Any) -> None:
    found = rows(work, shows(work, 0, B, -0.1 * X), shows(work, 4, B, -0.1 * X))
    assert (found[0][1], found[4][1]) == (UNOPENED, FAIR)


def test_of_cells_it_does_not_know_it_says_nothing(work: Any) -> None:
    assert rows(work, shows(work, 0, b"?" * 32, -0.1 * X)) == {}


def test_nothing_shown_and_something_shown_before(work: Any) -> None:
    silent = Subject(IDS[1], bytes(32), 1, None, b"", False)
    assert rows(work, silent)[1] == (0, UNREVEALED)
    again = shows(work, 0, A, -0.1 * X)
    _, before = look_at(again, {}, work)
    assert before is not None
    assert rows(work, again, earlier=(2 * before,))[0] == (0, STALE)
