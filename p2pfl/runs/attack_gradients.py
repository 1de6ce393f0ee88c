"""What the first update of a node shows of its examples: their labels and their pictures. Knows models and gradients.

The observer knows the starting model, which is public, and what a step moved. Labels: the gradient of the last layer's
bias is p - y, so with one example its only negative value stands at the label (Zhao et al. 2020). Inputs: those whose
gradient points where the seen one does, found by descent on one minus the cosine (Geiping et al. 2020, equation 4,
without their image prior, so that it works on any input).
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from p2pfl.core.noise import derive, generator, root
from p2pfl.learn.data import Data
from p2pfl.learn.flat import FlatModel
from p2pfl.learn.losses import cross_entropy
from p2pfl.learn.private import Privately
from p2pfl.learn.private_clip import Clipper
from p2pfl.learn.private_draw import normal_

STEPS = 400
KEY = derive(root(0), "attack")


@dataclass(frozen=True, slots=True, eq=False)
class Inversion:
    """inputs and what was made of them, (n, ..); likeness: correlation of each with what was made of it, -1 to 1."""

    inputs: Tensor
    rebuilt: Tensor
    likeness: float


def gradient_seen(model: FlatModel, data: Data, privately: Privately | None, number: int = 0) -> Tensor:
    """The gradient (W,) of these examples at the starting model as a step shows it: clipped and noised if it is."""
    model.load(model.start())
    model.set_training(False)
    x, y = data.x.to(model.dtype), data.y
    if privately is None:
        return model.backward(cross_entropy(model.module(x), y)).clone()
    total = Clipper(model, cross_entropy, privately.clip).examples(x, y).total.clone()
    noisy = normal_(total, derive(KEY, "noise", number), privately.noise * privately.sensitivity)
    return noisy.div_(len(x))


def label_hits(model: FlatModel, data: Data, privately: Privately | None, limit: int = 100) -> float:
    """The share of examples whose label is read off the gradient of a step that they alone are in."""
    count, hits = min(len(data), limit), 0
    for row in range(count):
        one = data.subset(torch.tensor([row]))
        hits += int(label_in(gradient_seen(model, one, privately, row), data.num_classes)) == int(one.y)
    return hits / count


def label_in(gradient: Tensor, num_classes: int) -> Tensor:
    """The most negative value of the last layer's bias, which the vector ends with."""
    return gradient[-num_classes:].argmin()


def invert(model: FlatModel, data: Data, privately: Privately | None, steps: int = STEPS) -> Inversion:
    """Rebuild each example from the gradient of a step that it alone is in; its label is read off first."""
    rebuilt = []
    for row in range(len(data)):
        one = data.subset(torch.tensor([row]))
        seen = gradient_seen(model, one, privately, row)
        rebuilt.append(_rebuild(model, seen, tuple(data.x.shape[1:]), data.num_classes, steps))
    made = torch.stack(rebuilt)
    return Inversion(data.x, made, float(likeness(data.x, made).mean()))


def likeness(inputs: Tensor, rebuilt: Tensor) -> Tensor:
    """Correlation (n,) over the values of each example: it asks for the shape and not for brightness or contrast."""
    a, b = (v.flatten(1).double() - v.flatten(1).double().mean(1, keepdim=True) for v in (inputs, rebuilt))
    lengths = torch.linalg.vector_norm(a, dim=1) * torch.linalg.vector_norm(b, dim=1)
    found: Tensor = (a * b).sum(1) / lengths.clamp(min=1e-12)
    return found


def _rebuild(model: FlatModel, seen: Tensor, shape: tuple[int, ...], classes: int, steps: int) -> Tensor:
    model.load(model.start())
    model.set_training(False)
    label = label_in(seen, classes).reshape(1)
    start = generator(derive(KEY, "guess")).standard_normal((1, *shape))
    guess = torch.from_numpy(start).to(model.dtype).mul_(0.1).requires_grad_()
    optimizer = torch.optim.Adam([guess], lr=0.05)
    weights = [p for p in model.module.parameters() if p.requires_grad]
    for _ in range(steps):
        loss = cross_entropy(model.module(guess), label)
        pieces = torch.autograd.grad(loss, weights, create_graph=True)
        found = torch.cat([piece.reshape(-1) for piece in pieces])
        off = 1 - torch.nn.functional.cosine_similarity(found, seen, dim=0)
        (slope,) = torch.autograd.grad(off, [guess])
        guess.grad = slope
        optimizer.step()
    return guess.detach()[0]
