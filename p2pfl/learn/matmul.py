"""An engine for linear layers with ReLU: products of many small matrices, the backward pass written out.

Legend: n nodes, B samples in a batch, C outputs; layer l maps i to o values. Knows no neighbour.

Nodes do not meet in a product, so the gradient of each is its own. With a_l the input of layer l and d_l the loss's
slope at its output (n, B, o):

    z_l = a_l W_l' + b_l,   a_(l+1) = max(z_l, 0)
    d_L = (softmax(z_L) - onehot) / B   (cross-entropy),   2 (z_L - y) / (B C)   (squared error)
    dW_l = d_l' a_l,   db_l = sum_B d_l,   d_(l-1) = (d_l W_l) where a_l > 0

Where a step is plain descent and nobody asks for its length, it is the third argument of the product itself
(`baddbmm`), and weights are kept layer by layer while they move: with matrices that lie P apart, as in rows of one
(n, P) tensor, the library falls back to one call a matrix.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from torch import Tensor, nn

from p2pfl.learn.chunk import Chunk, Outcome, Told, Unfit, descend, judge_rows, plain, rates, take, weigh
from p2pfl.learn.data import Data
from p2pfl.learn.flat import FlatModel
from p2pfl.learn.losses import default_loss
from p2pfl.learn.pool import Pool
from p2pfl.learn.training import Evaluation, Training

CHUNK_VALUES = 300_000
"""Of all models in a chunk together: what stays in a core's cache while it is trained."""
CHUNK_MAX = 64
_relu_backward_ = torch.ops.aten.threshold_backward.grad_input


@dataclass(frozen=True, slots=True)
class Layer:
    """Where its weights and bias are among the pieces."""

    outputs: int
    inputs: int
    weight: int
    bias: int | None
    relu: bool  # after it


class Forward(NamedTuple):
    entering: list[Tensor]  # a_l (n, B, i) of each layer
    z: Tensor  # (n, B, C)


