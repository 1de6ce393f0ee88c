"""A learner on a machine of a given speed: the built-in one, which then waits until so many steps would be done.

It writes down when each phase began, and with which model, so that a network can be judged from outside.
"""

from pathlib import Path
from time import monotonic, sleep

import numpy as np
from torch import Tensor

from p2pfl.core.noise import Key
from p2pfl.learn.data import Splits
from p2pfl.learn.flat import FlatModel
from p2pfl.learn.learner import TorchLearner
from p2pfl.learn.optim import OptState
from p2pfl.learn.training import Trained, Training


class Slow(TorchLearner):
    """A step of a usual batch takes step_s, one of half the batch half of that; or what it takes if that is longer."""

    def __init__(self, model: FlatModel, splits: Splits, training: Training, step_s: float, told: str) -> None:
        super().__init__(model, splits, training)
        self.example_s = step_s / self._batch
        self.told = Path(told)

    def train(
        self, x: Tensor, state: OptState, shift: Tensor | None, steps: int, round: int, key: Key, weight: float = 1.0
    ) -> Trained:
        begun = monotonic()
        with self.told.open("ab") as file:
            file.write(np.float64(begun).tobytes() + x.numpy().astype(np.float32).tobytes())
        trained = super().train(x, state, shift, steps, round, key, weight)
        sleep(max(begun + steps * self._batch * self.example_s - monotonic(), 0.0))
        return trained


def read_told(path: Path, size: int) -> tuple[np.ndarray, np.ndarray]:
    """When each phase of a node began (N,), and the model that it began with (N, P)."""
    raw = np.frombuffer(path.read_bytes(), np.dtype([("at", np.float64), ("x", np.float32, (size,))]))
    return raw["at"], raw["x"]
