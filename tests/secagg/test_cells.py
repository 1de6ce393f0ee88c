"""Random cells with drop-outs: the sum is the plain sum within the rounding bound, or nobody learns anything."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from p2pfl.secagg.blame import SecAggAbort
from p2pfl.secagg.cell import threshold_of
from p2pfl.secagg.statements import Step

CELLS = 200
STEPS = [Step.KEYS, Step.SHARES, Step.SLICE, Step.HELD]


def check_cell(make: Callable[..., Any], mean_of: Callable[..., Any], seed: int) -> str:
    rng = np.random.default_rng(seed)
    size = int(rng.integers(4, 11))
    town = make(size, int(rng.integers(1, 200)), seed, reach=float(2.0 ** rng.integers(-2, 8)))
    others = [m for m in town.cell.members if m != town.cell.chair]
    lost = int(rng.integers(0, size - threshold_of(size) + 2))  # up to one more than can be borne
    for number in rng.permutation(len(others))[:lost]:
        town.gone[others[number]] = STEPS[int(rng.integers(len(STEPS)))]
    town.run()
    stay = [m for m in town.cell.members if m not in town.gone]
    assert not town.blamed()
    if len(stay) < town.cell.threshold:
        assert not town.means
        assert all(isinstance(error, SecAggAbort) for error in town.ended.values())
        return "abort"
    for who in stay:
        assert set(town.members[who].survivors) == set(stay)
        off = np.abs(town.means[who] - mean_of(town, stay)).max()
        assert off < town.grid.unit
    return "dropped" if town.gone else "whole"


@pytest.mark.parametrize(
    "seeds", [range(30), pytest.param(range(30, CELLS), marks=pytest.mark.slow)], ids=["some", "the-rest"]
)
def test_two_hundred_random_cells(seeds: range, town: Callable[..., Any], mean_of: Callable[..., Any]) -> None:
    seen = {check_cell(town, mean_of, seed) for seed in seeds}
    assert seen == {"abort", "dropped", "whole"}


def test_a_dead_chair_ends_the_cell_and_nothing_is_opened(town: Callable[..., Any]) -> None:
    for step in (Step.KEYS, Step.SHARES, Step.HELD, Step.ANSWERS):
        made = town(5, 40, 1)
        made.gone[made.cell.chair] = step
        made.run()
        assert not made.means


def test_below_the_threshold_the_answers_open_no_secret(town: Callable[..., Any]) -> None:
    """All members but too few answer: what they have said together gives no dealer's seed."""
    made = town(7, 40, 2)
    others = [m for m in made.cell.members if m != made.cell.chair]
    made.gone = dict.fromkeys(others[:3], Step.ANSWERS)
    made.run()
    assert not made.means
    errors = [error for who, error in made.ended.items() if who not in made.gone]
    assert len(errors) == 4
    assert all(isinstance(error, SecAggAbort) and "expected 5" in str(error) for error in errors)


@pytest.mark.parametrize("size", [3, 4, 16])
def test_the_smallest_and_the_largest_cell(town: Callable[..., Any], mean_of: Callable[..., Any], size: int) -> None:
    made = town(size, 33, size)
    made.run()
    for who in made.cell.members:
        assert np.abs(made.means[who] - mean_of(made, made.cell.members)).max() < made.grid.unit
        assert np.array_equal(made.means[who], made.means[made.cell.chair])
