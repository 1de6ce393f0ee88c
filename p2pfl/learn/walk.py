"""Some local steps on a loaded model, and its judgement: the loop that a node and a simulated one share.

Knows models, losses and optimisers; knows no node, and not where a batch is from.
"""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from math import isfinite
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from p2pfl.core.noise import Key, derive, generator, seed64
from p2pfl.errors import TrainingError
from p2pfl.learn.data import Data
from p2pfl.learn.flat import FlatModel
from p2pfl.learn.losses import Loss, num_right, sure_of
from p2pfl.learn.training import Evaluation, Training

EVALUATION_BATCH = 1024

BatchAt = Callable[[int], tuple[Tensor, Tensor]]
"""Absolute step number -> inputs and targets."""


class Told(NamedTuple):
    """Of each step, on the model's device: the loss before it, the direction's length, and how many were right."""

    losses: list[Tensor]
    norms: list[Tensor]
    right: list[Tensor | None]


class Slope(NamedTuple):
    """Of one step: the gradient (W,), valid until the next; the loss before it, and how many were right."""

    gradient: Tensor
    loss: Tensor
    right: Tensor | None


@dataclass(frozen=True, eq=False)
class Walk:
    """How steps are taken: `lr` of the round, `weight` of this node's data."""

    model: FlatModel
    loss: Loss
    training: Training
    lr: float
    weight: float = 1.0
    still: Tensor | None = None  # (W,) bool: what stays as it is

    @property
    def draws(self) -> bool:
        """Whether a step may draw random numbers; one that cannot need not be prepared for it."""
        return self.model.draws or callable(self.training.loss)

    def go(
        self, slots: Mapping[str, Tensor], z: Tensor | None, first: int, steps: int, batch_at: BatchAt, noise: Key
    ) -> Told:
        """Steps `first` to `first + steps` from the loaded model, which moves, as the slots do.

        z (W,) is the drift correction. `noise` is what dropout draws from.
        """
        model, lr, mu, scale = self.model, self.lr, self.training.prox_mu, self.training.scale(steps)
        still = None if self.still is None else self.still.to(model.device)
        start = model.vector.clone() if mu or scale != 1.0 or still is not None else model.vector
        model.set_training(True)
        weights, told = model.weights, Told([], [], [])
        with _own_randomness(model.device) if self.draws else nullcontext():
            for at in range(first, first + steps):
                inputs, targets = batch_at(at)
                if self.draws:
                    _seed(seed64(derive(noise, at)), model.device)
                gradient, loss, right = self.slope(at, inputs, targets)
                if mu:
                    gradient.add_(weights - start[: model.num_weights], alpha=mu)
                if still is not None:
                    gradient.masked_fill_(still, 0.0)
                norm = self.training.optimizer.update_(weights, gradient, slots, at, lr * self.weight)
                if z is not None:
                    weights.sub_(z, alpha=lr)
                if still is not None:
                    hold(weights, start[: model.num_weights], slots, still)
                told.norms.append(norm * self.weight)
                told.losses.append(loss)
                told.right.append(right)
        if scale != 1.0:  # the weights only: running statistics must stay between old and new
            weights.copy_(torch.lerp(start[: model.num_weights], weights, scale))
        return told

    def slope(self, at: int, inputs: Tensor, targets: Tensor) -> Slope:
        """The gradient (W,) of step `at` over its batch; what a private walk does otherwise."""
        align = self.training.align
        if align is None:
            outputs = self.model.module(inputs)
            loss = self.loss(outputs, targets)
            return Slope(self.model.backward(loss), loss.detach(), num_right(outputs, targets))
        outputs, penalty = align.forward(self.model.module, inputs, at)
        loss = self.loss(outputs, targets)
        return Slope(self.model.backward(loss + penalty), loss.detach(), num_right(outputs, targets))


def hold(x: Tensor, start: Tensor, slots: Mapping[str, Tensor], still: Tensor) -> None:
    """What is still goes back to where it was, whatever weight decay or a drift correction did, and gathers no
    momentum. x, start and still (.., W)."""
    x.copy_(torch.where(still, start, x))
    for slot in slots.values():
        if slot.shape == x.shape:
            slot.masked_fill_(still, 0.0)


def judge(model: FlatModel, loss: Loss, data: Data) -> Evaluation:
    """Mean loss, accuracy and sureness of the loaded model on `data`, which is not empty."""
    model.set_training(False)
    total, right, sure = 0.0, [], []
    with torch.no_grad():
        for inputs, targets in batches(data):
            outputs = model.module(inputs)
            total += float(loss(outputs, targets)) * len(inputs)
            right.append(num_right(outputs, targets))
            sure.append(sure_of(outputs, targets))
    shares = [accuracy_of(data, column, len(data)) for column in (right, sure)]
    return Evaluation(total / len(data), shares[0], len(data), shares[1])


def batches(data: Data) -> list[tuple[Tensor, Tensor]]:
    """All of it, in pieces that fit into memory beside a model."""
    pairs = zip(torch.split(data.x, EVALUATION_BATCH), torch.split(data.y, EVALUATION_BATCH), strict=True)
    return list(pairs)


def pass_order(order: Key, number: int, count: int) -> NDArray[np.int64]:
    """The order of `count` samples in pass `number`: what does not fill a batch at its end is left out."""
    return generator(derive(order, number)).permutation(count).astype(np.int64)


def accuracy_of(data: Data, right: list[Tensor | None], samples: int) -> float | None:
    counts = [count for count in right if count is not None]
    return sum(floats(counts)) / (samples * data.positions) if counts and data.num_classes else None


def mean_loss(losses: tuple[float, ...], norms: tuple[float, ...], first: int, round: int, lr: float) -> float:
    """Raises TrainingError at the first step whose loss or direction is not finite."""
    for at, (loss, norm) in enumerate(zip(losses, norms, strict=True), first):
        if not (isfinite(loss) and isfinite(norm)):
            what = f"the loss is {loss}" if not isfinite(loss) else f"the update's norm is {norm}"
            raise TrainingError(f"round {round}, step {at}: {what}; try a learning rate below {lr:g}")
    return sum(losses) / len(losses) if losses else 0.0


def floats(values: list[Tensor]) -> tuple[float, ...]:
    """One transfer from the device for all."""
    return tuple(torch.stack(values).tolist()) if values else ()


def _own_randomness(device: torch.device) -> AbstractContextManager[None]:
    """What is drawn from torch's generators inside leaves them as they were outside."""
    return torch.random.fork_rng(devices=[device] if device.type == "cuda" else [])


def _seed(seed: int, device: torch.device) -> None:
    torch.default_generator.manual_seed(seed)
    if device.type == "cuda":
        torch.cuda.manual_seed(seed)
