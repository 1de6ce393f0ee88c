"""What of a model travels, and what stays: a vector cut in two by the names in it. Knows names and vectors; knows no
learner and no node.

Legend: P values in a model, W of them trainable; S values are shared, of them V trainable; K = P - S are kept.
All take a leading axis of nodes.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby

import torch
from torch import Tensor

from p2pfl.core.vectors import ParamSchema, ParamSpec
from p2pfl.errors import ConfigError
from p2pfl.learn.patterns import matched

KEPT = "kept"
"""The slot of a learner's state that holds what stays at the node."""


@dataclass(frozen=True)
class Part:
    """The parameters of `whole` that `share` means travel; the others stay. Raises ConfigError for a pattern that
    means nothing, and if nothing trainable travels."""

    whole: ParamSchema
    share: tuple[str, ...]

    def __post_init__(self) -> None:
        if not any(group.name == "weights" for group in self.schema.groups):
            raise ConfigError(f"model.share: expected something that is learned, got {', '.join(self.share)}")

    @cached_property
    def names(self) -> frozenset[str]:
        return matched([spec.name for spec in self.whole.params], self.share, "model.share")

    @cached_property
    def schema(self) -> ParamSchema:
        """Of what travels."""
        specs = tuple(spec for spec in self.whole.params if spec.name in self.names)
        if not sum(spec.size for spec in specs):
            raise ConfigError(f"model.share: expected something that is learned, got {', '.join(self.share)}")
        return ParamSchema(specs)

    @property
    def kept_size(self) -> int:
        return self.whole.size - self.schema.size

    @cached_property
    def _cuts(self) -> tuple[tuple[bool, int], ...]:
        """The vector's stretches in order: whether each is shared, and its size."""
        return _stretches(self.whole.params, self.names)

    @cached_property
    def _weight_cuts(self) -> tuple[tuple[bool, int], ...]:
        return _stretches([spec for spec in self.whole.params if spec.group == "weights"], self.names)

    def split(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """x (.., P) -> what is shared (.., S) and what is kept (.., K), copies."""
        pieces = torch.split(x, [size for _, size in self._cuts], -1)
        found = list(zip(self._cuts, pieces, strict=True))
        shared = [piece for (goes, _), piece in found if goes]
        kept = [piece for (goes, _), piece in found if not goes]
        return torch.cat(shared, -1), torch.cat([x[..., :0], *kept], -1)

    def join(self, shared: Tensor, kept: Tensor) -> Tensor:
        """The inverse: (.., S) and (.., K) -> (.., P)."""
        return _woven(self._cuts, shared, kept.to(shared.device, shared.dtype))

    def spread(self, shift: Tensor) -> Tensor:
        """A drift correction (.., V) or (.., S) -> (.., W): nothing pulls at what is kept."""
        wide = sum(size for _, size in self._weight_cuts)
        goes = sum(size for shared, size in self._weight_cuts if shared)
        return _woven(self._weight_cuts, shift[..., :goes], shift.new_zeros((*shift.shape[:-1], wide - goes)))


def _stretches(specs: Sequence[ParamSpec], names: frozenset[str]) -> tuple[tuple[bool, int], ...]:
    runs = groupby(specs, key=lambda spec: spec.name in names)
    return tuple((goes, sum(spec.size for spec in run)) for goes, run in runs)


def _woven(cuts: Sequence[tuple[bool, int]], shared: Tensor, kept: Tensor) -> Tensor:
    pieces, at = [], {True: 0, False: 0}
    for goes, size in cuts:
        source, start = shared if goes else kept, at[goes]
        pieces.append(source[..., start : start + size])
        at[goes] = start + size
    return torch.cat(pieces, -1)
