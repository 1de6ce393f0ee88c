"""A learner on a machine of a given speed: the built-in one, which then waits until so many steps would be done."""

from time import monotonic, sleep

from torch import Tensor

from p2pfl.core.noise import Key
from p2pfl.learn.data import Splits
from p2pfl.learn.flat import FlatModel
from p2pfl.learn.learner import TorchLearner
from p2pfl.learn.optim import OptState
from p2pfl.learn.training import Trained, Training


class Slow(TorchLearner):
    """A step takes step_s, or what it takes if that is longer."""

    def __init__(self, model: FlatModel, splits: Splits, training: Training, step_s: float) -> None:
        super().__init__(model, splits, training)
        self.step_s = step_s

    def train(
        self, x: Tensor, state: OptState, shift: Tensor | None, steps: int, round: int, key: Key, weight: float = 1.0
    ) -> Trained:
        until = monotonic() + steps * self.step_s
        trained = super().train(x, state, shift, steps, round, key, weight)
        sleep(max(until - monotonic(), 0.0))
        return trained
