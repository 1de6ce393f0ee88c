"""Node-level privacy: any learner whose local updates are clipped and noised whole. Knows learners; no accountant.

    delta <- delta * min(1, C / |delta|) + N(0, (s C)^2 I)       (McMahan et al. 2018, per node instead of per user)

One release per local phase, with sensitivity C under zero-out: all of a node's data are replaced by none, and its
update by zero. Nobody else's examples are hidden in a larger sum here, so this asks for much more noise than privacy
for each example does.

Law: everything that leaves `train` but `loss` and `accuracy` is a function of the noisy update and of public numbers:
the directions too, whose lengths the others would otherwise hear of. The optimiser's vectors stay in the node, and
`work` of the inner learner must follow from rates and steps alone.
"""

import torch
from torch import Tensor

from p2pfl.core.noise import Key, derive
from p2pfl.core.vectors import ParamSchema
from p2pfl.learn.data import SplitName
from p2pfl.learn.learner import Learner
from p2pfl.learn.optim import OptState
from p2pfl.learn.part_learner import evaluate_with
from p2pfl.learn.private_draw import normal_
from p2pfl.learn.training import Evaluation, Trained


class PrivateUpdates:
    """A Learner around another one. clip: the longest update kept whole; noise: deviation as a multiple of clip, or 0
    where a secure sum adds it later (horizontal/cells.py): then nothing of the update may leave but through that sum.
    """

    def __init__(self, inner: Learner, clip: float, noise: float) -> None:
        self.inner, self.clip, self.noise = inner, clip, noise

    @property
    def schema(self) -> ParamSchema:
        return self.inner.schema

    def start(self) -> Tensor:
        return self.inner.start()

    def start_digest(self) -> bytes:
        return self.inner.start_digest()

    def init(self, x: Tensor) -> OptState:
        return self.inner.init(x)

    def lr_at(self, round: int) -> float:
        return self.inner.lr_at(round)

    def num_samples(self, split: SplitName) -> int:
        return self.inner.num_samples(split)

    def evaluate(self, x: Tensor, split: SplitName) -> Evaluation:
        return self.inner.evaluate(x, split)

    def evaluate_with(self, x: Tensor, state: OptState, split: SplitName) -> Evaluation:
        return evaluate_with(self.inner, x, state, split)

    def train(
        self, x: Tensor, state: OptState, shift: Tensor | None, steps: int, round: int, key: Key, weight: float = 1.0
    ) -> Trained:
        trained = self.inner.train(x, state, shift, steps, round, key, weight=weight)
        delta = trained.x - x
        length = float(torch.linalg.vector_norm(delta.double()))
        if length > self.clip:
            delta = delta * (self.clip / length)
        if self.noise:
            normal_(delta, derive(key, "private update", state.steps), self.noise * self.clip)
        work = trained.work
        each = float(torch.linalg.vector_norm(delta.double())) / work if work else 0.0
        return Trained(
            x=x + delta,
            state=trained.state,
            work=work,
            directions=(each,) * steps,
            loss=trained.loss,
            samples=steps,
            accuracy=trained.accuracy,
        )
