"""A linear scikit-learn estimator as a Learner. Knows `coef_`, `intercept_`, `partial_fit` and `warm_start`; knows no
neighbour.

Legend: F features, C classes, R rows of `coef_`: C, or 1 for two classes and for numbers.

What travels is (coef_, intercept_) as float32. One local step is, by what the estimator can do,

- `partial_fit` on one batch (SGDClassifier, SGDRegressor, Perceptron, ...), with the estimator's own learning rate,
- or `fit` on all of the node's samples from where it stands (`warm_start`), for one iteration of its solver
  (LogisticRegression, ElasticNet, Lasso).

With e(x) what the estimator makes of x in a step, s the schedule's factor, w the node's weight and z the drift
correction:

    x <- x + s w (e(x) - x) - lr s z;   work += lr s

`lr` is a unit only: [train] lr is what a direction is divided by, at all nodes alike, and the estimator's own settings
say how far it goes. The schedule comes on top of them, since nodes that go on taking whole steps never quite agree.

Pure, as a Learner must be: the estimator's random state is set from the node's key and the number of the step, and
what it keeps of earlier steps is put back to what that number says.
"""

import warnings
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from p2pfl.core.noise import Key, derive, seed64
from p2pfl.errors import ConfigError
from p2pfl.learn.data import Splits
from p2pfl.learn.flat import FlatModel
from p2pfl.learn.learner import TorchLearner
from p2pfl.learn.optim import OptState
from p2pfl.learn.training import Trained, Training
from p2pfl.learn.walk import mean_loss

Floats = NDArray[np.float64]

KEPT = ("coef_", "intercept_")
SEEDS = 1 << 31
"""scikit-learn takes random states below 2^32."""


class Scores(nn.Module):
    """X (n, ...) -> (n, C) scores, for numbers (n, 1). Two classes have one row of scores r, which count as -r/2, r/2.

    So softmax gives what LogisticRegression's predict_proba gives, and argmax what `predict` gives.
    """

    def __init__(self, num_features: int, num_outputs: int) -> None:
        super().__init__()
        self.two = num_outputs == 2
        rows = 1 if self.two else num_outputs
        self.coef = nn.Parameter(torch.zeros(rows, num_features))
        self.intercept = nn.Parameter(torch.zeros(rows))

    def forward(self, x: Tensor) -> Tensor:
        scores = torch.addmm(self.intercept, x.flatten(1), self.coef.T)
        return torch.cat([-scores / 2, scores / 2], 1) if self.two else scores


