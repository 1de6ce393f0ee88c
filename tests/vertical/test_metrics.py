"""Metrics against scikit-learn, to the last digits, ties included."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as oracle

from p2pfl.vertical.data.metrics import (
    accuracy,
    auc,
    binary_metrics,
    class_metrics,
    ks,
    log_loss,
    number_metrics,
    rmse,
)

pairs = st.lists(st.tuples(st.integers(0, 1), st.integers(0, 12)), min_size=2, max_size=60).filter(
    lambda found: {y for y, _ in found} == {0, 1}
)


@settings(max_examples=60)
@given(pairs)
def test_two_classes_equal_scikit_learn(found: list[tuple[int, int]]) -> None:
    y, p = np.array([y for y, _ in found]), np.array([s / 12 for _, s in found])
    assert auc(y, p) == pytest.approx(oracle.roc_auc_score(y, p), abs=1e-12)
    fpr, tpr, _ = oracle.roc_curve(y, p, drop_intermediate=False)
    assert ks(y, p) == pytest.approx(np.abs(tpr - fpr).max(), abs=1e-12)
    assert log_loss(y, p) == pytest.approx(oracle.log_loss(y, p, labels=[0, 1]), rel=1e-9)
    assert accuracy(y, p) == oracle.accuracy_score(y, p > 0.5)


def test_many_classes_and_numbers_equal_scikit_learn() -> None:
    rng = np.random.default_rng(0)
    p = rng.dirichlet(np.ones(5), 300)
    y = rng.integers(0, 5, 300)
    assert log_loss(y, p) == pytest.approx(oracle.log_loss(y, p), rel=1e-12)
    assert accuracy(y, p) == oracle.accuracy_score(y, p.argmax(1))
    t, q = rng.normal(size=300), rng.normal(size=300)
    assert rmse(t, q) == pytest.approx(oracle.root_mean_squared_error(t, q), rel=1e-12)
    assert set(class_metrics(y, p)) == {"log_loss", "accuracy"}
    assert set(number_metrics(t, q)) == {"rmse"}


def test_one_class_has_no_auc() -> None:
    found = binary_metrics([1, 1], [0.4, 0.9])
    assert found["auc"] is None
    assert found["ks"] is None
    assert found["accuracy"] == 0.5
    with pytest.raises(ValueError, match="labels 0 and 1, both there"):
        auc([1, 1], [0.1, 0.2])


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: auc([0, 1], [0.1]), "as many predictions"),
        (lambda: auc([0, 1, 2], [0.1, 0.2, 0.3]), "labels 0 and 1"),
        (lambda: accuracy([], []), "at least one"),
        (lambda: accuracy([0.5, 1], [0.1, 0.2]), "class numbers"),
        (lambda: log_loss([0, 2], [0.1, 0.2]), "labels below 2"),
        (lambda: rmse([1.0], [float("nan")]), "finite"),
        (lambda: rmse([1.0], [[1.0]]), "shape"),
    ],
)
def test_what_makes_no_sense_is_refused(call: object, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        call()  # type: ignore[operator]
