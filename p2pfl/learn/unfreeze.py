"""Gradual unfreezing: which weights are not learned yet in a round. Knows names and rounds; knows no module or step.

Group k of the order begins to be learned in round k * every; what no pattern means begins last. Until then its
gradients are 0 and it stays where it is, here and, being the same everywhere, in what is exchanged.

Source: Howard, Ruder 2018 (ULMFiT), section 3.3: from the last layer to the first. Differs from the paper in: rounds
instead of epochs.
"""

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from p2pfl.core.vectors import ParamSchema, ParamSpec
from p2pfl.learn.patterns import matched, matches


@dataclass(frozen=True, slots=True)
class Unfreezing:
    """every: rounds from one group to the next. order: a pattern for each group; layers from the last to the first if
    there is none."""

    every: int
    order: tuple[str, ...] = ()


@dataclass(frozen=True)
class Stillness:
    """An `Unfreezing` of one model. Raises ConfigError for a pattern that means nothing."""

    schema: ParamSchema
    unfreeze: Unfreezing

    def __post_init__(self) -> None:
        for pattern in self.unfreeze.order:
            matched([spec.name for spec in self._weights], (pattern,), "train.unfreeze.order")

    @property
    def _weights(self) -> list[ParamSpec]:
        return [spec for spec in self.schema.params if spec.group == "weights"]

    @cached_property
    def opens(self) -> tuple[int, ...]:
        """For each trainable tensor in order, the round in which it begins to be learned."""
        order = self.unfreeze.order or _backwards(self._weights)
        groups = [next((k for k, p in enumerate(order) if matches(spec.name, p)), len(order)) for spec in self._weights]
        return tuple(group * self.unfreeze.every for group in groups)

    def at(self, round_: int) -> Tensor | None:
        """(W,) bool: what stays as it is in this round; None if nothing does."""
        opens = [round_ >= since for since in self.opens]
        if all(opens):
            return None
        pieces = zip(self._weights, opens, strict=True)
        return torch.cat([torch.full((spec.size,), not learned) for spec, learned in pieces])


def stillness(schema: ParamSchema, unfreeze: Unfreezing | None) -> Stillness | None:
    return None if unfreeze is None else Stillness(schema, unfreeze)


def _backwards(weights: list[ParamSpec]) -> tuple[str, ...]:
    """The layers, last first."""
    owners = list(dict.fromkeys(spec.name.rpartition(".")[0] or spec.name for spec in weights))
    return tuple(reversed(owners))
