"""What a vector that nodes exchange holds: named tensors in one flat order, in groups. Knows shapes, not models.

Legend: P values in a vector; a group is a contiguous range of it. Trainable tensors come first ("weights"), then the
floating-point buffers of modules ("buffers": batch-norm statistics), which are averaged but never drift-corrected.
What is said beside or instead of a model ("answers") comes before both.
Integer buffers and frozen parameters are not part of the vector: the former stay local, the latter are equal
everywhere by the digest of the starting model.
"""

from dataclasses import dataclass
from functools import cached_property
from math import prod
from typing import Literal, get_args

import msgpack
import torch
from blake3 import blake3
from torch import Tensor

from p2pfl.core.limits import PARAMS_MAX

GroupName = Literal["answers", "weights", "buffers"]
GROUPS: tuple[GroupName, ...] = get_args(GroupName)
"""In vector order."""


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
        kinds = [GROUPS.index(p.group) for p in self.params]
        if kinds != sorted(kinds):
            raise ValueError(f"groups must come in the order {', '.join(GROUPS)}")
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
        found, start = [], 0
        for name in GROUPS:
            stop = start + sum(p.size for p in self.params if p.group == name)
            found.append(Group(name, start, stop))
            start = stop
        return tuple(g for g in found if g.size)

    def only(self, group: GroupName) -> "ParamSchema":
        """That group's tensors alone. ValueError if there are none."""
        return ParamSchema(tuple(p for p in self.params if p.group == group))

    @cached_property
    def digest(self) -> bytes:
        """32 bytes; equal at two nodes if and only if their vectors mean the same."""
        rows = [[p.name, list(p.shape), p.group] for p in self.params]
        return blake3(b"p2pfl/schema/v1\0" + msgpack.packb(rows)).digest()

    def unflatten(self, x: Tensor) -> dict[str, Tensor]:
        """Views of x (P,) by name; differentiable, one split."""
        pieces = torch.split(x, self.sizes)
        return {p.name: piece.view(p.shape) for p, piece in zip(self.params, pieces, strict=True)}
