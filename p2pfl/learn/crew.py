"""The local training of many nodes as one thing: what a simulator needs of it. Knows no neighbour, message or clock.

Legend: N nodes, P values in a model, W of them trainable; H local steps in a phase.

A crew trains and judges rows of one tensor X (N, P). `Learners` does so with one `Learner` per node, whatever it is;
`stacked.TorchCrew` is the built-in learner over many nodes at once. A node's result is that of its own learner: the
same batches in the same order, equal to rounding.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from p2pfl.core.noise import Key
from p2pfl.errors import TrainingError
from p2pfl.learn.data import SplitName
from p2pfl.learn.learner import Learner
from p2pfl.learn.optim import OptState
from p2pfl.learn.part_learner import evaluate_with
from p2pfl.learn.training import Evaluation

Shifts = Callable[[Sequence[int]], Tensor | None]
"""Node numbers (n) -> their drift corrections (n, W) or (n, P), or None."""


class CannotTrain(TrainingError):
    """A node's loss or direction is not finite."""

    def __init__(self, node: int, why: str) -> None:
        super().__init__(why)
        self.node = node


class Order(NamedTuple):
    """What one node is to do in a phase. `key` is the node's for the whole run, `first` the steps it has done."""

    node: int
    round: int
    steps: int
    first: int
    key: Key
    weight: float = 1.0


@dataclass(frozen=True, slots=True, eq=False)
class Drill:
    """What a phase gave at some nodes that did alike; the models and the optimisers' slots were changed in place.

    directions (n, H) float64; loss, work and accuracy one number a node; samples the same for all.
    """

    orders: Sequence[Order]
    directions: Tensor
    loss: Sequence[float]
    work: Sequence[float]
    accuracy: Sequence[float | None]
    samples: int


class Crew(Protocol):
    def slots(self, num_nodes: int, x: Tensor) -> dict[str, Tensor]:
        """The optimiser's vectors of all nodes that start from x (P,), by name, each (N, W)."""
        ...

    def lr_at(self, node: int, round: int) -> float: ...

    def num_samples(self, node: int, split: SplitName) -> int: ...

    def train(self, x: Tensor, slots: dict[str, Tensor], shifts: Shifts, orders: Sequence[Order]) -> Iterator[Drill]:
        """Change rows of x (N, P) and of the slots by a local phase each. Raises CannotTrain."""
        ...

    def evaluate(
        self, x: Tensor, nodes: Sequence[int], split: SplitName, slots: Mapping[str, Tensor] | None = None
    ) -> list[Evaluation]:
        """Mean loss and accuracy of some rows of x (N, P), with what the nodes keep among their slots, if anything."""
        ...


class Learners:
    """One learner a node, one after another."""

    def __init__(self, learners: Sequence[Learner]) -> None:
        self.learners = learners

    def slots(self, num_nodes: int, x: Tensor) -> dict[str, Tensor]:
        states = [learner.init(x).slots for learner in self.learners]
        return {name: torch.stack([state[name] for state in states]) for name in states[0]}

    def lr_at(self, node: int, round: int) -> float:
        return self.learners[node].lr_at(round)

    def num_samples(self, node: int, split: SplitName) -> int:
        return self.learners[node].num_samples(split)

    def train(self, x: Tensor, slots: dict[str, Tensor], shifts: Shifts, orders: Sequence[Order]) -> Iterator[Drill]:
        for order in orders:
            node, shift = order.node, shifts([order.node])
            state = OptState(order.first, {name: slot[node] for name, slot in slots.items()})
            z = None if shift is None else shift[0]
            learner = self.learners[node]
            try:
                trained = learner.train(x[node], state, z, order.steps, order.round, order.key, weight=order.weight)
            except TrainingError as error:
                raise CannotTrain(node, str(error)) from None
            if not isfinite(trained.loss):
                raise CannotTrain(node, f"round {order.round}: the loss is {trained.loss}; lower train.lr")
            x[node] = trained.x
            for name, slot in slots.items():
                slot[node] = trained.state.slots[name]
            did = order._replace(steps=len(trained.directions))  # a learner of the user's own may do others
            directions = torch.tensor([trained.directions], dtype=torch.float64)
            yield Drill([did], directions, [trained.loss], [trained.work], [trained.accuracy], trained.samples)

    def evaluate(
        self, x: Tensor, nodes: Sequence[int], split: SplitName, slots: Mapping[str, Tensor] | None = None
    ) -> list[Evaluation]:
        def state(node: int) -> OptState | None:
            return None if slots is None else OptState(0, {name: slot[node] for name, slot in slots.items()})

        return [evaluate_with(self.learners[node], x[node], state(node), split) for node in nodes]
