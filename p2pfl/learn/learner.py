"""One node's local training: some gradient steps on its own data. Knows no neighbour, message or clock.

The local step (x model, g gradient, z drift correction, weights only):

    x <- opt.step(x, g);   x <- x - lr z;   work += lr;   steps += 1

Two options for unlike data and machines, off by default:

- `prox_mu` (FedProx; Li, Sahu et al. 2020, equation 2): g + prox_mu (x - x_start), which holds a phase near its start;
- `normalise` (after FedNova; Wang et al. 2020, equation 8): the phase's movement counts as that of so many steps,
  x' = x_start + normalise / steps (x - x_start), and its work alike; so a node that does many steps does not pull the
  mean towards its own optimum. Differs from the paper in: the plain number of steps also with momentum, because the
  optimiser's state lives on between phases.

Laws. A call is pure: same arguments, same result, and no argument is changed in place. Batches and dropout are a
function of (key, absolute step number), the learning rate of the round; so a node that was killed continues its pass
over the data where it was, and with one round's rate and no such option train(a + b steps) equals train(a) then
train(b).
Vectors go in from any device and come out on the device of x.
"""

from collections.abc import Callable
from copy import copy
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from p2pfl.core.noise import Key, derive
from p2pfl.core.vectors import ParamSchema
from p2pfl.errors import ConfigError
from p2pfl.learn.align import layer_of
from p2pfl.learn.data import SplitName, Splits
from p2pfl.learn.flat import FlatModel
from p2pfl.learn.losses import default_loss
from p2pfl.learn.optim import OptState
from p2pfl.learn.training import Evaluation, Trained, Training
from p2pfl.learn.unfreeze import stillness
from p2pfl.learn.walk import Walk, accuracy_of, floats, judge, mean_loss, pass_order


class NotPooled(ConfigError):
    """No single learner can have the data of several nodes: they are not the network's to hand out."""


class Learner(Protocol):
    """What a node needs of local learning."""

    @property
    def schema(self) -> ParamSchema: ...

    def start(self) -> Tensor:
        """The starting model (P,), the same at every node with the same configuration."""
        ...

    def start_digest(self) -> bytes:
        """32 bytes over the starting model and everything that the vector does not hold."""
        ...

    def init(self, x: Tensor) -> OptState:
        """The optimiser's state before the first step."""
        ...

    def lr_at(self, round: int) -> float:
        """The learning rate of a round."""
        ...

    def train(
        self, x: Tensor, state: OptState, shift: Tensor | None, steps: int, round: int, key: Key, weight: float = 1.0
    ) -> Trained:
        """`steps` local steps from x (P,), with the drift correction `shift`, (W,) or (P,), in gradient units.

        `weight` multiplies the optimiser's steps (not the shift): how much this node's data count.

        `key` belongs to the node and stays the same for the whole run. Raises TrainingError when the loss or the
        direction is not finite.
        """
        ...

    def evaluate(self, x: Tensor, split: SplitName) -> Evaluation:
        """Mean loss and accuracy of x (P,) on one part of the node's data. Raises ConfigError if that is empty."""
        ...

    def num_samples(self, split: SplitName) -> int: ...


@runtime_checkable
class TakesBatches(Protocol):
    """A learner whose batches may be of another size than the configuration's."""

    def sized(self, batch: int) -> Learner:
        """The same learner with batches of so many examples, or of all that there are."""
        ...


def sized(learner: Learner, batch: int) -> Learner:
    """With batches of so many examples, if it takes any."""
    return learner.sized(batch) if isinstance(learner, TakesBatches) else learner


