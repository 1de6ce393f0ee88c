"""A network cut between parties: bottoms that embed, a top that scores. Knows tensors; no message, no protection rule.

Legend: n rows, F features, E embedding width, k parties. A net's weights are one flat vector (W,), so that a party's
part is one state that packs, resumes and compares. Source: Vepakomma et al. 2018, "Split learning for health" (u-shape
left out: labels stay with the top). Gradients at the cut are those of each row's own loss, not of the batch's mean: so
a row's clip does not depend on the batch.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgpack
import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call

from p2pfl.core.noise import Key, seed64
from p2pfl.errors import ConfigError
from p2pfl.learn.optim import Adam, OptState

STATE_VERSION = 1


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """One party's weights (W,) and its optimiser's memory."""

    x: Tensor
    opt: OptState


def mlp(inputs: int, hidden: int, outputs: int) -> nn.Sequential:
    """One hidden layer; a straight line if `hidden` is 0."""
    if not hidden:
        return nn.Sequential(nn.Linear(inputs, outputs))
    return nn.Sequential(nn.Linear(inputs, hidden), nn.ReLU(), nn.Linear(hidden, outputs))


class Net:
    """A module and an optimiser as pure functions of a `Part`."""

    def __init__(self, make: Callable[[], nn.Module], key: Key, lr: float, weight_decay: float = 0.0) -> None:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed64(key))
            self._module = make()
        self._named = {name: p.detach().clone() for name, p in self._module.named_parameters()}
        self.optimizer, self.lr = Adam(weight_decay=weight_decay), lr

    @property
    def num_params(self) -> int:
        return sum(p.numel() for p in self._named.values())

    def start(self) -> Part:
        x = torch.cat([p.reshape(-1) for p in self._named.values()])
        return Part(x, self.optimizer.init(x))

    def run(self, x: Tensor, *inputs: Tensor) -> Tensor:
        """What the module says with weights x (W,)."""
        found: Tensor = functional_call(self._module, self.named(x), inputs)
        return found

    def named(self, x: Tensor) -> dict[str, Tensor]:
        """Weights x (W,) by name and shape."""
        pieces = torch.split(x, [p.numel() for p in self._named.values()])
        return {name: v.reshape(p.shape) for (name, p), v in zip(self._named.items(), pieces, strict=True)}

    def flat(self, named: Mapping[str, Tensor]) -> Tensor:
        """The inverse. ConfigError unless all are there, in their shapes."""
        for name, p in self._named.items():
            if name not in named or named[name].shape != p.shape:
                got = tuple(named[name].shape) if name in named else "none"
                raise ConfigError(f"expected a part with {name} of shape {tuple(p.shape)}, got {got}")
        return torch.cat([named[name].float().reshape(-1) for name in self._named])

    def step(self, part: Part, gradient: Tensor) -> Part:
        x, opt, _ = self.optimizer.step(part.x, gradient, part.opt, self.lr)
        return Part(x, opt)


class Bottom:
    """A feature holder's net; `bound` is what is done to embeddings inside the graph (clipping)."""

    def __init__(self, net: Net, bound: Callable[[Tensor], Tensor]) -> None:
        self.net, self.bound = net, bound

    @torch.no_grad()
    def embed(self, part: Part, features: Tensor) -> Tensor:
        """features (n, F) -> (n, E)."""
        return self.bound(self.net.run(part.x, features))

    def learn(self, part: Part, features: Tensor, gradient: Tensor) -> Part:
        """gradient (n, E) of each row's own loss; the step is along their mean."""
        x = part.x.detach().requires_grad_()
        out = self.bound(self.net.run(x, features))
        (g,) = torch.autograd.grad(out, x, gradient / len(features))
        return self.net.step(part, g)


class Top(nn.Module):
    """The label holder's net: its own bottom if it has features, then all embeddings to one score."""

    def __init__(self, features: int, hidden: int, widths: Sequence[int], top_hidden: int) -> None:
        super().__init__()
        own = widths[0] if features else 0
        self.bottom = mlp(features, hidden, own) if features else None
        self.head = mlp(own + sum(widths[1:]), top_hidden, 1)

    def forward(self, features: Tensor, *embeddings: Tensor) -> Tensor:
        own = [self.bottom(features)] if self.bottom is not None else []
        scores: Tensor = self.head(torch.cat([*own, *embeddings], dim=1)).squeeze(1)
        return scores


Loss = Callable[[Tensor, Tensor], Tensor]


def row_losses(scores: Tensor, y: Tensor) -> Tensor:
    """(n,) logistic losses; y is 0 or 1."""
    return nn.functional.binary_cross_entropy_with_logits(scores, y.to(scores.dtype), reduction="none")


@dataclass(frozen=True, slots=True, eq=False)
class Learned:
    """One step of the top: the next part; each party's cut gradients (n, E) row by row; the residuals p - y (n) that
    they are multiples of, p the score as a probability; the mean loss."""

    part: Part
    gradients: tuple[Tensor, ...]
    residuals: Tensor
    loss: float


def learn_top(net: Net, part: Part, features: Tensor, embeddings: Sequence[Tensor], y: Tensor) -> Learned:
    """features (n, F), embeddings of the other parties (n, E) each, labels y (n)."""
    x = part.x.detach().requires_grad_()
    cut = [e.detach().requires_grad_() for e in embeddings]
    scores = net.run(x, features, *cut)
    losses = row_losses(scores, y)
    found = torch.autograd.grad(losses.sum(), [x, *cut])
    residuals = torch.sigmoid(scores.detach()) - y.to(scores.dtype)
    return Learned(net.step(part, found[0] / len(y)), tuple(found[1:]), residuals, float(losses.mean().detach()))


def pack_part(part: Part) -> bytes:
    """version u8, then msgpack [steps, weights, [[name, slot], ...]], vectors as little-endian float32."""
    slots = [[name, _bytes(slot)] for name, slot in sorted(part.opt.slots.items())]
    packed: bytes = msgpack.packb([part.opt.steps, _bytes(part.x), slots])
    return bytes([STATE_VERSION]) + packed


def unpack_part(data: bytes, like: Part) -> Part:
    """ConfigError unless it is a part of the same shape."""
    try:
        if data[0] != STATE_VERSION:
            raise ValueError(f"version {data[0]}")
        steps, weights, slots = msgpack.unpackb(data[1:])
        x = _vector(weights, like.x)
        found: dict[str, Tensor] = {str(name): _vector(slot, like.x) for name, slot in slots}
    except (ValueError, TypeError, IndexError, msgpack.exceptions.UnpackException) as error:
        raise ConfigError(f"expected a saved part of {like.x.numel()} weights: {error}") from None
    if found.keys() != like.opt.slots.keys() or type(steps) is not int:
        raise ConfigError("expected a saved part of the same optimiser")
    return Part(x, OptState(steps, found))


def _bytes(vector: Tensor) -> bytes:
    return vector.detach().numpy().astype("<f4").tobytes()


def _vector(raw: Any, like: Tensor) -> Tensor:
    found = torch.from_numpy(np.frombuffer(raw, "<f4").astype(np.float32))
    if found.shape != like.shape:
        raise ValueError(f"got {len(found)} weights")
    return found