class Matmul:
    """See above."""

    def __init__(self, model: FlatModel, pool: Pool, training: Training) -> None:
        if callable(training.loss):
            raise Unfit("the loss is a function of the user's")
        if pool.train.y.ndim != 1 or not pool.train.x.is_floating_point():
            raise Unfit("samples are sequences")
        if training.align is not None:
            raise Unfit("features are aligned, which takes a forward pass of the model itself")
        self.model, self.training = model, training
        self.layers, self.cuts = _layers(model)
        self.classes = pool.train.num_classes
        self.loss = default_loss(self.classes)
        self.chunk = max(min(CHUNK_VALUES // model.schema.size, CHUNK_MAX), 1)

    def run(self, chunk: Chunk, in_place: bool = False) -> Outcome:
        if plain(self.training):
            return self._plainly(chunk, in_place)
        return descend(chunk, self.training, self, in_place)

    def judge(self, x: Tensor, data: Data) -> list[Evaluation]:
        pieces = [piece.contiguous() for piece in torch.split(x, self.cuts, 1)]

        def outputs(inputs: Tensor) -> Tensor:
            return self._forward(pieces, inputs.expand(len(x), *inputs.shape)).z

        return judge_rows(outputs, len(x), data, self.loss)

    # ---------------------------------------------------------------------------------------- one step

    def _forward(self, pieces: Sequence[Tensor], inputs: Tensor) -> Forward:
        a, entering = inputs.flatten(2), []
        for layer in self.layers:
            entering.append(a)
            w = pieces[layer.weight].view(len(a), layer.outputs, layer.inputs).mT
            a = torch.bmm(a, w) if layer.bias is None else torch.baddbmm(pieces[layer.bias].unsqueeze(1), a, w)
            if layer.relu:
                a.relu_()
        return Forward(entering, a)

    def _slope(self, z: Tensor, targets: Tensor) -> Tensor:
        """d_L (n, B, C) of the outputs z. targets (n, B, C): what is taken off, see `_marks`."""
        if not self.classes:
            return z.sub(targets).mul_(2 / targets.shape[1])
        p = (z - z.amax(-1, keepdim=True)).exp_()
        p.mul_(p.sum(-1, keepdim=True).mul_(z.shape[1]).reciprocal_())
        return p.sub_(targets)

    def _marks(self, targets: Tensor, like: Tensor) -> Tensor:
        """targets (n, H, B) -> (H, n, B, C): 1 / B where the target is, 0 elsewhere; for squared error themselves."""
        targets = targets.transpose(0, 1).unsqueeze(-1)
        if not self.classes:
            return targets
        marks = like.new_zeros((*targets.shape[:-1], self.classes))
        return marks.scatter_(-1, targets, 1 / targets.shape[2])

    def told(self, said: Sequence[Tensor], targets: Tensor) -> Told:
        """Losses (n, H) and how many were right, from each step's outputs (n, B, C) and the targets (n, H, B)."""
        z = torch.stack(list(said), dim=1)
        if not self.classes:
            return Told((z.view(targets.shape) - targets).square_().mean(-1), None)
        top, best = z.max(-1)
        hit = z.gather(-1, targets.unsqueeze(-1)).squeeze(-1)
        total = z.sub_(top.unsqueeze(-1)).exp_().sum(-1)
        return Told(total.log_().add_(top).sub_(hit).mean(-1), (best == targets).sum(-1))

    def gradient(self, x: Tensor, inputs: Tensor, targets: Tensor, g: Tensor) -> tuple[Tensor, Tensor]:
        pieces, gradients = torch.split(x, self.cuts, 1), torch.split(g, self.cuts, 1)
        entering, z = self._forward(pieces, inputs)
        d = self._slope(z, self._marks(targets.unsqueeze(1), z)[0])
        for number in reversed(range(len(self.layers))):
            layer, a = self.layers[number], entering[number]
            torch.bmm(d.mT, a, out=gradients[layer.weight].view(len(a), layer.outputs, layer.inputs))
            if layer.bias is not None:
                torch.sum(d, 1, out=gradients[layer.bias])
            if number:
                d = self._down(pieces, number, d, a)
        return g, z

    def _down(self, pieces: Sequence[Tensor], number: int, d: Tensor, a: Tensor) -> Tensor:
        """The slope at the output of the layer below."""
        layer = self.layers[number]
        below = torch.bmm(d, pieces[layer.weight].view(len(a), layer.outputs, layer.inputs))
        if not self.layers[number - 1].relu:
            return below
        kept: Tensor = _relu_backward_(below, a, 0, grad_input=below)
        return kept

    # ---------------------------------------------------------------------------------------- plain descent

    def _plainly(self, chunk: Chunk, in_place: bool) -> Outcome:
        """`descend` where a step is x - lr g and nothing else, layer by layer."""
        pieces = [piece.clone(memory_format=torch.contiguous_format) for piece in torch.split(chunk.x, self.cuts, 1)]
        shifts = None if chunk.shift is None else torch.split(chunk.shift, self.cuts, 1)
        lr, weighted = rates(chunk)
        outputs, norms, marks = [], [], self._marks(chunk.targets, chunk.x)
        step = self._measured if chunk.directions else self._fused
        for at in range(chunk.inputs.shape[1]):
            entering, z = self._forward(pieces, chunk.inputs[:, at])
            outputs.append(z)
            norms.append(step(pieces, entering, self._slope(z, marks[at]), weighted))
            if shifts is not None:
                for piece, shift in zip(pieces, shifts, strict=True):
                    take(piece, shift, lr)
        losses, right = self.told(outputs, chunk.targets)
        x = torch.cat(pieces, dim=1, out=chunk.x) if in_place else torch.cat(pieces, dim=1)
        return Outcome(x, {}, losses, weigh(torch.stack(norms, dim=1), chunk), right)

    def _fused(self, pieces: Sequence[Tensor], entering: Sequence[Tensor], d: Tensor, rate: float | Tensor) -> Tensor:
        """One step, the update as the third argument of the product. Returns zeros: nobody knows how long it was."""
        none = d.new_zeros(len(d))
        d.mul_(rate.unsqueeze(2) if isinstance(rate, Tensor) else rate)  # all gradients are linear in it
        for number in reversed(range(len(self.layers))):
            layer, a = self.layers[number], entering[number]
            below = self._down(pieces, number, d, a) if number else d
            pieces[layer.weight].view(len(a), layer.outputs, layer.inputs).baddbmm_(d.mT, a, alpha=-1)
            if layer.bias is not None:
                pieces[layer.bias].sub_(d.sum(1))
            d = below
        return none

    def _measured(
        self, pieces: Sequence[Tensor], entering: Sequence[Tensor], d: Tensor, rate: float | Tensor
    ) -> Tensor:
        """One step. Returns the gradients' lengths (n,)."""
        lengths = []
        for number in reversed(range(len(self.layers))):
            layer, a = self.layers[number], entering[number]
            below = self._down(pieces, number, d, a) if number else d
            gradients = [(layer.weight, torch.bmm(d.mT, a).flatten(1))]
            if layer.bias is not None:
                gradients.append((layer.bias, d.sum(1)))
            for place, g in gradients:
                lengths.append(torch.linalg.vector_norm(g, dim=1))
                take(pieces[place], g, rate)
            d = below
        length: Tensor = torch.linalg.vector_norm(torch.stack(lengths), dim=0)
        return length


def _layers(model: FlatModel) -> tuple[list[Layer], list[int]]:
    """The model's linear layers and the sizes of their parameters in the vector. Raises Unfit for any other model."""
    layers: list[Layer] = []
    names: list[str] = []
    cuts: list[int] = []
    module = model.module
    parts = list(module.named_children()) if type(module) is nn.Sequential else [("", module)]
    for place, (name, part) in enumerate(parts):
        if type(part) is nn.Flatten and not layers and (part.start_dim, part.end_dim) == (1, -1):
            continue
        if type(part) is nn.ReLU and layers and place:
            layers[-1] = replace(layers[-1], relu=True)
            continue
        if type(part) is not nn.Linear:
            raise Unfit(f"it is for linear layers with ReLU between them, and the model has a {type(part).__name__}")
        prefix = f"{name}." if name else ""
        weight, bias = len(cuts), None
        names.append(f"{prefix}weight")
        cuts.append(part.weight.numel())
        if part.bias is not None:
            bias = len(cuts)
            names.append(f"{prefix}bias")
            cuts.append(part.bias.numel())
        layers.append(Layer(part.out_features, part.in_features, weight, bias, relu=False))
    if not layers or names != [spec.name for spec in model.schema.params]:
        raise Unfit("some parameters are frozen or shared")
    return layers, cuts
