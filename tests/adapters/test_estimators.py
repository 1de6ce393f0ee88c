"""scikit-learn's linear estimators as learners: the laws of any learner, and what they come to together."""

import numpy as np
import pytest
import torch
from sklearn.cluster import KMeans
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits
from sklearn.linear_model import (
    ElasticNet,
    Lasso,
    LogisticRegression,
    Perceptron,
    Ridge,
    SGDClassifier,
    SGDRegressor,
)
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler, scale

import p2pfl
from p2pfl.adapters.estimators import EstimatorLearner, Scores
from p2pfl.core.noise import root
from p2pfl.errors import ConfigError
from p2pfl.learn.data import hold_out, split
from p2pfl.learn.flat import FlatModel
from p2pfl.learn.schedule import Constant
from p2pfl.learn.training import Training
from p2pfl.testing import check_learner

DIGITS = load_digits(return_X_y=True)
DIGITS = (DIGITS[0] / 16, DIGITS[1])
TUMOURS = load_breast_cancer(return_X_y=True)
TUMOURS = (scale(TUMOURS[0]), TUMOURS[1])
DIABETES = load_diabetes(return_X_y=True)
DIABETES = (scale(DIABETES[0]), scale(DIABETES[1]))

FITTING = [
    (SGDClassifier(loss="log_loss"), DIGITS),
    (SGDClassifier(learning_rate="constant", eta0=0.01), TUMOURS),
    (SGDClassifier(fit_intercept=False), TUMOURS),
    (Perceptron(), DIGITS),
    (LogisticRegression(), DIGITS),
    (LogisticRegression(solver="newton-cg"), TUMOURS),
    (SGDRegressor(), DIABETES),
    (ElasticNet(alpha=0.01), DIABETES),
    (Lasso(alpha=0.01, fit_intercept=False), DIABETES),
]


def learner_of(estimator, pair, rounds=10):
    app = p2pfl.adapt(estimator, pair)
    held = hold_out(app.data, root(1))
    splits = split(held.train, torch.arange(len(held.train)), held.test, root(2), 0.1)
    data = splits.train
    model = FlatModel(lambda: app.model(data.input_shape, data.num_outputs), device="cpu")
    return app.learner(model=model, splits=splits, training=Training(rounds, 16, 0.1, schedule=Constant()))


@pytest.mark.parametrize(("estimator", "pair"), FITTING, ids=[str(e) for e, _ in FITTING])
def test_the_laws_of_a_learner(estimator, pair):
    learner = learner_of(estimator, pair)
    assert isinstance(learner, EstimatorLearner)
    check_learner(learner)


FEW = (DIGITS[0][:200], DIGITS[1][:200])


@pytest.mark.parametrize("pair", [FEW, TUMOURS], ids=["ten classes", "two"])
def test_what_it_learns_is_the_estimators_own(pair):
    """Scores with the coefficients of a fitted estimator say what it says."""
    x, y = pair
    fitted = LogisticRegression(max_iter=500).fit(x, y)
    module = Scores(x.shape[1], len(fitted.classes_))
    with torch.no_grad():
        module.coef.copy_(torch.tensor(fitted.coef_))
        module.intercept.copy_(torch.tensor(fitted.intercept_))
        said = module(torch.tensor(x, dtype=torch.float32)).softmax(1).numpy()
    assert np.allclose(said, fitted.predict_proba(x), atol=1e-4)


def test_one_step_is_one_partial_fit():
    """Without schedule, weight and correction the model is what the estimator makes of it by itself."""
    x, y = TUMOURS
    settings = {"learning_rate": "invscaling", "eta0": 0.05, "random_state": 3, "shuffle": False}
    learner = learner_of(SGDClassifier(**settings), (x, y))
    at = learner.start()
    trained = learner.train(at, learner.init(at), None, 3, 0, root(5))
    by_hand = SGDClassifier(**settings)
    for step in range(3):
        rows = learner._rows_at(p2pfl_order(root(5)), step).numpy()
        by_hand.partial_fit(learner._x[rows], learner._y[rows], classes=[0, 1])
    assert np.allclose(trained.x.numpy(), [*by_hand.coef_[0], by_hand.intercept_[0]], atol=1e-6)


def p2pfl_order(key):
    from p2pfl.core.noise import derive

    return derive(key, "order")


@pytest.mark.parametrize(
    "estimator",
    [pytest.param(SGDClassifier(loss="log_loss"), marks=pytest.mark.slow), LogisticRegression()],
    ids=str,
)
def test_nodes_with_other_classes_learn_all_of_them(estimator):
    """Four nodes with two or three digits each come to what one estimator makes of all of them."""
    app = p2pfl.adapt(estimator, DIGITS)
    data = {"partition": {"by": "shards", "shards_per_node": 3}}
    run = p2pfl.simulate(
        app, nodes=4, engine="dense", pace={"mode": "lockstep", "rounds": 24, "evaluate": 24}, data=data
    )
    assert run.summary["failures"] == {}
    assert run.rounds[-1]["accuracy"] > 0.86


def test_numbers_are_learned_too():
    run = p2pfl.simulate(
        p2pfl.adapt(SGDRegressor(), DIABETES), nodes=4, engine="dense", pace={"mode": "lockstep", "rounds": 30}
    )
    mean = float(np.mean(np.square(DIABETES[1])))
    assert run.rounds[-1]["loss"] < 0.62 * mean  # least squares on everything comes to about half


WRONG = [
    (Ridge(), DIABETES, "Ridge: expected a linear estimator .* that can go on"),
    (MLPClassifier(), DIGITS, "MLPClassifier: expected a linear estimator"),
    (KMeans(), DIGITS, "KMeans: expected a linear estimator"),
    (make_pipeline(StandardScaler(), SGDClassifier()), DIGITS, "Pipeline: expected a linear estimator"),
    (SGDClassifier(average=True), DIGITS, "average=False"),
    (SGDClassifier(early_stopping=True), DIGITS, "early_stopping=False"),
    (SGDClassifier(), (DIGITS[0], DIGITS[1][:-1]), "1797"),
    (SGDClassifier(), DIGITS[0], "pair"),
    (SGDRegressor(), ([["a"]], [1.0]), "arrays of numbers"),
]


@pytest.mark.parametrize(("estimator", "pair", "sentence"), WRONG, ids=[s for _, _, s in WRONG])
def test_what_does_not_fit_is_one_line(estimator, pair, sentence):
    with pytest.raises(ConfigError, match=sentence) as caught:
        p2pfl.adapt(estimator, pair)
    assert "\n" not in str(caught.value)


def test_an_estimator_without_data_is_for_documents_that_name_them():
    app = p2pfl.adapt(SGDClassifier())
    with pytest.raises(ConfigError, match=r"expected data=\.\.\., or a document"):
        p2pfl.simulate(app, nodes=3)
    document = {"model": {"name": "linear", "input_shape": [30], "num_classes": 2}, "data": {"source": "breast_cancer"}}
    with pytest.raises(ConfigError, match="adapted with it"):
        p2pfl.simulate(document, nodes=3, train={"learner": f"{hold(app)}.learner"})
    document["model"]["name"] = f"{hold(app)}.model"
    run = p2pfl.simulate(document, nodes=3, pace={"rounds": 10}, train={"learner": f"{hold(app)}.learner"})
    assert run.rounds[-1]["accuracy"] > 0.9


def hold(app):
    from p2pfl.adapters.held import hold

    return hold(app)
