"""Attacks succeed where there is something to find, and find nothing in noise."""

import numpy as np
import pytest

from p2pfl.vertical.data.leaks import LabelLeakMeter, direction_attack, feature_attack, norm_attack

RNG = np.random.default_rng(0)


def logistic_gradients(n: int, d: int, share: float) -> tuple[np.ndarray, np.ndarray]:
    """Cut gradients of a logistic top: (p - y) w, p near the share of positives, as early in training."""
    y = (RNG.random(n) < share).astype(np.int64)
    y[:2] = 0, 1
    p = np.clip(share + 0.05 * RNG.normal(size=n), 0.01, 0.99)
    return (p - y)[:, None] * RNG.normal(size=d), y


def test_plain_gradients_show_all_labels_of_a_rare_class() -> None:
    gradients, labels = logistic_gradients(400, 8, share=0.2)
    assert norm_attack(gradients, labels) > 0.99
    assert direction_attack(gradients, labels) > 0.99
    assert direction_attack(gradients, labels, known=1) > 0.99


def test_balanced_classes_hide_from_norms_but_not_from_directions() -> None:
    gradients, labels = logistic_gradients(2000, 8, share=0.5)
    assert norm_attack(gradients, labels) < 0.6
    assert direction_attack(gradients, labels) > 0.99


def test_noise_shows_nothing() -> None:
    labels = RNG.integers(0, 2, 4000)
    noise = RNG.normal(size=(4000, 8))
    assert norm_attack(noise, labels) < 0.53
    assert direction_attack(noise, labels) < 0.53


def test_the_meter_averages_batches_and_skips_those_of_one_class() -> None:
    meter = LabelLeakMeter()
    assert meter.report() is None
    meter.add(np.ones((3, 2)), np.array([1, 1, 1]))
    assert meter.report() is None
    for scale in (1.0, 1e-3):  # a model that learns: lengths shrink from batch to batch
        gradients, labels = logistic_gradients(200, 4, share=0.2)
        meter.add(scale * gradients, labels)
    found = meter.report()
    assert found is not None
    assert found.batches == 2
    assert found.norm > 0.99
    assert found.worst >= found.norm


def test_zero_gradients_are_no_error_and_show_nothing() -> None:
    zeros, labels = np.zeros((6, 3)), np.array([0, 1, 0, 1, 1, 0])
    assert norm_attack(zeros, labels) == 0.5
    assert direction_attack(zeros, labels, known=1) == 0.5


def test_a_known_row_must_be_a_positive() -> None:
    with pytest.raises(ValueError, match="positive in row 0"):
        direction_attack(np.ones((3, 1)), np.array([0, 1, 1]), known=0)


def test_embeddings_that_hold_a_feature_show_it_and_noise_hides_it() -> None:
    x = RNG.normal(size=(600, 5))
    z = x[:, :2] @ RNG.normal(size=(2, 3))
    found = feature_attack(z, x, range(50))
    assert found.r2[0] > 0.99
    assert found.r2[1] > 0.99
    assert max(found.r2[2:]) < 0.1
    assert found.worst[0] in (0, 1)
    assert not found.invertible
    noisy = feature_attack(z + 10 * RNG.normal(size=z.shape), x, range(50))
    assert max(noisy.r2) < 0.2
    assert feature_attack(x, x, range(50)).invertible


def test_a_constant_feature_and_constant_embeddings_show_nothing() -> None:
    x = np.stack([np.ones(20), RNG.normal(size=20)], axis=1)
    assert feature_attack(np.ones((20, 2)), x, range(5)).r2[0] == 0.0
    with pytest.raises(ValueError, match="some known rows"):
        feature_attack(x, x, [])
