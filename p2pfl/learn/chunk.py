"""Some nodes' local phases as one value, and the steps that batched engines share. Knows no particular model.

Legend: n nodes in a chunk, P values in a model, W of them trainable, H local steps, B samples in a batch.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple, Protocol, TypeVar

import torch
from torch import Tensor

from p2pfl.core.noise import Key
from p2pfl.learn.data import Data
from p2pfl.learn.losses import Loss
from p2pfl.learn.optim import SGD
from p2pfl.learn.training import Evaluation, Training
from p2pfl.learn.walk import batches, hold

Said = TypeVar("Said")


@dataclass(frozen=True, slots=True, eq=False)
class Chunk:
    """What n nodes that do alike are to do. Tensors may be views of the network's state."""

    x: Tensor  # (n, P)
    slots: dict[str, Tensor]  # the optimiser's, each (n, W)
    shift: Tensor | None  # (n, W)
    inputs: Tensor  # (n, H, B, ...)
    targets: Tensor  # (n, H, B, ...)
    lr: tuple[float, ...]  # (n)
    weight: tuple[float, ...]  # (n)
    first: tuple[int, ...]  # (n)
    noise: tuple[Key, ...]  # (n)
    still: Tensor | None = None  # (n, W) bool: what stays as it is
    directions: bool = True  # whether the lengths of the steps are wanted

    def head(self, count: int) -> "Chunk":
        """Its first nodes."""
        return replace(
            self,
            x=self.x[:count],
            slots={name: slot[:count] for name, slot in self.slots.items()},
            shift=None if self.shift is None else self.shift[:count],
            still=None if self.still is None else self.still[:count],
            **{name: getattr(self, name)[:count] for name in ("inputs", "targets", "lr", "weight", "first", "noise")},
        )


class Outcome(NamedTuple):
    """What came of it."""

    x: Tensor  # (n, P)
    slots: dict[str, Tensor]
    losses: Tensor  # (n, H) before each step
    norms: Tensor  # (n, H) of the optimiser's directions
    right: Tensor | None  # (n, H) how many samples were right


class Unfit(Exception):
    """An engine cannot train this model; says why. Raised when the engine is made."""


class Engine(Protocol):
    chunk: int
    """Nodes that it likes to train at a time."""

    def run(self, chunk: Chunk, in_place: bool = False) -> Outcome:
        """in_place: the chunk's x and slots may be changed, and be the outcome's; else they are left alone."""
        ...

    def judge(self, x: Tensor, data: Data) -> list[Evaluation]:
        """Mean loss and accuracy of each row of x (n, P) on the same data."""
        ...


class Told(NamedTuple):
    losses: Tensor  # (n, H)
    right: Tensor | None  # (n, H)


class Calculus(Protocol[Said]):
    """What an engine knows of its model."""

    def gradient(self, x: Tensor, inputs: Tensor, targets: Tensor, g: Tensor) -> tuple[Tensor, Said]:
        """The gradients (n, P) at x (n, P) of a batch (n, B, ...), in g (n, P) or a tensor of their own; for `told`."""
        ...

    def told(self, said: Sequence[Said], targets: Tensor) -> Told:
        """Losses and right answers of all steps; targets (n, H, B, ...)."""
        ...


def descend(chunk: Chunk, training: Training, calculus: Calculus[Said], in_place: bool) -> Outcome:
    """H steps of all nodes side by side: Walk's loop (learn/walk.py) over a node axis. All values are weights."""
    mu, scale = training.prox_mu, training.scale(chunk.inputs.shape[1])
    x, slots, start = chunk.x, chunk.slots, chunk.x
    still = chunk.still
    if mu or scale != 1.0 or not in_place or still is not None:
        x = chunk.x.clone()
    if not in_place:
        slots = {name: slot.clone() for name, slot in chunk.slots.items()}
    g = torch.empty_like(x)
    lr, weighted = rates(chunk)
    said, norms = [], []
    unmeasured = g.new_zeros(len(g)) if plain(training) and not chunk.directions else None
    for at in range(chunk.inputs.shape[1]):
        gradient, step = calculus.gradient(x, chunk.inputs[:, at], chunk.targets[:, at], g)
        said.append(step)
        if mu:
            gradient.add_(x - start, alpha=mu)
        if still is not None:
            gradient.masked_fill_(still, 0.0)
        if unmeasured is not None:
            take(x, gradient, weighted)
            norms.append(unmeasured)
        else:
            done = _count([first + at for first in chunk.first])
            norms.append(training.optimizer.update_(x, gradient, slots, done, weighted))
        if chunk.shift is not None:
            take(x, chunk.shift, lr)
        if still is not None:
            hold(x, start, slots, still)
    if scale != 1.0:
        x = torch.lerp(start, x, scale)
    told = calculus.told(said, chunk.targets)
    return Outcome(x, slots, told.losses, weigh(torch.stack(norms, dim=1), chunk), told.right)


def weigh(lengths: Tensor, chunk: Chunk) -> Tensor:
    """The lengths of steps (n, H), in place, as the nodes' data weigh."""
    if any(weight != 1.0 for weight in chunk.weight):
        lengths *= torch.tensor(chunk.weight, dtype=lengths.dtype).unsqueeze(1)
    return lengths


def take(x: Tensor, d: Tensor, lr: float | Tensor) -> None:
    """x -= lr d, in place."""
    if isinstance(lr, float):
        x.sub_(d, alpha=lr)
    else:
        x.sub_(lr * d)


def rates(chunk: Chunk) -> tuple[float | Tensor, float | Tensor]:
    """The learning rates, of the shift and of the gradients: a number where all are alike, else (n, 1)."""
    weighted = [a * b for a, b in zip(chunk.lr, chunk.weight, strict=True)]
    return _rate(chunk.lr, chunk.x), _rate(weighted, chunk.x)


def _rate(values: Sequence[float], like: Tensor) -> float | Tensor:
    """One number if all are alike, else (n, 1)."""
    if all(value == values[0] for value in values):
        return values[0]
    return torch.tensor(values, dtype=like.dtype).unsqueeze(1)


def _count(values: Sequence[int]) -> int | Tensor:
    if all(value == values[0] for value in values):
        return values[0]
    return torch.tensor(values, dtype=torch.float64).unsqueeze(1)


def plain(training: Training) -> bool:
    """Whether a step is x - lr g and nothing else."""
    optimizer = training.optimizer
    if training.unfreeze is not None:
        return False
    return type(optimizer) is SGD and not (optimizer.weight_decay or training.prox_mu or training.normalise)


def judge_rows(outputs: Callable[[Tensor], Tensor], count: int, data: Data, loss: Loss) -> list[Evaluation]:
    """Walk's `judge` over a node axis. outputs: inputs (B, ...) -> (n, B, ...), of each of the `count` models."""
    total, right = [0.0] * count, torch.zeros(count, dtype=torch.int64)
    counts = False
    with torch.no_grad():
        for inputs, targets in batches(data):
            for row, out in enumerate(told := outputs(inputs)):
                total[row] += float(loss(out, targets)) * len(inputs)
            if not targets.is_floating_point() and told.shape[1:-1] == targets.shape:
                counts, right = True, right + (told.argmax(-1) == targets).flatten(1).sum(1)
    seen = len(data) * data.positions
    shares = [found / seen if counts and data.num_classes else None for found in right.tolist()]
    return [Evaluation(t / len(data), share, len(data)) for t, share in zip(total, shares, strict=True)]
