"""A learner of one's own: sharpness-aware minimisation. Each step takes the gradient a little uphill of the model.

    g = grad(x);   x <- opt.step(x, grad(x + rho g / |g|))

It inherits from the built-in learner what stays as it is (start, evaluation, learning rate, the optimiser's state) and
writes `train` anew. Source: Foret et al. 2021 (SAM), algorithm 1.

    [train]
    learner = "own_learner.py:Sharp"
    learner_args = { rho = 0.02 }
"""

import torch
from torch import Tensor

from p2pfl.core.noise import Key, derive, generator
from p2pfl.errors import ConfigError, TrainingError
from p2pfl.learn.data import Splits
from p2pfl.learn.flat import FlatModel
from p2pfl.learn.learner import TorchLearner
from p2pfl.learn.losses import default_loss
from p2pfl.learn.optim import OptState
from p2pfl.learn.training import Trained, Training


class Sharp(TorchLearner):
    """Called with those of `model`, `splits` and `training` that it has parameters for; the rest are learner_args."""

    def __init__(self, model: FlatModel, splits: Splits, training: Training, rho: float = 0.05) -> None:
        if not rho >= 0:
            raise ConfigError(f"rho: expected a number of at least 0, got {rho}")
        super().__init__(model, splits, training)
        self.rho = rho
        self.data = splits.train.to(model.device, model.dtype)
        self.batch = min(training.batch_size, len(self.data))
        self.loss = default_loss(splits.train.num_classes)

    def train(
        self, x: Tensor, state: OptState, shift: Tensor | None, steps: int, round: int, key: Key, weight: float = 1.0
    ) -> Trained:
        """What it draws comes from `key` and the number of the step, so a restart repeats nothing and skips nothing."""
        lr, slots = self.lr_at(round), state.copy_to(self.model.device)
        self.model.load(x)
        self.model.set_training(True)
        weights, losses, norms = self.model.weights, [], []
        for step in range(state.steps, state.steps + steps):
            rows = generator(derive(key, "sharp", step)).integers(len(self.data), size=self.batch)
            loss, gradient = self._gradient(torch.from_numpy(rows))
            uphill = gradient * (self.rho / gradient.norm().clamp(min=1e-12))
            weights.add_(uphill)
            _, gradient = self._gradient(torch.from_numpy(rows))
            weights.sub_(uphill)
            norms.append(float(self.training.optimizer.update_(weights, gradient, slots, step, lr * weight)) * weight)
            if shift is not None:  # the drift correction of the gossip rule
                weights.sub_(shift[: len(weights)].to(weights.device), alpha=lr)
            losses.append(loss)
            if not (loss < float("inf") and norms[-1] < float("inf")):
                raise TrainingError(f"round {round}, step {step}: the loss is {loss}; try a learning rate below {lr:g}")
        return Trained(
            x=self.model.read().to(x.device),
            state=OptState(state.steps + steps, slots).to(x.device),
            work=lr * steps,
            directions=tuple(norms),
            loss=sum(losses) / steps if steps else 0.0,
            samples=self.batch * steps,
            accuracy=None,
        )

    def _gradient(self, rows: Tensor) -> tuple[float, Tensor]:
        rows = rows.to(self.model.device)
        loss = self.loss(self.model.module(self.data.x[rows]), self.data.y[rows])
        return loss.item(), self.model.backward(loss).clone()
