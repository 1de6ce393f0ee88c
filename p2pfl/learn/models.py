"""Ready-made models and the user's own, as factories. Know shapes; know no data and no vector.

Every factory is `f(input_shape, num_classes, **args) -> nn.Module` whose output is (n, num_classes), for sequences
(n, L, num_classes); for regression num_classes is 1. Group norm rather than batch norm where labels are skewed: it has
no statistics to average.
"""

from collections.abc import Callable, Mapping, Sequence
from math import prod
from pathlib import Path
from typing import Any, Literal

from torch import nn

from p2pfl.errors import ConfigError
from p2pfl.learn.flat import ModelFactory
from p2pfl.learn.names import call, find
from p2pfl.learn.recurrent import gru

Norm = Literal["none", "batch", "group"]


def build(
    name: str, folder: Path, input_shape: tuple[int, ...], num_classes: int, args: Mapping[str, Any] | None = None
) -> ModelFactory:
    """A factory of the model `name` for a `FlatModel`: a built-in, or the user's `module:attribute`.

    The user's function or class gets `input_shape` and `num_classes` if it has parameters of these names.
    """
    found = find(name, MODELS, "model", folder)
    if not callable(found):
        raise ConfigError(f"model {name!r}: expected a function or class, got {type(found).__name__}")

    def factory() -> nn.Module:
        module = call(found, args or {}, f"model {name!r}", input_shape=input_shape, num_classes=num_classes)
        if not isinstance(module, nn.Module):
            raise ConfigError(f"model {name!r}: expected a torch.nn.Module, got {type(module).__name__}")
        return module

    return factory


def linear(input_shape: tuple[int, ...], num_classes: int) -> nn.Module:
    """Softmax regression (or least squares): one linear layer."""
    return nn.Sequential(nn.Flatten(), nn.Linear(prod(input_shape), num_classes))


def mlp(
    input_shape: tuple[int, ...], num_classes: int, hidden: Sequence[int] = (256, 128), dropout: float = 0.0
) -> nn.Module:
    """Linear layers with ReLU between them."""
    _check_sizes("mlp", "hidden", hidden)
    _check_dropout("mlp", dropout)
    layers: list[nn.Module] = [nn.Flatten()]
    width = prod(input_shape)
    for size in hidden:
        layers += [nn.Linear(width, size), nn.ReLU(), *([nn.Dropout(dropout)] if dropout else [])]
        width = size
    return nn.Sequential(*layers, nn.Linear(width, num_classes))


def cnn(
    input_shape: tuple[int, ...],
    num_classes: int,
    channels: Sequence[int] = (32, 64),
    hidden: int = 128,
    norm: Norm = "none",
    dropout: float = 0.0,
) -> nn.Module:
    """For images (C, H, W) or (H, W): per entry of `channels` a 3 x 3 convolution, ReLU and halving; then two linear
    layers. 28 x 28 halves to 7 x 7, 32 x 32 to 8 x 8, 8 x 8 to 2 x 2.
    """
    _check_sizes("cnn", "channels", channels)
    _check_sizes("cnn", "hidden", (hidden,))
    _check_dropout("cnn", dropout)
    if len(input_shape) not in (2, 3):
        raise ConfigError(f"cnn: expected images of shape (C, H, W) or (H, W), got {input_shape}")
    depth, height, width = (1, *input_shape) if len(input_shape) == 2 else input_shape
    if min(height, width) < 2 ** len(channels):
        raise ConfigError(f"cnn: {height} x {width} cannot be halved {len(channels)} times; give fewer channels")
    layers: list[nn.Module] = [nn.Unflatten(1, (1, height))] if len(input_shape) == 2 else []
    for size in channels:
        layers += [nn.Conv2d(depth, size, 3, padding=1), *_norm(norm, size), nn.ReLU(), nn.MaxPool2d(2)]
        depth, height, width = size, height // 2, width // 2
    layers += [nn.Flatten(), nn.Linear(depth * height * width, hidden), nn.ReLU()]
    layers += [nn.Dropout(dropout)] if dropout else []
    return nn.Sequential(*layers, nn.Linear(hidden, num_classes))


MODELS: dict[str, Callable[..., nn.Module]] = {"linear": linear, "mlp": mlp, "cnn": cnn, "gru": gru}


def _norm(norm: str, size: int) -> list[nn.Module]:
    match norm:
        case "none":
            return []
        case "batch":
            return [nn.BatchNorm2d(size)]
        case "group":
            return [nn.GroupNorm(next(g for g in (8, 4, 2, 1) if size % g == 0), size)]
    raise ConfigError(f"cnn: expected norm 'none', 'batch' or 'group', got {norm!r}")


def _check_sizes(model: str, option: str, sizes: Sequence[int]) -> None:
    if not all(isinstance(size, int) and size > 0 for size in sizes):
        raise ConfigError(f"{model}: expected {option} as whole numbers above 0, got {list(sizes)}")


def _check_dropout(model: str, dropout: float) -> None:
    if not 0 <= dropout < 1:
        raise ConfigError(f"{model}: expected a dropout of at least 0 and below 1, got {dropout}")
