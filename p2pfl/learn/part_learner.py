"""Any learner of whose model a part stays at the node. Knows learners and parts; knows no neighbour.

The vector that the node's job sees, mixes and sends is what is shared (S,); what is kept (K,) is a slot of the
learner's state, so it is durable with it and never in a message. Drift corrections act on what is shared alone. The
lengths of steps that a phase reports are those of the whole model's.
"""

from typing import Protocol, runtime_checkable

from torch import Tensor

from p2pfl.core.noise import Key
from p2pfl.core.vectors import ParamSchema
from p2pfl.learn.data import SplitName
from p2pfl.learn.learner import Learner, sized
from p2pfl.learn.optim import OptState
from p2pfl.learn.part import KEPT, Part
from p2pfl.learn.training import Evaluation, Trained


@runtime_checkable
class KnowsState(Protocol):
    """A learner whose model is not the vector alone."""

    def evaluate_with(self, x: Tensor, state: OptState, split: SplitName) -> Evaluation:
        """As `evaluate`, of x with what the state holds beside it."""
        ...


def evaluate_with(learner: Learner, x: Tensor, state: OptState | None, split: SplitName) -> Evaluation:
    """The learner's judgement of x (S,), with what it keeps in its state, if it keeps anything."""
    if state is None or not isinstance(learner, KnowsState):
        return learner.evaluate(x, split)
    return learner.evaluate_with(x, state, split)


class PartLearner:
    """`inner`, a learner over the whole model, as one over what is shared."""

    def __init__(self, inner: Learner, part: Part) -> None:
        self.inner, self.part = inner, part

    @property
    def schema(self) -> ParamSchema:
        return self.part.schema

    def start(self) -> Tensor:
        return self.part.split(self.inner.start())[0]

    def start_digest(self) -> bytes:
        return self.inner.start_digest()

    def init(self, x: Tensor) -> OptState:
        kept = self.part.split(self.inner.start())[1].to(x.device, x.dtype)
        state = self.inner.init(self.part.join(x, kept))
        return OptState(state.steps, {**state.slots, KEPT: kept})

    def lr_at(self, round: int) -> float:
        return self.inner.lr_at(round)

    def num_samples(self, split: SplitName) -> int:
        return self.inner.num_samples(split)

    def sized(self, batch: int) -> "PartLearner":
        """With batches of so many examples, if `inner` takes any."""
        return PartLearner(sized(self.inner, batch), self.part)

    def train(
        self, x: Tensor, state: OptState, shift: Tensor | None, steps: int, round: int, key: Key, weight: float = 1.0
    ) -> Trained:
        z = None if shift is None else self.part.spread(shift)
        whole, inner = self.part.join(x, state.slots[KEPT]), without_kept(state)
        trained = self.inner.train(whole, inner, z, steps, round, key, weight=weight)
        shared, kept = self.part.split(trained.x)
        return Trained(
            x=shared,
            state=OptState(trained.state.steps, {**trained.state.slots, KEPT: kept}),
            work=trained.work,
            directions=trained.directions,
            loss=trained.loss,
            samples=trained.samples,
            accuracy=trained.accuracy,
        )

    def evaluate(self, x: Tensor, split: SplitName) -> Evaluation:
        """With what is kept as it was at the start."""
        return self.evaluate_with(x, self.init(x), split)

    def evaluate_with(self, x: Tensor, state: OptState, split: SplitName) -> Evaluation:
        return self.inner.evaluate(self.part.join(x, state.slots[KEPT]), split)


def without_kept(state: OptState) -> OptState:
    return OptState(state.steps, {name: slot for name, slot in state.slots.items() if name != KEPT})
