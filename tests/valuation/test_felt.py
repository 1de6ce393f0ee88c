"""What neighbours say about each other's models: sketches, and what follows from their sum."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from p2pfl.valuation.felt import (
    BUCKETS,
    PART_FACTOR,
    Account,
    Sketcher,
    account_of,
    is_felt,
    sketch_of,
    together,
    usual_length,
)

P = 2000
KEY = b"k" * 32
VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "valuation.json").read_text())


def drawn(seed: int) -> Tensor:
    return torch.randn(P, generator=torch.Generator().manual_seed(seed))


@given(st.integers(0, 1000), st.floats(-3, 3), st.binary(min_size=32, max_size=32))
def test_a_sketch_is_linear(seed: int, factor: float, key: bytes) -> None:
    sketch, a, b = Sketcher(key, P), drawn(seed), drawn(seed + 1)
    assert torch.allclose(sketch(a.double() + factor * b.double()), sketch(a) + factor * sketch(b), atol=1e-9)


def test_a_sketch_keeps_products_on_average_over_keys() -> None:
    a = drawn(1)
    b = a + drawn(2)
    dots = torch.tensor(
        [float(s(a) @ s(b)) for s in (Sketcher(number.to_bytes(32, "big"), P) for number in range(300))],
        dtype=torch.float64,
    )
    true, spread = float(a @ b), float(a.norm() * b.norm()) * (2 / BUCKETS) ** 0.5
    assert abs(float(dots.mean()) - true) < 4 * spread / 300**0.5
    assert float(dots.std()) < 1.2 * spread


def test_an_account_is_as_near_as_its_steps() -> None:
    sketch = Sketcher(KEY, P)(drawn(1))
    account = account_of(sketch)
    assert torch.allclose(sketch_of(account), sketch, atol=account.scale / 2 + 1e-12)


@given(st.floats(allow_nan=True, allow_infinity=True))
def test_any_number_makes_an_account(value: float) -> None:
    account = account_of(torch.full((BUCKETS,), value, dtype=torch.float64))
    assert len(account.values) == BUCKETS
    assert 0 <= account.scale < float("inf")
    assert torch.isfinite(sketch_of(account)).all()


def test_who_works_is_held_back_and_who_is_moved_is_not() -> None:
    """Five neighbours, each of whom knows its part of M = c - u."""
    sketch, common = Sketcher(KEY, P), drawn(1)
    own = common + 2 * drawn(2)
    parts = [sketch((common - own) / 5 + 0.2 * drawn(10 + n)) for n in range(5)]
    usual = float(own.norm())
    assert is_felt(sketch(own), parts, usual)
    moved = [sketch(common / 5 + 0.2 * drawn(20 + n)) for n in range(5)]
    assert not is_felt(sketch(common), moved, usual)
    assert not is_felt(sketch(3 * common), moved, usual)
    assert not is_felt(sketch(drawn(3)), moved, usual)  # says one thing and does another
    assert is_felt(sketch(1e-6 * common), moved, usual)  # claims nothing
    assert is_felt(sketch(common), moved[:1], usual)  # one neighbour is not enough


def test_data_that_all_have_alike_pull_nobody_away() -> None:
    sketch, common = Sketcher(KEY, P), drawn(1)
    own = common + 0.1 * drawn(2)
    parts = [sketch((common - own) / 4)] * 4
    assert is_felt(sketch(own), parts, float(own.norm()))


def test_a_neighbour_that_says_nothing_is_given_the_benefit_of_the_doubt() -> None:
    """As far as it could have turned the sum: long parts that cancel say nothing of what one of them is missing."""
    sketch, common, loop = Sketcher(KEY, P), drawn(1), 20 * drawn(5)
    parts = [sketch(common / 3 + turn * loop) for turn in (1.0, 1.0, -2.0)]
    usual = float(common.norm())
    assert not is_felt(sketch(common), parts, usual)
    assert is_felt(sketch(common), parts[1:], usual, missing=1)
    calm = [sketch(common / 5 + 0.01 * drawn(20 + n)) for n in range(4)]
    assert not is_felt(sketch(common), calm, usual, missing=1)


def test_one_neighbour_that_lies_changes_nothing() -> None:
    sketch, common = Sketcher(KEY, P), drawn(1)
    own = common + 2 * drawn(2)
    parts = [sketch((common - own) / 5 + 0.2 * drawn(10 + n)) for n in range(4)]
    usual = float(own.norm())
    assert is_felt(sketch(own), [*parts, 1000 * sketch(own)], usual)
    moved = [sketch(common / 5 + 0.2 * drawn(20 + n)) for n in range(4)]
    assert not is_felt(sketch(common), [*moved, -1000 * sketch(common)], usual)


@given(st.lists(st.just(0.0) | st.floats(1e-3, 1e6), min_size=1, max_size=9))
def test_no_part_counts_more_than_twice_the_usual_one(lengths: list[float]) -> None:
    parts = [torch.eye(BUCKETS, dtype=torch.float64)[n] * length for n, length in enumerate(lengths)]
    known = sorted(length for length in lengths if length > 0)
    most = PART_FACTOR * known[(len(known) - 1) // 2] if known else 0.0
    assert float(together(parts).max()) <= most * (1 + 1e-9)


def test_the_usual_length_is_of_those_who_did_something() -> None:
    assert usual_length([torch.zeros(3), torch.ones(1), 2 * torch.ones(1), 5 * torch.ones(1)]) == 2
    assert usual_length([torch.zeros(3)]) == 0
    assert account_of(torch.zeros(BUCKETS)) == Account(0.0, bytes(BUCKETS))


@pytest.mark.parametrize("vector", VECTORS["accounts"])
def test_accounts_have_their_golden_bytes(vector: dict[str, Any]) -> None:
    values = torch.tensor(vector["values"])
    found = account_of(Sketcher(bytes.fromhex(vector["key"]), len(values))(values))
    assert found.values.hex() == vector["account"]
    assert found.scale == pytest.approx(vector["scale"], rel=1e-12)
