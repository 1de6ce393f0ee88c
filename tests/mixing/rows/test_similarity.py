"""Similarity: who is alike is mixed, who is opposite is not; and two tasks part where the plain average spoils both."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from p2pfl.mixing.rows import Heard
from p2pfl.mixing.similarity import Similarity


def heard(own, *others, weights=None):
    inbox = torch.tensor(others, dtype=torch.float64)
    weights = [1 / (len(others) + 1)] * len(others) if weights is None else weights
    w = torch.tensor(weights, dtype=torch.float64)
    return Heard(torch.tensor(own, dtype=torch.float64), inbox, w, w.sum(), torch.zeros(len(others), 0))


def test_two_groups_are_seen_as_two():
    found = Similarity().similarity(heard([1.0, 5.0], [1.0, 5.0], [-1.0, 5.0], [-1.0, 5.0]))
    assert found.tolist() == pytest.approx([1.0, -1.0, -1.0])


@pytest.mark.parametrize("count", [3, 5])
def test_several_groups_are_minus_one_over_their_number_less_one_apart(count):
    corners = torch.eye(count, dtype=torch.float64).tolist()
    found = Similarity().similarity(heard(corners[0], *corners[1:]))
    assert found.tolist() == pytest.approx([-1 / (count - 1)] * (count - 1))


def test_a_stranger_hardly_moves_and_kin_does():
    rule, x = Similarity(), torch.tensor([1.0, 0.0], dtype=torch.float64)
    rows = heard([1.0, 0.0], [1.2, 0.0], [-1.0, 0.0], [-1.0, 0.1])
    _, after = rule.mix({}, x, rows, None)
    assert 1.0 < float(after[0]) < 1.06
    assert float(after[1]) == pytest.approx(0.0, abs=1e-3)


def test_without_sharpness_it_is_the_average_at_half_weight():
    x = torch.tensor([1.0, 0.0], dtype=torch.float64)
    rows = heard([1.0, 0.0], [3.0, 0.0], [-1.0, 4.0])
    _, after = Similarity(sharpness=0.0).mix({}, x, rows, None)
    assert after.tolist() == pytest.approx([1.0, 4.0 / 6])


@given(st.lists(st.floats(-10, 10, width=32), min_size=3, max_size=3), st.integers(1, 4))
@settings(max_examples=50)
def test_who_agrees_with_all_stays_and_similarity_is_bounded(row, count):
    rows = heard(row, *[row] * count)
    _, after = Similarity().mix({}, rows.own, rows, None)
    assert torch.equal(after, rows.own)
    found = Similarity().similarity(heard(row, *[[-2 * v + i for v in row] for i in range(count)]))
    assert float(found.abs().max()) <= 1 + 1e-9


@pytest.mark.parametrize("bad", [{"sharpness": -1}, {"sharpness": math.inf}, {"threshold": 2}])
def test_bad_parameters_are_one_line(bad):
    with pytest.raises(ValueError, match=r"mix\.\w+: expected"):
        Similarity(**bad)
