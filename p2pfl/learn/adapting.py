"""A model as a network begins with it: what it starts from, what stays as it is, what adapters it has. Knows modules;
knows no vector, no node.

The order: the model is built from the seed, takes a checkpoint's tensors, is frozen where patterns say so, and gets
its adapters. Frozen parameters are not in the vector that travels; the digest of the starting model covers them.
"""

from dataclasses import dataclass, field
from pathlib import Path

from torch import nn

from p2pfl.errors import ConfigError
from p2pfl.learn.adapters import Adapters, adapt
from p2pfl.learn.flat import ModelFactory
from p2pfl.learn.patterns import matched
from p2pfl.learn.warm import load_into, read_tensors


@dataclass(frozen=True, slots=True)
class Beginning:
    """start: a checkpoint, or a run's folder. fresh: patterns of what is not taken from it. freeze: patterns of what
    is not learned."""

    start: Path | None = None
    fresh: tuple[str, ...] = ()
    freeze: tuple[str, ...] = ()
    adapters: Adapters = field(default_factory=Adapters)


def prepared(factory: ModelFactory, begin: Beginning) -> ModelFactory:
    """The factory of the model that begins so. The file is read once, now. Raises ConfigError, then and when called."""
    if begin.start is None and begin.fresh:
        raise ConfigError("model.fresh: names what is not taken from model.start, and there is none")
    tensors = None if begin.start is None else read_tensors(begin.start)
    if tensors is None and not begin.freeze and not begin.adapters.rank:
        return factory

    def make() -> nn.Module:
        module = factory()
        if tensors is not None:
            assert begin.start is not None
            load_into(module, tensors, begin.start, begin.fresh)
        if begin.adapters.rank:
            module = adapt(module, begin.adapters)
        freeze(module, begin.freeze)
        return module

    return make


def freeze(module: nn.Module, patterns: tuple[str, ...]) -> None:
    """Raises ConfigError for a pattern that means nothing, and if nothing is left to learn."""
    named = dict(module.named_parameters())
    for name in matched(named, patterns, "model.freeze"):
        named[name].requires_grad_(False)
    if patterns and not any(parameter.requires_grad for parameter in named.values()):
        raise ConfigError(f"model.freeze: expected something left to learn, got all frozen by {', '.join(patterns)}")
