"""Clipped sums of per-example gradients without the gradients: ghost clipping. Knows layers; knows no noise or sampler.

Theory of operation
-------------------
Legend: N examples, L positions (1 for a plain linear layer), d inputs and p outputs of a layer, C the bound.

One forward pass keeps each layer's input a, one backward pass gives the gradient g at each layer's output and none at
a weight. An example's gradient of a weight is sum_l g_l a_l^T, and its square length is <a a^T, g g^T>, which for one
position is |a|^2 |g|^2. So the length |grad_n| over all parameters is known without any of the N gradients, and
sum_n min(1, C / |grad_n|) grad_n is the plain product of layer inputs with output gradients scaled by example. Where
2 L^2 > p d, as in early convolutions, the layer's N gradients are smaller than the products and are made instead.

Sources: Goodfellow 2015 (lengths); Li, Tramer, Liang, Hashimoto 2022 (ghost clipping); Bu, Mao, Xu 2022 (the mixed
choice by size); Bu, Wang, Zha, Karypis 2023 (one backward pass: "book-keeping").
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from p2pfl.learn.flat import FlatModel
from p2pfl.learn.losses import Loss

Scaled = Callable[[Tensor], dict[str, Tensor]]
"""Factors (N,) -> by parameter's name, the sum over the examples of their gradients times the factors."""


class Layer(NamedTuple):
    """What one layer gives: the square length of each example's gradient (N,), and the scaled sums."""

    square: Tensor
    scaled: Scaled


