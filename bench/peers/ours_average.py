"""p2pfl's side of the averaging race, as a user's own model and learner: one vector, and a learner that waits for the
word instead of training. Everything else is an ordinary `p2pfl node`:

    python ours_average.py node --config NODE.toml

A round lasts from where one local phase ends to where the next begins: encoding, digests, signatures, HTTP, checks,
mixing, and whatever else a node does in between.
"""

import torch
from averaged import away, drift, start
from paced import Paced
from torch import Tensor, nn

from p2pfl.cli import main
from p2pfl.core.noise import Key
from p2pfl.core.vectors import ParamSchema
from p2pfl.learn.data import SplitName, Splits
from p2pfl.learn.flat import FlatModel
from p2pfl.learn.optim import OptState
from p2pfl.learn.training import Evaluation, Trained


class Vector(nn.Module):
    """`size` values and nothing to do with them."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.values = nn.Parameter(start(size))


def nothing() -> tuple[Tensor, Tensor]:
    """A few examples, since a node must have some."""
    return torch.zeros(64, 1), torch.arange(64) % 2


class Waiting:
    """A Learner (p2pfl.learn.learner) of one step a round."""

    def __init__(self, model: FlatModel, splits: Splits, node: int, nodes: int) -> None:
        self.model, self.drift, self.begun = model, drift(node, nodes), model.start()
        self.x = self.begun
        self.paced: Paced | None = None

    @property
    def schema(self) -> ParamSchema:
        return self.model.schema

    def start(self) -> Tensor:
        return self.model.start()

    def start_digest(self) -> bytes:
        return self.model.start_digest()

    def init(self, x: Tensor) -> OptState:
        return OptState()

    def lr_at(self, round: int) -> float:
        return 1.0

    def num_samples(self, split: SplitName) -> int:
        return 1

    def train(
        self, x: Tensor, state: OptState, shift: Tensor | None, steps: int, round: int, key: Key, weight: float = 1.0
    ) -> Trained:
        self.x = x
        if self.paced is None:
            self.paced = Paced(lambda line: away(self.x, self.begun))
            self.paced.ready()
        self.paced.between_rounds()
        return Trained(x + self.drift, OptState(state.steps + 1), 1.0, (0.0,), 0.0, 1, None)

    def evaluate(self, x: Tensor, split: SplitName) -> Evaluation:
        return Evaluation(0.0, None, 1)


if __name__ == "__main__":
    main()
