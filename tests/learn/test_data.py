"""Samples in memory: checked when made; test samples set aside; scaled by what may be known."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from p2pfl.core.noise import root
from p2pfl.errors import ConfigError
from p2pfl.learn.data import Data, Source, hold_out, split


def counted(n: int) -> Data:
    return Data(torch.arange(n).float().unsqueeze(1), torch.arange(n).float(), "counted")


@given(st.integers(2, 60), st.floats(0, 0.45), st.floats(0, 0.45), st.integers(0, 50))
def test_parts_are_disjoint_and_together_everything(n: int, test: float, validation: float, seed: int) -> None:
    held = hold_out(Source(counted(n)), root(seed), test)
    assert len(held.test) == round(test * n)
    splits = split(held.train, torch.arange(len(held.train)), held.test, root(seed), validation)
    assert sorted(v for name in splits.names for v in splits[name].y.tolist()) == list(range(n))
    again = hold_out(Source(counted(n)), root(seed), test)
    assert torch.equal(again.test.x, held.test.x)


def test_samples_that_came_as_a_test_set_stay_it() -> None:
    held = hold_out(Source(counted(5), counted(3)), root(0), 0.9)
    assert (len(held.train), len(held.test)) == (5, 3)


def test_scaling_knows_the_training_part_only() -> None:
    g = torch.Generator().manual_seed(0)
    x = torch.cat([torch.randn(200, 1, generator=g) * 5 + 3, torch.full((200, 1), 7.0), torch.rand(200, 1)], 1)
    held = hold_out(Source(Data(x, torch.zeros(200), "t"), standardise=(0, 1)), root(0), 0.25)
    torch.testing.assert_close(held.train.x[:, 0].mean(), torch.tensor(0.0), atol=1e-5, rtol=0)
    torch.testing.assert_close(held.train.x[:, 0].std(correction=0), torch.tensor(1.0), atol=1e-5, rtol=0)
    assert (held.train.x[:, 1] == 0).all()  # a constant column becomes 0, not a division by 0
    assert abs(float(held.test.x[:, 0].mean())) > 1e-4
    assert set(held.train.x[:, 2].tolist()) <= set(x[:, 2].tolist())


ZEROS = torch.zeros(3)


@pytest.mark.parametrize(
    ("x", "y", "classes", "words"),
    [
        (torch.zeros(2, 1), ZEROS, (), r"as many labels as samples, got x and y of shapes \(2, 1\) and \(3,\)"),
        (torch.tensor([0, 1, float("nan")]), ZEROS, (), "expected finite numbers, got another in sample 2"),
        (torch.zeros(3, 2), torch.tensor([0, float("inf"), 0]), (), "in target 1"),
        (ZEROS, torch.tensor([0, 5, 1]), ("a", "b"), "expected labels 0 to 1, got 5 in sample 1"),
        (ZEROS, torch.tensor([0, -1, 1]), ("a", "b"), "got -1 in sample 1"),
        (ZEROS, ZEROS, ("a", "b"), "expected labels as int64"),
        (ZEROS, torch.tensor([0, 1, 1]), (), "expected float targets where no classes are given"),
        (ZEROS.to(torch.uint8), ZEROS, (), "expected samples as float32"),
    ],
)
def test_bad_samples_are_refused(x: Tensor, y: Tensor, classes: tuple[str, ...], words: str) -> None:
    with pytest.raises(ConfigError, match=words) as caught:
        Data(x, y, "mine", classes)
    assert str(caught.value).startswith("mine: ")


def test_a_source_is_not_empty_and_its_test_set_fits() -> None:
    with pytest.raises(ConfigError, match="there are no samples"):
        Source(counted(0))
    with pytest.raises(ConfigError, match="another shape or other classes"):
        Source(counted(3), Data(torch.zeros(2, 5), torch.zeros(2), "other"))


@pytest.mark.parametrize("fraction", [-0.1, 1.0, 0.99])
def test_something_is_left_for_training(fraction: float) -> None:
    with pytest.raises(ConfigError, match="test fraction"):
        hold_out(Source(counted(10)), root(0), fraction)
