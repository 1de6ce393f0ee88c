"""How a node trains and what came of it, as values. Knows no model and no data."""

from dataclasses import dataclass, field
from math import isfinite
from typing import Literal

from torch import Tensor

from p2pfl.core.limits import ROUNDS_MAX
from p2pfl.errors import ConfigError
from p2pfl.learn.align import Align
from p2pfl.learn.losses import Loss
from p2pfl.learn.optim import SGD, Optimizer, OptState
from p2pfl.learn.schedule import Schedule, Steps
from p2pfl.learn.unfreeze import Unfreezing


@dataclass(frozen=True, slots=True, eq=False)
class Trained:
    """What some local steps gave. `work` is the sum of learning rates, `directions` the optimiser's norm per step.

    `loss` and `accuracy` are means over the batches, each before its step; accuracy is None for regression.
    """

    x: Tensor
    state: OptState
    work: float
    directions: tuple[float, ...]
    loss: float
    samples: int
    accuracy: float | None


@dataclass(frozen=True, slots=True)
class Evaluation:
    """`sureness`: the mean probability of the right class; None where there are no classes."""

    loss: float
    accuracy: float | None
    num_samples: int
    sureness: float | None = None


@dataclass(frozen=True, slots=True)
class Training:
    """How a node trains. The learning rate of a round is lr * schedule(round / num_rounds).

    `prox_mu` and `normalise` (a number of steps): see above; 0 is off.
    `loss` "auto" is cross-entropy for classes and squared error for numbers. `unfreeze` and `align`: see there.
    """

    num_rounds: int
    batch_size: int = 32
    lr: float = 0.2
    optimizer: Optimizer = field(default_factory=SGD)
    schedule: Schedule = field(default_factory=Steps)
    loss: Literal["auto"] | Loss = "auto"
    prox_mu: float = 0.0
    normalise: float = 0.0
    unfreeze: Unfreezing | None = None
    align: Align | None = None

    def __post_init__(self) -> None:
        for name, value in (("prox_mu", self.prox_mu), ("normalise", self.normalise)):
            if not (isfinite(value) and value >= 0):
                raise ConfigError(f"{name}: expected a finite number of at least 0, got {value}")
        if not 1 <= self.num_rounds <= ROUNDS_MAX:
            raise ConfigError(f"rounds: expected 1 to {ROUNDS_MAX}, got {self.num_rounds}")
        if self.batch_size < 1:
            raise ConfigError(f"batch_size: expected at least 1, got {self.batch_size}")
        if not (isfinite(self.lr) and self.lr > 0):
            raise ConfigError(f"lr: expected a finite number above 0, got {self.lr}")

    def scale(self, steps: int) -> float:
        """What the movement of a phase of so many steps is multiplied with."""
        return (self.normalise or steps) / steps if steps else 1.0

    def work(self, lr: float, steps: int) -> float:
        """The sum of learning rates that the phase counts as."""
        return lr * (self.normalise or steps) if steps else 0.0