def clipped_sum(
    model: FlatModel, loss: Loss, clip: float, inputs: Tensor, targets: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """-> sum of clipped gradients (W,), in the model's own memory; mean loss; outputs. For a batch that is not empty.

    `loss` must be a mean over examples. Raises NotImplementedError where `supports` says no, or a layer ran twice.
    """
    calls: dict[str, tuple[Tensor, Tensor]] = {}
    handles = [part.register_forward_hook(_keeper(calls, name)) for name, part in _layers(model.module)]
    try:
        outputs = model.module(inputs)
        mean = loss(outputs, targets)
        ends = [kept[1] for kept in calls.values()]
        slopes = torch.autograd.grad(mean * len(inputs), ends, materialize_grads=True)
    finally:
        for handle in handles:
            handle.remove()
    parts = dict(_layers(model.module))
    with torch.no_grad():
        layers = [_layer(name, parts[name], a, g) for (name, (a, _)), g in zip(calls.items(), slopes, strict=True)]
        lengths = torch.stack([layer.square for layer in layers]).sum(0).sqrt()
        factors = clip_factors(lengths, clip)
        sums: dict[str, Tensor] = {}
        for layer in layers:
            sums |= layer.scaled(factors)
        flat = [
            sums[name].reshape(-1) if name in sums else torch.zeros_like(p).reshape(-1)
            for name, p in model.module.named_parameters()
            if p.requires_grad
        ]
    return torch.cat(flat, out=model.gradient), mean.detach(), outputs.detach()


def clip_factors(lengths: Tensor, clip: float) -> Tensor:
    """min(1, clip / length), 1 for length 0."""
    return torch.where(lengths > clip, clip / lengths, 1.0)


def supports(module: nn.Module) -> bool:
    """Whether every trainable parameter belongs to a layer whose arithmetic is here."""
    known = {id(p) for _, part in _layers(module) for p in part.parameters(recurse=False)}
    in_place = any(getattr(part, "inplace", False) for part in module.modules())
    return not in_place and all(id(p) in known for p in module.parameters() if p.requires_grad)


# ------------------------------------------------------------------------------------------------ layers


def _layers(module: nn.Module) -> list[tuple[str, nn.Module]]:
    return [
        (name, part)
        for name, part in module.named_modules()
        if type(part) in _RULES and _plain(part) and any(p.requires_grad for p in part.parameters(recurse=False))
    ]


def _plain(part: nn.Module) -> bool:
    """Without an option that changes the gradient in a way that is not treated here."""
    if isinstance(part, nn.Conv2d):
        return part.groups == 1 and part.padding_mode == "zeros" and not isinstance(part.padding, str)
    if isinstance(part, nn.Embedding):
        return part.max_norm is None and not part.scale_grad_by_freq and not part.sparse
    return True


def _keeper(calls: dict[str, tuple[Tensor, Tensor]], name: str) -> Callable[[Any, tuple[Any, ...], Any], None]:
    def keep(part: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        if name in calls:
            raise NotImplementedError(f"{name} runs twice in one pass")
        calls[name] = (inputs[0].detach(), output)

    return keep


def _layer(name: str, part: nn.Module, a: Tensor, g: Tensor) -> Layer:
    square, scaled = _RULES[type(part)](part, a, g)
    live = {field: p.requires_grad for field, p in part.named_parameters(recurse=False)}
    total = sum((square[field] for field in square if live[field]), start=a.new_zeros(len(a), dtype=g.dtype))
    prefix = f"{name}." if name else ""

    def named(factors: Tensor) -> dict[str, Tensor]:
        return {prefix + field: value for field, value in scaled(factors).items() if live[field]}

    return Layer(total, named)


Rule = Callable[[Any, Tensor, Tensor], tuple[dict[str, Tensor], Scaled]]
"""(layer, a, g) -> square lengths by field, and the scaled sums by field."""


def _linear(part: nn.Linear, a: Tensor, g: Tensor) -> tuple[dict[str, Tensor], Scaled]:
    count = len(a)
    return _product(a.reshape(count, -1, a.shape[-1]), g.reshape(count, -1, g.shape[-1]), part.bias is not None)


def _conv(part: nn.Conv2d, a: Tensor, g: Tensor) -> tuple[dict[str, Tensor], Scaled]:
    windows = functional.unfold(a, part.kernel_size, part.dilation, part.padding, part.stride)  # type: ignore[arg-type]
    return _product(windows.transpose(1, 2), g.flatten(2).transpose(1, 2), part.bias is not None)


def _product(a: Tensor, g: Tensor, bias: bool) -> tuple[dict[str, Tensor], Scaled]:
    """A weight whose gradient is sum_l g_l a_l^T: a (N, L, d), g (N, L, p)."""
    positions, d, p = a.shape[1], a.shape[2], g.shape[2]
    if positions == 1:
        return _outer(a[:, 0], g[:, 0], bias)
    each: Tensor | None = None
    if 2 * positions**2 <= p * d:
        squares = {"weight": ((a @ a.transpose(1, 2)) * (g @ g.transpose(1, 2))).sum((1, 2)).clamp(min=0)}
    else:
        each = g.transpose(1, 2) @ a
        squares = {"weight": each.square().sum((1, 2))}
    whole = g.sum(1)
    if bias:
        squares["bias"] = whole.square().sum(1)

    def scaled(factors: Tensor) -> dict[str, Tensor]:
        if each is not None:
            weight = (factors @ each.flatten(1)).reshape(p, d)
        else:
            weight = (g * factors[:, None, None]).reshape(-1, p).T @ a.reshape(-1, d)
        return {"weight": weight} | ({"bias": factors @ whole} if bias else {})

    return squares, scaled


def _outer(a: Tensor, g: Tensor, bias: bool) -> tuple[dict[str, Tensor], Scaled]:
    """One position: a (N, d), g (N, p), and each gradient is an outer product."""
    slopes = torch.linalg.vector_norm(g, dim=1).square()
    squares = {"weight": torch.linalg.vector_norm(a, dim=1).square() * slopes} | ({"bias": slopes} if bias else {})

    def scaled(factors: Tensor) -> dict[str, Tensor]:
        return {"weight": (g * factors[:, None]).T @ a} | ({"bias": factors @ g} if bias else {})

    return squares, scaled


def _norm(part: nn.GroupNorm | nn.LayerNorm, a: Tensor, g: Tensor) -> tuple[dict[str, Tensor], Scaled]:
    """The gains and offsets of a normalisation within one example."""
    if isinstance(part, nn.GroupNorm):
        plain = functional.group_norm(a, part.num_groups, None, None, part.eps)
        each = {"weight": (g * plain).flatten(2).sum(2), "bias": g.flatten(2).sum(2)}
    else:
        plain = functional.layer_norm(a, part.normalized_shape, None, None, part.eps)
        width = plain[0].numel() if plain.dim() == len(part.normalized_shape) else -1
        shape = (len(a), -1, part.weight.numel()) if width == -1 else (len(a), 1, width)
        each = {"weight": (g * plain).reshape(shape).sum(1), "bias": g.reshape(shape).sum(1)}
    each = {field: value for field, value in each.items() if getattr(part, field) is not None}
    return _made(each)


def _embedding(part: nn.Embedding, a: Tensor, g: Tensor) -> tuple[dict[str, Tensor], Scaled]:
    """Rows that were looked up: two positions meet in the square length where they looked up the same row."""
    rows, slopes = a.reshape(len(a), -1), g.reshape(len(a), -1, g.shape[-1])
    if part.padding_idx is not None:
        slopes = slopes * (rows != part.padding_idx).unsqueeze(-1)
    same = (rows[:, :, None] == rows[:, None, :]).to(g.dtype)
    square = (same * (slopes @ slopes.transpose(1, 2))).sum((1, 2)).clamp(min=0)

    def scaled(factors: Tensor) -> dict[str, Tensor]:
        out = torch.zeros_like(part.weight)
        out.index_add_(0, rows.reshape(-1), (slopes * factors[:, None, None]).reshape(-1, g.shape[-1]))
        return {"weight": out}

    return {"weight": square}, scaled


def _made(each: dict[str, Tensor]) -> tuple[dict[str, Tensor], Scaled]:
    """Gradients small enough to be made: (N, k) by field."""

    def scaled(factors: Tensor) -> dict[str, Tensor]:
        return {field: factors @ value for field, value in each.items()}

    return {field: value.square().sum(1) for field, value in each.items()}, scaled


_RULES: dict[type[nn.Module], Rule] = {
    nn.Linear: _linear,
    nn.Conv2d: _conv,
    nn.GroupNorm: _norm,
    nn.LayerNorm: _norm,
    nn.Embedding: _embedding,
}
