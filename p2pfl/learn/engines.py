"""Engines for any model: the node's own loop over one shared model, and torch.func's map. Know no particular model."""

from collections.abc import Sequence

import torch
from torch import Tensor

from p2pfl.learn.chunk import Chunk, Outcome, Told, Unfit, descend, judge_rows
from p2pfl.learn.data import Data
from p2pfl.learn.flat import FlatModel
from p2pfl.learn.losses import default_loss, num_right
from p2pfl.learn.pool import Pool
from p2pfl.learn.training import Evaluation, Training
from p2pfl.learn.walk import Walk, judge

VMAP_VALUES = 2_500_000
"""Of all models in a chunk together: below, the map's fixed cost is what counts; far above, memory."""
VMAP_CHUNK = 256

Said = tuple[Tensor, tuple[Tensor, ...]]
"""Of one step: losses (n,), and how many were right (n,) or nothing."""


class Loop:
    """One node after another on one module, as a node does it: every model, and the same bits."""

    chunk = 16

    def __init__(self, model: FlatModel, pool: Pool, training: Training) -> None:
        self.model, self.training = model, training
        self.loss = training.loss if callable(training.loss) else default_loss(pool.train.num_classes)

    def run(self, chunk: Chunk, in_place: bool = False) -> Outcome:
        steps, x = chunk.inputs.shape[1], []
        slots = {name: slot.clone() for name, slot in chunk.slots.items()}
        losses, norms, right = [], [], []
        for row in range(len(chunk.x)):
            self.model.load(chunk.x[row])
            first, shift = chunk.first[row], None if chunk.shift is None else chunk.shift[row]
            still = None if chunk.still is None else chunk.still[row]
            walk = Walk(self.model, self.loss, self.training, chunk.lr[row], chunk.weight[row], still)
            own = {name: slot[row] for name, slot in slots.items()}

            def batch_at(at: int, row: int = row, first: int = first) -> tuple[Tensor, Tensor]:
                return chunk.inputs[row, at - first], chunk.targets[row, at - first]

            told = walk.go(own, shift, first, steps, batch_at, chunk.noise[row])
            after = self.model.read()
            x.append(after)
            losses.append(torch.stack(told.losses))
            norms.append(torch.stack(told.norms))
            counted = [count for count in told.right if count is not None]
            right += [torch.stack(counted)] if counted else []
        return Outcome(
            torch.stack(x), slots, torch.stack(losses), torch.stack(norms), torch.stack(right) if right else None
        )

    def judge(self, x: Tensor, data: Data) -> list[Evaluation]:
        results = []
        for row in x:
            self.model.load(row)
            results.append(judge(self.model, self.loss, data))
        return results


class Vmap:
    """`torch.func.vmap` over the model as a function of its vector. Not for models that draw or count as they run."""

    def __init__(self, model: FlatModel, pool: Pool, training: Training) -> None:
        if any(True for _ in model.module.buffers()):
            raise Unfit("the model has buffers that its forward pass may change")
        if model.draws:
            raise Unfit("the model may draw random numbers (dropout), and a map draws others than the node would")
        if training.align is not None:
            raise Unfit("features are aligned, which takes a forward pass of the model itself")
        self.model, self.training = model, training
        self.loss = training.loss if callable(training.loss) else default_loss(pool.train.num_classes)
        self.chunk = max(min(VMAP_VALUES // model.schema.size, VMAP_CHUNK), 1)
        self._slope = torch.func.vmap(torch.func.grad_and_value(self._loss_at, has_aux=True))
        self._outputs = torch.func.vmap(model.call, in_dims=(0, None))
        self._try(pool)

    def _loss_at(self, x: Tensor, inputs: Tensor, targets: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        outputs = self.model.call(x, inputs)
        right = num_right(outputs, targets)
        return self.loss(outputs, targets), () if right is None else (right,)

    def run(self, chunk: Chunk, in_place: bool = False) -> Outcome:
        self.model.set_training(True)
        return descend(chunk, self.training, self, in_place)

    def gradient(self, x: Tensor, inputs: Tensor, targets: Tensor, g: Tensor) -> tuple[Tensor, Said]:
        gradient, said = self._slope(x, inputs, targets)
        return gradient, said

    def told(self, said: Sequence[Said], targets: Tensor) -> Told:
        right = [right[0] for _, right in said if right]
        return Told(torch.stack([loss for loss, _ in said], dim=1), torch.stack(right, dim=1) if right else None)

    def judge(self, x: Tensor, data: Data) -> list[Evaluation]:
        self.model.set_training(False)
        return judge_rows(lambda inputs: self._outputs(x, inputs), len(x), data, self.loss)

    def _try(self, pool: Pool) -> None:
        """Two nodes, two samples."""
        x = self.model.start().expand(2, -1).to(self.model.dtype)
        inputs, targets = pool.train.x[:2], pool.train.y[:2]
        try:
            self._slope(x, inputs.expand(2, *inputs.shape), targets.expand(2, *targets.shape))
            self._outputs(x, inputs)
        except (RuntimeError, ValueError, TypeError, IndexError, NotImplementedError) as error:
            raise Unfit(f"torch.func cannot map the model: {str(error).strip().splitlines()[0]}") from error