class EstimatorLearner(TorchLearner):
    """Judges as the built-in learner does, and lets `estimator`, of which it makes a copy, take the steps."""

    def __init__(self, model: FlatModel, splits: Splits, training: Training, estimator: Any) -> None:
        super().__init__(model, splits, training)
        data = self._data["train"]
        if not isinstance(model.module, Scores):
            raise ConfigError(f"{type(estimator).__name__}: expected the model to be the one that was adapted with it")
        self._regression = not data.num_classes
        self._x: Floats = data.x.flatten(1).cpu().numpy().astype(np.float64)
        self._y = data.y.cpu().numpy()
        self._shape = tuple(model.module.coef.shape)
        self._classes = np.arange(data.num_classes)
        self._in_batches = hasattr(estimator, "partial_fit")
        self._own = copied(estimator)
        if not self._in_batches:
            self._own.set_params(warm_start=True, max_iter=1)
        self._begin()

    def train(
        self, x: Tensor, state: OptState, shift: Tensor | None, steps: int, round: int, key: Key, weight: float = 1.0
    ) -> Trained:
        factor, lr = self.training.schedule(round / self.training.num_rounds), self.lr_at(round)
        z = None if shift is None else shift.detach().cpu().numpy().astype(np.float64)
        now = x.detach().cpu().numpy().astype(np.float64)
        losses, norms, right = [], [], 0
        for step in range(state.steps, state.steps + steps):
            rows = self._rows(derive(key, "order"), step)
            scores = self._load(now, step, derive(key, "estimator", step))
            loss, hits = self._judge(scores, rows)
            losses.append(loss)
            right += hits
            self._take_step(rows)
            moved = (self._read() - now) * (factor * weight)
            norms.append(float(np.linalg.norm(moved)) / lr)
            now = now + moved if z is None else now + moved - lr * z
        return Trained(
            x=torch.from_numpy(now.astype(np.float32)).to(x),
            state=OptState(state.steps + steps, state.slots),
            work=lr * steps,
            directions=tuple(norms),
            loss=mean_loss(tuple(losses), tuple(norms), state.steps, round, lr),
            samples=self._per_step * steps,
            accuracy=None if self._regression or not steps else right / (self._per_step * steps),
        )

    def init(self, x: Tensor) -> OptState:
        return OptState()

    @property
    def _per_step(self) -> int:
        return self._batch if self._in_batches else len(self._x)

    def _rows(self, order: Key, step: int) -> NDArray[np.int64]:
        if not self._in_batches:
            return np.arange(len(self._x))
        return self._rows_at(order, step).cpu().numpy()

    def _take_step(self, rows: NDArray[np.int64]) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that one iteration is not the end
            if self._in_batches:
                self._own.partial_fit(self._x[rows], self._y[rows])
            else:
                self._fit_all()

    def _fit_all(self) -> None:
        """A sample of every class is added that counts nothing: a node need not have all of them."""
        if self._regression:
            self._own.fit(self._x, self._y)
            return
        x = np.concatenate([self._x, np.zeros((len(self._classes), self._x.shape[1]))])
        y, counts = np.concatenate([self._y, self._classes]), np.ones(len(x))
        counts[len(self._x) :] = 0.0
        self._own.fit(x, y, sample_weight=counts)

    def _begin(self) -> None:
        """One step on two samples, for what an estimator has only afterwards; and to see that it fits."""
        name = type(self._own).__name__
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                if not self._in_batches:
                    self._fit_all()
                elif self._regression:
                    self._own.partial_fit(self._x[:2], self._y[:2])
                else:
                    self._own.partial_fit(self._x[:2], self._y[:2], classes=self._classes)
            except (ValueError, TypeError) as error:
                raise ConfigError(f"{name} does not take this data: {str(error).splitlines()[0]}") from error
        found = np.atleast_2d(self._own.coef_).shape
        if found != self._shape:
            raise ConfigError(f"{name}: expected coef_ of shape {self._shape}, got {found}")
        self._forms = {name: np.shape(getattr(self._own, name)) for name in KEPT}

    def _load(self, now: Floats, step: int, key: Key) -> Floats:
        """The estimator becomes the model `now` before this step; the scores' coefficients as (R, F + 1)."""
        size = self._shape[0] * self._shape[1]
        for name, values in zip(KEPT, (now[:size], now[size:]), strict=True):
            form = self._forms[name]
            held = values.reshape(form).copy() if form else float(values[0])  # a number where there is no intercept
            setattr(self._own, name, held)
        if hasattr(self._own, "t_"):
            self._own.t_ = 1.0 + step * self._batch  # samples seen: what a falling learning rate goes by
        if "random_state" in self._own.get_params():
            self._own.set_params(random_state=seed64(key) % SEEDS)
        return np.concatenate([now[:size].reshape(self._shape), now[size:, None]], 1)

    def _read(self) -> Floats:
        pieces = [np.asarray(getattr(self._own, name), np.float64).reshape(-1) for name in KEPT]
        if len(pieces[1]) != self._shape[0]:
            pieces[1] = np.full(self._shape[0], pieces[1][0])
        return np.concatenate(pieces)

    def _judge(self, coefficients: Floats, rows: NDArray[np.int64]) -> tuple[float, int]:
        """Loss and number of right answers before a step."""
        scores = torch.from_numpy(self._x[rows] @ coefficients[:, :-1].T + coefficients[:, -1])
        if scores.shape[1] == 1 and not self._regression:
            scores = torch.cat([-scores / 2, scores / 2], 1)
        targets = torch.from_numpy(self._y[rows])
        loss = float(self._loss(scores, targets.to(scores.dtype) if self._regression else targets))
        return loss, 0 if self._regression else int((scores.argmax(1) == targets).sum())


def copied(estimator: Any) -> Any:
    """An estimator like this one that has learned nothing. Raises ConfigError if it is none that can be shared."""
    name = type(estimator).__name__
    if not hasattr(estimator, "get_params"):
        raise ConfigError(f"expected a scikit-learn estimator, got {name}")
    from sklearn.base import clone

    own, parameters = clone(estimator), estimator.get_params()
    can_go_on = hasattr(own, "partial_fit") or {"warm_start", "max_iter"} <= parameters.keys()
    if not can_go_on or "hidden_layer_sizes" in parameters or "steps" in parameters:
        raise ConfigError(
            f"{name}: expected a linear estimator with coef_ and intercept_ that can go on from where it stands "
            "(partial_fit, or warm_start), as SGDClassifier, SGDRegressor or LogisticRegression"
        )
    if parameters.get("average"):
        raise ConfigError(f"{name}: expected average=False: the network averages")
    if parameters.get("early_stopping"):
        raise ConfigError(f"{name}: expected early_stopping=False: pace.stop_at stops a network")
    return own
