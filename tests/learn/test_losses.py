"""How often an answer is right, and how sure of it a model is."""

import pytest
import torch

from p2pfl.learn.losses import num_right, sure_of

LOGITS = torch.log(torch.tensor([[0.7, 0.2, 0.1], [0.1, 0.6, 0.3]]))


def test_sureness_is_the_probability_of_the_right_class() -> None:
    found = sure_of(LOGITS, torch.tensor([0, 2]))
    assert found is not None
    assert float(found) == pytest.approx(0.7 + 0.3)


def test_there_are_no_right_answers_without_classes() -> None:
    for targets in (torch.zeros(2), torch.zeros(2, 3), torch.zeros(3, dtype=torch.int64)):
        assert sure_of(LOGITS, targets) is None
        assert num_right(LOGITS, targets) is None
