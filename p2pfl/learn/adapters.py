"""Low-rank adapters for linear and convolution layers. Know modules; know no vector, data or optimiser.

    y = W x + b + (alpha / r) B A x,    A (r, in) drawn at random, B (out, r) = 0 at the start

so the adapted model begins as the one it adapts, W and b never move, and only A and B are learned and sent. A
convolution's weight counts as a matrix of (out, in * kernel). `merge` adds the product to W: the plain model again.

Source: Hu et al. 2021 (LoRA), equation 3 and section 4.1. Differs from the paper in: no dropout before A.
"""

from dataclasses import dataclass
from math import prod, sqrt

from torch import Tensor, nn
from torch.nn import functional

from p2pfl.errors import ConfigError
from p2pfl.learn.patterns import listed, matched, matches

A, B = "adapter_a", "adapter_b"


@dataclass(frozen=True, slots=True)
class Adapters:
    """rank: r; 0 is none. alpha: 2 r if not given. layers: patterns of those to adapt. also: patterns of parameters
    that are learned and sent whole, like a new head."""

    rank: int = 0
    alpha: float | None = None
    layers: tuple[str, ...] = ("*",)
    also: tuple[str, ...] = ()

    @property
    def scale(self) -> float:
        return (2.0 * self.rank if self.alpha is None else self.alpha) / self.rank


class _Adapted(nn.Module):
    """What both kinds of layer share. `weight` and `bias` keep their names and are frozen."""

    adapter_names = (A, B)
    weight: Tensor
    adapter_a: nn.Parameter
    adapter_b: nn.Parameter
    scale: float

    def take(self, layer: nn.Module, rank: int, scale: float) -> None:
        """Become the adapted form of `layer`, whose tensors are shared."""
        self.__dict__.update(layer.__dict__)
        self._parameters = dict(layer._parameters)
        for parameter in self._parameters.values():
            if parameter is not None:
                parameter.requires_grad_(False)
        out, inputs = self.weight.shape[0], prod(self.weight.shape[1:])
        self.adapter_a = nn.Parameter(self.weight.new_empty(rank, inputs).uniform_(-1, 1) / sqrt(inputs))
        self.adapter_b = nn.Parameter(self.weight.new_zeros(out, rank))
        self.scale = scale

    def delta(self) -> Tensor:
        """What is added to the weight, in its shape."""
        return (self.scale * (self.adapter_b @ self.adapter_a)).view(self.weight.shape)


class AdaptedLinear(_Adapted, nn.Linear):
    def forward(self, input: Tensor) -> Tensor:
        low = functional.linear(functional.linear(input, self.adapter_a), self.adapter_b)
        return functional.linear(input, self.weight, self.bias) + self.scale * low


class AdaptedConv1d(_Adapted, nn.Conv1d):
    def forward(self, input: Tensor) -> Tensor:
        output: Tensor = self._conv_forward(input, self.weight + self.delta(), self.bias)
        return output


class AdaptedConv2d(_Adapted, nn.Conv2d):
    def forward(self, input: Tensor) -> Tensor:
        output: Tensor = self._conv_forward(input, self.weight + self.delta(), self.bias)
        return output


ADAPTED: dict[type[nn.Module], type[_Adapted]] = {
    nn.Linear: AdaptedLinear,
    nn.Conv1d: AdaptedConv1d,
    nn.Conv2d: AdaptedConv2d,
}
"""Exact types: a subclass may compute something else with its weight (nn.MultiheadAttention's projection does)."""


def adapt(module: nn.Module, adapters: Adapters) -> nn.Module:
    """The module with adapters in the chosen layers and every other parameter frozen, but those of `also`.

    Raises ConfigError for a pattern that means nothing.
    """
    for parameter in module.parameters():
        parameter.requires_grad_(False)
    owners = {name: part for name, part in module.named_modules() if type(part) in ADAPTED}
    chosen = [name for name in owners if any(matches(name, pattern) for pattern in adapters.layers)]
    for pattern in adapters.layers:
        if not any(matches(name, pattern) for name in owners):
            known = listed([name or "(the model)" for name in owners])
            raise ConfigError(f"model.adapters.layers: {pattern!r} matches no linear or convolution layer of {known}")
    also = matched(dict(module.named_parameters()), adapters.also, "model.adapters.also")
    for name in chosen:
        if any(f"{name}.{leaf}" in also for leaf in ("weight", "bias")):
            continue  # it is learned whole
        _check_rank(name, owners[name], adapters.rank)
        module = _replace(module, name, _adapted(owners[name], adapters))
    for name, parameter in module.named_parameters():
        if name in also:
            parameter.requires_grad_(True)
    return module


def merge(name: str, tensor: Tensor, module: nn.Module) -> Tensor:
    """The tensor `name` of an adapted module as the plain model has it."""
    owner, _, leaf = name.rpartition(".")
    part = module.get_submodule(owner)
    return tensor + part.delta() if leaf == "weight" and isinstance(part, _Adapted) else tensor


def clear(module: nn.Module) -> None:
    """All adapters add nothing."""
    for part in module.modules():
        if isinstance(part, _Adapted):
            part.adapter_b.data.zero_()


def _adapted(layer: nn.Module, adapters: Adapters) -> _Adapted:
    kind = ADAPTED[type(layer)]
    made = kind.__new__(kind)
    nn.Module.__init__(made)
    made.take(layer, adapters.rank, adapters.scale)
    return made


def _check_rank(name: str, layer: nn.Module, rank: int) -> None:
    weight = layer.weight
    assert isinstance(weight, Tensor)
    most = min(weight.shape[0], prod(weight.shape[1:]))
    if rank > most:
        raise ConfigError(f"model.adapters.rank: expected at most {most}, the rank of {name}.weight, got {rank}")


def _replace(module: nn.Module, name: str, part: nn.Module) -> nn.Module:
    if not name:
        return part
    owner, _, leaf = name.rpartition(".")
    setattr(module.get_submodule(owner), leaf, part)
    return module