class TorchLearner:
    """A Learner over a `FlatModel`. Learners that run one after another, as in a simulator, may share one model."""

    def __init__(self, model: FlatModel, splits: Splits, training: Training) -> None:
        self.model = model
        self.training = training
        self._data = {name: splits[name].to(model.device, model.dtype) for name in splits.names}
        if not len(splits.train):
            raise ConfigError(f"{splits.train.name}: this node has no training samples")
        self._train = self._data["train"]
        self._batch = min(training.batch_size, len(self._train))
        self._sizes: dict[int, TorchLearner] = {self._batch: self}  # one for all of them
        self._passed: tuple[Key, int, Tensor] | None = None
        self._loss = training.loss if callable(training.loss) else default_loss(splits.train.num_classes)
        self.stillness = stillness(model.schema, training.unfreeze)
        if training.align is not None:
            layer_of(model.module, training.align.layer)
        self._check_outputs()

    @property
    def schema(self) -> ParamSchema:
        return self.model.schema

    def start(self) -> Tensor:
        return self.model.start()

    def start_digest(self) -> bytes:
        return self.model.start_digest()

    def init(self, x: Tensor) -> OptState:
        return self.training.optimizer.init(x[: self.model.num_weights])

    def lr_at(self, round: int) -> float:
        return self.training.lr * self.training.schedule(round / self.training.num_rounds)

    def num_samples(self, split: SplitName) -> int:
        return len(self._data[split])

    def sized(self, batch: int) -> "TorchLearner":
        """Both share model and data. Batches of a size are as if all before had been of it."""
        batch = min(batch, len(self._train))
        if batch not in self._sizes:
            self._sizes[batch] = copy(self)
            self._sizes[batch]._batch = batch
        return self._sizes[batch]

    def train(
        self, x: Tensor, state: OptState, shift: Tensor | None, steps: int, round: int, key: Key, weight: float = 1.0
    ) -> Trained:
        model, lr, first = self.model, self.lr_at(round), state.steps
        z, slots = self._shift(shift), state.copy_to(model.device)
        model.load(x)
        order = derive(key, "order")
        walk = Walk(model, self._loss, self.training, lr, weight, self.still_at(round))
        told = walk.go(slots, z, first, steps, lambda at: self._batch_at(order, at), derive(key, "dropout"))
        after = model.read()
        directions = floats(told.norms)
        return Trained(
            x=after.to(x.device),
            state=OptState(first + steps, slots).to(x.device),
            work=self.training.work(lr, steps),
            directions=directions,
            loss=mean_loss(floats(told.losses), directions, first, round, lr),
            samples=self._batch * steps,
            accuracy=accuracy_of(self._train, told.right, self._batch * steps),
        )

    def evaluate(self, x: Tensor, split: SplitName) -> Evaluation:
        data = self._data[split]
        if not len(data):
            raise ConfigError(f"{data.name}: this node has no {split} samples")
        self.model.load(self.model.in_use(x))
        return judge(self.model, self._loss, data)

    def still_at(self, round_: int) -> Tensor | None:
        """What is not learned yet in a round (W,), if anything."""
        return None if self.stillness is None else self.stillness.at(round_)

    def _batch_at(self, order: Key, step: int) -> tuple[Tensor, Tensor]:
        rows = self._rows_at(order, step)
        return self._train.x.index_select(0, rows), self._train.y.index_select(0, rows)

    def _rows_at(self, order: Key, step: int) -> Tensor:
        """Batch `step` of the run. Each pass is a fresh permutation; what does not fill a batch waits for the next."""
        number, place = divmod(step, len(self._train) // self._batch)
        if self._passed is None or self._passed[:2] != (order, number):  # a cache of a pure function
            rows = pass_order(order, number, len(self._train))
            self._passed = (order, number, torch.from_numpy(rows).to(self.model.device))
        return self._passed[2][place * self._batch : (place + 1) * self._batch]

    def _shift(self, shift: Tensor | None) -> Tensor | None:
        if shift is None:
            return None
        if shift.shape not in {(self.model.num_weights,), (self.schema.size,)}:
            raise ValueError(f"expected a shift of {self.model.num_weights} values, got {tuple(shift.shape)}")
        return shift[: self.model.num_weights].to(self.model.device)

    def _check_outputs(self) -> None:
        """One small batch through the model now, so that a wrong shape is an error of the configuration."""
        inputs, targets = self._train.x[:2], self._train.y[:2]
        shape = tuple(inputs.shape[1:])
        self.model.set_training(False)
        try:
            with torch.no_grad():
                outputs = self.model.module(inputs)
        except (RuntimeError, ValueError, TypeError, IndexError, AssertionError) as error:
            raise ConfigError(f"the model does not take inputs of shape {shape}: {_first_line(error)}") from error
        if not isinstance(outputs, Tensor):
            raise ConfigError(f"expected the model to return one tensor, got {type(outputs).__name__}")
        classes = self._train.num_classes
        if self.training.loss == "auto" and classes and tuple(outputs.shape) != (*targets.shape, classes):
            each = tuple(outputs.shape[1:])
            raise ConfigError(f"expected the model to give {(*targets.shape[1:], classes)} a sample, got {each}")
        try:
            loss = self._loss(outputs, targets)
        except (RuntimeError, ValueError, TypeError, IndexError) as error:
            raise ConfigError(f"the loss does not fit the model's outputs: {_first_line(error)}") from error
        if not isinstance(loss, Tensor) or loss.numel() != 1:
            raise ConfigError("expected the loss to return one number as a tensor")


LEARNERS: dict[str, Callable[..., Learner]] = {"torch": TorchLearner}
"""What a configuration may name. Called with those of `model`, `splits` and `training` that it has parameters for."""


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
