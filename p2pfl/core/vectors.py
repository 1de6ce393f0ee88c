"""What a model vector holds: named tensors in one flat order, in groups. Knows shapes, not models.

Legend: P values in a vector; a group is a contiguous range of it. Trainable tensors come first ("weights"), then the
floating-point buffers of modules ("buffers": batch-norm statistics), which are averaged but never drift-corrected.
Integer buffers and frozen parameters are not part of the vector: the former stay local, the latter are equal
everywhere by the digest of the starting model.
"""

from dataclasses import dataclass
from functools import cached_property
from math import prod
from typing import Literal

import msgpack
import torch
from blake3 import blake3
from torch import Tensor

from p2pfl.core.limits import PARAMS_MAX

GroupName = Literal["weights", "buffers"]


@dataclass(frozen=True, slots=True)
class ParamSpec:
    name: str
    shape: tuple[int, ...]
    group: GroupName

    @property
    def size(self) -> int:
        return prod(self.shape)


@dataclass(frozen=True, slots=True)
class Group:
    """A contiguous range of the vector: values `start` to `stop`."""

    name: GroupName
    start: int
    stop: int

    @property
    def size(self) -> int:
        return self.stop - self.start


@dataclass(frozen=True)
class ParamSchema:
    """The order of tensors in a flat vector x (P,). Raises ValueError if groups are mixed up or the size is absurd."""

    params: tuple[ParamSpec, ...]

    def __post_init__(self) -> None:
        kinds = [p.group for p in self.params]
        if kinds != sorted(kinds, reverse=True):  # "weights" > "buffers"
            raise ValueError("weights must come before buffers")
        if not 0 < self.size <= PARAMS_MAX:
            raise ValueError(f"expected 1 to {PARAMS_MAX} values in a model, got {self.size}")

    @cached_property
    def size(self) -> int:
        return sum(p.size for p in self.params)

    @cached_property
    def sizes(self) -> list[int]:
        return [p.size for p in self.params]

    @cached_property
    def groups(self) -> tuple[Group, ...]:
        """The non-empty groups, in vector order."""
        cut = sum(p.size for p in self.params if p.group == "weights")
        both = (Group("weights", 0, cut), Group("buffers", cut, self.size))
        return tuple(g for g in both if g.size)

    @cached_property
    def digest(self) -> bytes:
        """32 bytes; equal at two nodes if and only if their vectors mean the same."""
        rows = [[p.name, list(p.shape), p.group] for p in self.params]
        return blake3(b"p2pfl/schema/v1\0" + msgpack.packb(rows)).digest()

    def unflatten(self, x: Tensor) -> dict[str, Tensor]:
        """Views of x (P,) by name; differentiable, one split."""
        pieces = torch.split(x, self.sizes)
        return {p.name: piece.view(p.shape) for p, piece in zip(self.params, pieces, strict=True)}
