"""A node's own copy of the shared model, tuned to its own data, which never leaves it. Knows no neighbour.

Legend: P values in a model, C classes.

    1. prior: the output bias moves by log of how often each class is among the node's training labels (half a sample
       is added to each), so the copy begins with p(y | x) as it is under the node's own labels, if the shared model's
       is that of equally frequent ones;
    2. local steps without drift correction; every `look` steps the loss on the validation part is taken, and the copy
       is the model with the least, the shared one and that after 1. included; it ends after `patience` steps without
       a better one.

Sources: 1. Saerens, Latinne, Decaestecker 2002, equation 2.4, for classes that the shared model was trained on alike;
2. fine-tuning as in Yu, Bagdasaryan, Shmatikov 2020, section 3. Differs from the papers in: early stopping decides by
the node's own validation examples whether either is used at all.

`own` accuracy is the common test set's, each class weighed by its share of the node's own labels; a class that the
test set lacks is left out.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from p2pfl.core.noise import Key, derive
from p2pfl.errors import ConfigError
from p2pfl.learn.data import Data, Splits
from p2pfl.learn.flat import FlatModel
from p2pfl.learn.learner import Learner
from p2pfl.learn.losses import num_right
from p2pfl.learn.walk import batches

SMOOTHING = 0.5
"""Of a class that the node has no example of: as if half a one."""
BIAS_ERROR_MAX = 1e-3
"""By how much an output may miss its bias's move, relative to the move."""


@dataclass(frozen=True, slots=True)
class Personal:
    """`steps` at most; a judgement every `look` steps; `patience` in steps; `lr` None: a quarter of the learner's."""

    steps: int
    look: int = 5
    patience: int = 30
    lr: float | None = None
    prior: bool = True


@dataclass(frozen=True, slots=True)
class Figures:
    """How good a model is for this node. accuracy: of the common test set; own: see above. None: not known."""

    accuracy: float | None
    own: float | None
    loss: float  # on the validation part


@dataclass(frozen=True, slots=True, eq=False)
class Copy:
    """What came of it: the copy x (P,), after so many steps; 0 and the shared model if nothing was better."""

    x: Tensor
    steps: int
    prior: bool
    shared: Figures
    personal: Figures

    def told(self) -> Mapping[str, float | int | bool | None]:
        """As an event's fields."""
        return {
            "steps": self.steps,
            "prior": self.prior,
            "accuracy": self.personal.accuracy,
            "own_accuracy": self.personal.own,
            "validation_loss": self.personal.loss,
            "shared_accuracy": self.shared.accuracy,
            "shared_own_accuracy": self.shared.own,
            "shared_validation_loss": self.shared.loss,
        }


class Personaliser:
    """Makes the copies of one node. Raises ConfigError if there is nothing to stop by.

    `learner` trains in the clear: what it makes is not told to anybody.
    """

    def __init__(self, learner: Learner, model: FlatModel, splits: Splits, settings: Personal) -> None:
        self.learner, self.model, self.settings = learner, model, settings
        self._test = splits.test.to(model.device, model.dtype)
        if not learner.num_samples("validation"):
            raise ConfigError(
                "personal.steps: expected validation examples to stop by, got none of this node's "
                f"{len(splits.train)}; set data.validation_fraction higher, or personal.steps = 0"
            )
        self._labels = _frequencies(splits.train)
        self._own = _frequencies(splits.train, splits.validation)

    def copy(self, x: Tensor, key: Key) -> Copy:
        """The copy of x (P,); `key` is the node's training key. A pure function, for a worker."""
        begin = self._with_prior(x) if self.settings.prior else None
        shared_loss = self._loss(x)
        best, least, taken = x, shared_loss, 0
        if begin is not None and (loss := self._loss(begin)) < least:
            best, least = begin, loss
        tuned, state = best, self.learner.init(x)
        used_prior, settings = best is not x, self.settings
        weight = self._weight()
        for at in range(0, settings.steps, settings.look):
            steps = min(settings.look, settings.steps - at)
            trained = self.learner.train(tuned, state, None, steps, 0, derive(key, "personal"), weight=weight)
            tuned, state = trained.x, trained.state
            if (loss := self._loss(tuned)) < least:
                best, least, taken = tuned, loss, at + steps
            elif at + steps - taken >= settings.patience:
                break
        return Copy(best, taken, used_prior, self._figures(x, shared_loss), self._figures(best, least))

    def _weight(self) -> float:
        """What makes the learner's first rate the wanted one."""
        lr = self.settings.lr
        return 0.25 if lr is None else lr / self.learner.lr_at(0)

    def _loss(self, x: Tensor) -> float:
        return self.learner.evaluate(x, "validation").loss

    def _figures(self, x: Tensor, loss: float) -> Figures:
        accuracy = self.learner.evaluate(x, "test").accuracy if len(self._test) else None
        return Figures(accuracy, self._own_accuracy(x), loss)

    def _own_accuracy(self, x: Tensor) -> float | None:
        """None without classes, one label a sample, and a test set."""
        if self._own is None or not len(self._test) or self._test.positions != 1:
            return None
        right = self._right(x)
        if right is None:
            return None
        total, seen = 0.0, 0.0
        for label, share in enumerate(self._own.tolist()):
            of_it = self._test.y == label
            if share and bool(of_it.any()):
                total, seen = total + share * float(right[of_it].double().mean()), seen + share
        return total / seen if seen else None

    def _right(self, x: Tensor) -> Tensor | None:
        """Of each test sample, whether the model is right (n,)."""
        outputs = self._outputs(x)
        if num_right(outputs, self._test.y) is None:
            return None
        right: Tensor = outputs.argmax(-1) == self._test.y
        return right

    def _outputs(self, x: Tensor) -> Tensor:
        self.model.load(x)
        self.model.set_training(False)
        with torch.no_grad():
            return torch.cat([self.model.module(inputs) for inputs, _ in batches(self._test)])

    # -------------------------------------------------------------------------------------------- the prior

    def _with_prior(self, x: Tensor) -> Tensor | None:
        """x with the labels' frequencies in its output bias; None if the model has none that does just that."""
        if self._labels is None or not len(self._test):
            return None
        last = [spec for spec in self.model.schema.params if spec.group == "weights"][-1]
        if last.shape != tuple(self._labels.shape):
            return None
        counts = self._labels * self.learner.num_samples("train")
        move = (counts + SMOOTHING).log()
        move = (move - move.mean()).to(x.dtype)
        moved = x.clone()
        self.model.schema.unflatten(moved)[last.name].add_(move)
        return moved if self._is_bias(x, moved, move) else None

    def _is_bias(self, x: Tensor, moved: Tensor, move: Tensor) -> bool:
        """Whether the outputs follow what should be their bias."""
        before, after = self._outputs(x), self._outputs(moved)
        scale = float(move.abs().max()) or 1.0
        return before.shape[-1:] == move.shape and float((after - before - move).abs().max()) <= BIAS_ERROR_MAX * scale


def _frequencies(*parts: Data) -> Tensor | None:
    """Each class's share of the labels (C,) float64; None without classes, or with several labels a sample."""
    data = parts[0]
    if not data.num_classes or data.positions != 1:
        return None
    counts = sum(torch.bincount(part.y, minlength=data.num_classes) for part in parts if len(part))
    assert isinstance(counts, Tensor)
    return counts.double() / counts.sum()
