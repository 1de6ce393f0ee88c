"""The sum of clipped gradients of a batch, by the fastest of three ways that give the same. Knows no noise or sampler.

| way   | what it does                                       | when                                              |
|-------|----------------------------------------------------|---------------------------------------------------|
| ghost | lengths without gradients (private_ghost.py)       | every layer is known, the loss is the usual one   |
| vmap  | all examples' gradients at once, by `torch.func`   | else, if torch can map over the model             |
| loop  | one plain backward pass per example or group       | else, and for groups of more than one example     |

`chosen` tries each on a few examples against the plain loop, so a layer that is used in a way that nobody thought of
(twice, transposed, under another name) makes training slower, never less private.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from p2pfl.errors import ConfigError
from p2pfl.learn import private_ghost
from p2pfl.learn.flat import FlatModel
from p2pfl.learn.losses import Loss, num_right
from p2pfl.learn.private_ghost import clip_factors

Way = Literal["ghost", "vmap", "loop"]
GHOST_AT_ONCE = 1024
"""Examples in one pass: what a layer keeps of them must fit into memory."""
VALUES_AT_ONCE = 1 << 25
"""Gradient values of all examples in one pass of `vmap`: 128 MiB of float32."""
PROBE = 4
TOLERANCE = 1e-3


class Clipped(NamedTuple):
    """The sum of clipped gradients (W,), valid until the next; that of losses; how many were right, if that counts."""

    total: Tensor
    loss: Tensor
    right: Tensor | None


@dataclass(frozen=True, slots=True, eq=False)
class Clipper:
    """Clips over all parameters together, at length `clip`. `way`: see above"""

    model: FlatModel
    loss: Loss
    clip: float
    way: Way = "loop"

    def examples(self, inputs: Tensor, targets: Tensor) -> Clipped:
        """Each example by itself. inputs (n, ..), n >= 0, at the loaded weights."""
        one: dict[Way, Callable[[Tensor, Tensor], Clipped]] = {"ghost": self._ghost, "vmap": self._vmap}
        batch = one.get(self.way)
        if batch is None:
            return self.groups([(inputs[i : i + 1], targets[i : i + 1]) for i in range(len(inputs))])
        size = GHOST_AT_ONCE if self.way == "ghost" else max(VALUES_AT_ONCE // self.model.num_weights, 1)
        pairs = zip(torch.split(inputs, size), torch.split(targets, size), strict=True)
        return self._sum(batch, [pair for pair in pairs if len(pair[0])])

    def groups(self, pairs: list[tuple[Tensor, Tensor]]) -> Clipped:
        """Each group's mean gradient as if it were one example's: cheap, and any model can."""
        return self._sum(self._group, pairs)

    def _sum(self, way: Callable[[Tensor, Tensor], Clipped], pairs: list[tuple[Tensor, Tensor]]) -> Clipped:
        """Over the pairs. What a way gives may lie in the model's own memory until the next call; so may the result."""
        if not pairs:
            return Clipped(torch.zeros_like(self.model.gradient), self.model.vector.new_zeros(()), None)
        first = way(*pairs[0])
        if len(pairs) == 1:
            return first
        total, losses, right = first.total.clone(), [first.loss], [first.right]
        for pair in pairs[1:]:
            part = way(*pair)
            total.add_(part.total)
            losses.append(part.loss)
            right.append(part.right)
        known = [count for count in right if count is not None]
        return Clipped(total, torch.stack(losses).sum(), torch.stack(known).sum() if known else None)

    def _ghost(self, inputs: Tensor, targets: Tensor) -> Clipped:
        total, loss, outputs = private_ghost.clipped_sum(self.model, self.loss, self.clip, inputs, targets)
        return Clipped(total, loss * len(inputs), num_right(outputs, targets))

    def _vmap(self, inputs: Tensor, targets: Tensor) -> Clipped:
        model, weights = self.model, self.model.vector.detach()

        def of_one(x: Tensor, one: Tensor, target: Tensor) -> tuple[Tensor, tuple[Tensor, Tensor]]:
            outputs = model.call(x, one[None])
            loss = self.loss(outputs, target[None])
            return loss, (loss.detach(), outputs.detach()[0])

        mapped = torch.func.vmap(torch.func.grad(of_one, has_aux=True), (None, 0, 0), randomness="different")
        gradients, (losses, outputs) = mapped(weights, inputs, targets)
        factors = clip_factors(torch.linalg.vector_norm(gradients, dim=1), self.clip)
        return Clipped(factors @ gradients, losses.sum(), num_right(outputs, targets))

    def _group(self, inputs: Tensor, targets: Tensor) -> Clipped:
        outputs = self.model.module(inputs)
        loss = self.loss(outputs, targets)
        gradient = self.model.backward(loss)
        factor = clip_factors(torch.linalg.vector_norm(gradient), self.clip)
        return Clipped(gradient.mul_(factor), loss.detach() * len(inputs), num_right(outputs, targets))


def chosen(model: FlatModel, loss: Loss, clip: float, usual: bool, inputs: Tensor, targets: Tensor) -> Clipper:
    """The fastest clipper that gives what the loop gives on the first examples. `usual`: a mean over examples.

    Raises ConfigError if not even the loop can.
    """
    inputs, targets = inputs[:PROBE], targets[:PROBE]
    model.load(model.start().to(model.device))
    model.set_training(False)
    plain = Clipper(model, loss, 1.0)
    try:
        lengths = [float(torch.linalg.vector_norm(plain.examples(*pair).total)) for pair in _singles(inputs, targets)]
        tight = replace(plain, clip=max(sorted(lengths)[len(lengths) // 2] * 0.5, 1e-6))
        wanted = tight.examples(inputs, targets).total.clone()
    except (RuntimeError, ValueError) as error:
        raise ConfigError(f"privacy: the model cannot be trained example by example: {_line(error)}") from None
    ways: list[Way] = ["vmap"]
    if usual and private_ghost.supports(model.module):
        ways.insert(0, "ghost")
    for way in ways:
        if _agrees(replace(tight, way=way), inputs, targets, wanted):
            return Clipper(model, loss, clip, way)
    return Clipper(model, loss, clip)


def _agrees(clipper: Clipper, inputs: Tensor, targets: Tensor, wanted: Tensor) -> bool:
    try:
        found = clipper.examples(inputs, targets).total
    except (RuntimeError, ValueError, NotImplementedError):
        return False
    off = torch.linalg.vector_norm(found - wanted)
    return bool(off <= TOLERANCE * torch.linalg.vector_norm(wanted) + 1e-9)


def _singles(inputs: Tensor, targets: Tensor) -> list[tuple[Tensor, Tensor]]:
    return [(inputs[i : i + 1], targets[i : i + 1]) for i in range(len(inputs))]


def _line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0][:200] if lines else type(error).__name__
