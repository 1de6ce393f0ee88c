"""Rows of a new table through the parts that were trained, as tasks. Knows tensors and rows; no turn, no message.

The noise on an embedding is drawn from the part's secret and the row's features: who asks for a row again gets the same
bytes again, so asking often wears nothing off.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from blake3 import blake3
from numpy.typing import NDArray
from torch import Tensor

from p2pfl.core.ids import NodeId
from p2pfl.core.noise import Key
from p2pfl.core.party import Buffer, Lane, Task
from p2pfl.errors import Reject
from p2pfl.vertical.data.protect import RowGuard
from p2pfl.vertical.split.messages import pack, unpack
from p2pfl.vertical.split.work import Malformed

Rows = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class EmbedRows:
    """A feature holder's answer. Result: packed embeddings."""

    rows: Rows
    lane: Lane = "train"


@dataclass(frozen=True, slots=True, eq=False)
class ScoreRows:
    """All embeddings of some rows are there. Result: scores (n,), or Malformed."""

    rows: Rows
    bodies: tuple[Buffer, ...] = field(repr=False)
    lane: Lane = "train"


@dataclass(frozen=True, slots=True, eq=False)
class LoadedPart:
    """A part that was trained. forward: features (n, F) to embeddings (n, d) at a feature holder; features and all
    embeddings to scores (n,) at the label holder. guard: of embeddings."""

    forward: Callable[..., Tensor]
    guard: RowGuard
    secret: bytes


class EmbedWork:
    """For a feature holder. features (n, F), in the common order, scaled as in training."""

    def __init__(self, part: LoadedPart, features: Tensor) -> None:
        self.part, self.features = part, features

    def run(self, task: Task) -> Any:
        assert isinstance(task, EmbedRows)
        part, x = self.part, self.features[torch.from_numpy(task.rows)]
        with torch.no_grad():
            out = part.guard.clip_rows(part.forward(x))
        if part.guard.noise:
            keys = [Key(blake3(row.numpy().tobytes(), key=part.secret).digest()) for row in x]
            out = torch.cat([part.guard.add_noise(out[i : i + 1], key) for i, key in enumerate(keys)])
        return pack(out.numpy())


class ScoreWork:
    """For the label holder. features (n, F), F may be 0; `senders` and `widths` of the feature holders."""

    def __init__(self, part: LoadedPart, features: Tensor, senders: Sequence[NodeId], widths: Sequence[int]) -> None:
        self.part, self.features, self.senders, self.widths = part, features, tuple(senders), tuple(widths)

    def run(self, task: Task) -> Any:
        assert isinstance(task, ScoreRows)
        found = []
        for node, width, body in zip(self.senders, self.widths, task.bodies, strict=True):
            try:
                matrix = unpack(body, len(task.rows), width, self.part.guard.longest(width))
            except Reject as error:
                return Malformed(node, error.code, error.detail)
            found.append(torch.from_numpy(matrix))
        with torch.no_grad():
            scores: Tensor = self.part.forward(self.features[torch.from_numpy(task.rows)], *found)
        return scores.numpy()
