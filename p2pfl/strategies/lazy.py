"""Free-riders: what stands where training should be. Know models; know no ledger."""

from collections.abc import Callable
from typing import ClassVar

import torch
from torch import Tensor

from p2pfl.core.noise import Key, derive, seed64
from p2pfl.core.vectors import ParamSchema
from p2pfl.horizontal.model.work import GossipWork
from p2pfl.learn.data import SplitName
from p2pfl.learn.learner import Learner
from p2pfl.learn.optim import OptState
from p2pfl.learn.part_learner import evaluate_with
from p2pfl.learn.training import Evaluation, Trained
from p2pfl.strategies.strategy import Strategy


class Idle:
    """A Learner that does not look at its data; `step` says what it does instead."""

    def __init__(self, learner: Learner, step: Callable[[Tensor, Key], Tensor]) -> None:
        self.learner, self.step = learner, step

    @property
    def schema(self) -> ParamSchema:
        return self.learner.schema

    def start(self) -> Tensor:
        return self.learner.start()

    def start_digest(self) -> bytes:
        return self.learner.start_digest()

    def init(self, x: Tensor) -> OptState:
        return self.learner.init(x)

    def lr_at(self, round: int) -> float:
        return self.learner.lr_at(round)

    def train(
        self, x: Tensor, state: OptState, shift: Tensor | None, steps: int, round: int, key: Key, weight: float = 1.0
    ) -> Trained:
        """As long as training would count, with the drift correction that neighbours expect, and nothing learned."""
        work = self.lr_at(round) * steps
        after = self.step(x, derive(key, "idle", state.steps))
        if shift is not None:
            after = after - work * shift.to(after.dtype)
        return Trained(after, OptState(state.steps + steps, state.slots), work, (1.0,) * steps, 1.0, steps, None)

    def evaluate(self, x: Tensor, split: SplitName) -> Evaluation:
        return self.learner.evaluate(x, split)

    def evaluate_with(self, x: Tensor, state: OptState, split: SplitName) -> Evaluation:
        return evaluate_with(self.learner, x, state, split)

    def num_samples(self, split: SplitName) -> int:
        return self.learner.num_samples(split)


class Zero(Strategy):
    """Takes part in everything and trains nothing."""

    name: ClassVar[str] = "freerider"
    works: ClassVar[bool] = False

    def work(self, work: GossipWork) -> GossipWork:
        return with_learner(work, Idle(work.learner, lambda x, key: x))


class Noise(Strategy):
    """Adds noise of a plausible length: a share of the model's, in each phase."""

    name: ClassVar[str] = "noise"
    works: ClassVar[bool] = False
    length: ClassVar[float] = 0.03

    def work(self, work: GossipWork) -> GossipWork:
        return with_learner(work, Idle(work.learner, lambda x, key: _noisy(x, key, self.length)))


class LastModel(Strategy):
    """Goes back half of the way to the model it had a phase before: so it says again what it said."""

    name: ClassVar[str] = "lastmodel"
    works: ClassVar[bool] = False

    def work(self, work: GossipWork) -> GossipWork:
        before: list[Tensor] = []

        def step(x: Tensor, key: Key) -> Tensor:
            back = x if not before else (x + before[0]) / 2
            before[:] = [x]
            return back

        return with_learner(work, Idle(work.learner, step))


class SampleLiar(Zero):
    """A free-rider that claims a hundred times its samples."""

    name: ClassVar[str] = "sampleliar"

    def work(self, work: GossipWork) -> GossipWork:
        return with_learner(work, _Boaster(work.learner, lambda x, key: x))


class _Boaster(Idle):
    def num_samples(self, split: SplitName) -> int:
        return self.learner.num_samples(split) * (100 if split == "train" else 1)


def with_learner(work: GossipWork, learner: Learner) -> GossipWork:
    return type(work)(learner, work.codec, work.mixer, work.snapshot_codec, work.guard)


def _noisy(x: Tensor, key: Key, share: float) -> Tensor:
    generator = torch.Generator().manual_seed(seed64(key))
    noise = torch.randn(x.shape, generator=generator, dtype=torch.float32).to(x.dtype)
    length = share * float(torch.linalg.vector_norm(x) / torch.linalg.vector_norm(noise))
    return x + length * noise
