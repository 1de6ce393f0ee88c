"""Games of updates, what evaluators say together, copies and lengths, and commitments."""

import json
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from p2pfl.errors import Reject
from p2pfl.valuation import (
    Game,
    Opening,
    cosine,
    digest_of,
    exact,
    find_copies,
    is_stale,
    lower_median,
    scaled,
    trimmed_mean,
)

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "valuation.json").read_text())
ONE, TWO = torch.tensor([1.0, 0.0, 2.0]), torch.tensor([0.0, -1.0, 1.0])


def test_a_coalition_moves_the_model_by_its_share() -> None:
    game = Game(torch.zeros(3), [ONE, TWO], lambda x: float(x.sum()))
    assert game.model(0b11).tolist() == [0.5, -0.5, 1.5]
    assert game.model(0b01).tolist() == [0.5, 0.0, 1.0]
    assert game(0b11) == 1.5
    assert game(0b11) == 1.5
    assert game.evaluations == 1


def test_who_does_nothing_is_worth_nothing() -> None:
    target = torch.tensor([1.0, -1.0, 2.0])
    game = Game(torch.zeros(3), [ONE, torch.zeros(3), TWO, -3 * ONE], lambda x: -float((x - target).square().sum()))
    good, idle, other, harmful = exact(4, game).values
    assert idle == pytest.approx(0.0, abs=1e-12)
    assert harmful < 0 < min(good, other)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(-50, 50), min_size=1, max_size=7), st.data())
def test_fewer_than_half_cannot_move_the_median_out_of_the_honest_range(honest: list[int], data: st.DataObject) -> None:
    liars = data.draw(st.lists(st.integers(-(10**9), 10**9), max_size=len(honest) - 1))
    assert min(honest) <= lower_median([*honest, *liars]) <= max(honest)


def test_the_median_is_the_lower_one_and_the_mean_is_trimmed() -> None:
    assert lower_median([4, 1, 3, 2]) == 2
    assert trimmed_mean([1, 2, 3, 4, 5, 6, 1000]) == 4


def test_exact_copies_go_to_the_first_commit() -> None:
    assert find_copies([ONE, TWO, ONE, 2.5 * TWO], [30, 10, 20, 40]) == {0, 3}
    assert find_copies([torch.zeros(3), torch.zeros(3)], [1, 2]) == set()


def test_stale_is_what_was_shown_before() -> None:
    assert is_stale(ONE + 0.01 * TWO, [TWO, ONE])
    assert not is_stale(ONE, [TWO])
    assert cosine(ONE, torch.zeros(3)) == 0.0


def test_a_blown_up_update_counts_as_one_that_was_not() -> None:
    """And lengths beyond the lower quartile say nothing; shorter ones do."""
    kept = scaled([ONE, 3 * TWO, 1e6 * ONE, torch.zeros(3), 2 * ONE, 0.5 * ONE])
    assert torch.equal(kept[0], ONE)
    assert torch.equal(kept[3], torch.zeros(3))
    assert torch.equal(kept[5], 0.5 * ONE)
    assert float(scaled([1e-6 * ONE, 1e-6 * TWO, ONE, 2 * ONE, 3 * ONE])[4].norm()) > 0.4 * float(ONE.norm())
    assert [float(kept[n].norm()) for n in (1, 2, 4)] == pytest.approx([float(ONE.norm())] * 3, rel=1e-5)


# ------------------------------------------------------------------------------------------------ openings


def opening_of(row: list[object]) -> Opening:
    return Opening.from_fields([bytes.fromhex(value) if isinstance(value, str) else value for value in row])


@pytest.mark.parametrize("vector", VECTORS["openings"], ids=lambda vector: vector["name"])
def test_commitments_are_the_bytes_they_were(vector: dict[str, object]) -> None:
    assert opening_of(vector["fields"]).commitment.hex() == vector["commitment"]  # type: ignore[arg-type]


def test_the_digest_of_a_model_is_of_its_float32_values() -> None:
    for vector in VECTORS["digests"]:
        assert digest_of(torch.tensor(vector["values"], dtype=torch.float64)).hex() == vector["digest"]


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 11), st.data())
def test_a_commitment_opens_in_one_way(place: int, data: st.DataObject) -> None:
    good = opening_of(VECTORS["openings"][1]["fields"])
    fields = good.to_fields()
    other = st.binary(min_size=32, max_size=32) if isinstance(fields[place], bytes) else st.integers(0, 2**63 - 1)
    fields[place] = data.draw(other.filter(lambda value: value != fields[place]))
    assert Opening.from_fields(fields).commitment != good.commitment


@pytest.mark.parametrize(("place", "value"), [(0, b"x"), (2, -1), (3, True), (4, "a" * 32), (9, 2**63), (11, [])])
def test_remote_openings_are_checked(place: int, value: object) -> None:
    fields = opening_of(VECTORS["openings"][0]["fields"]).to_fields()
    fields[place] = value
    with pytest.raises(Reject, match="opening"):
        Opening.from_fields(fields)
    with pytest.raises(Reject, match="expected 12"):
        Opening.from_fields(fields[1:])
