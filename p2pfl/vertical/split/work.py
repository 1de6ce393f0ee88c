"""The heavy work of a split training as values, and what runs it. Knows tensors and bytes; no turn, no message.

A task's result depends on its fields and the party's table alone. What a peer's bytes did wrong comes back as a
`Malformed`, never raised.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from p2pfl.core.ids import NodeId
from p2pfl.core.noise import Key, derive, root
from p2pfl.core.party import Buffer, Lane, Task
from p2pfl.errors import ConfigError, Reject, TrainingError
from p2pfl.vertical.data.leaks import LabelLeakMeter
from p2pfl.vertical.split.messages import pack, unpack
from p2pfl.vertical.split.nets import Bottom, Net, Part, Top, learn_top, mlp
from p2pfl.vertical.split.plan import Batches, Plan


@dataclass(frozen=True, slots=True)
class Malformed:
    """What is wrong with `sender`'s bytes."""

    sender: NodeId
    code: str
    detail: str


@dataclass(frozen=True, slots=True, eq=False)
class Embed:
    """A feature holder's step: learn from the gradient of the step before, if there is one, and embed this one's rows.
    Result: (part, packed embeddings), or Malformed."""

    step: int
    part: Part
    gradient: Buffer = field(repr=False)
    key: Key = field(repr=False)
    lane: Lane = "train"


@dataclass(frozen=True, slots=True, eq=False)
class Score:
    """The label holder's step: all embeddings, in the order of the parties. Result: Scored, or Malformed."""

    step: int
    part: Part
    bodies: tuple[Buffer, ...] = field(repr=False)
    key: Key = field(repr=False)
    lane: Lane = "train"


@dataclass(frozen=True, slots=True, eq=False)
class Scored:
    """While learning: the next part, the packed gradients by party, the mean loss. Else the rows' scores."""

    part: Part
    gradients: tuple[bytes, ...]
    loss: float
    scores: NDArray[np.float32]


class FeatureWork:
    """Computes for a feature holder. features (n, F) of the common rows, in the common order."""

    def __init__(self, plan: Plan, me: NodeId, features: Tensor) -> None:
        _check_rows(plan, me, features)
        if not features.shape[1]:
            raise ConfigError(f"{plan.name_of(me)}: expected at least one feature column, got none")
        self.plan, self.me, self.features = plan, me, features
        self.batches, self.width = Batches(plan.schedule), plan.width_of(me)
        width, hidden = self.width, plan.hidden
        net = Net(lambda: mlp(features.shape[1], hidden, width), start_key(plan.schedule.seed, me), plan.lr)
        self.bottom = Bottom(net, plan.embeddings.clip_rows)

    def run(self, task: Task) -> Any:
        assert isinstance(task, Embed)
        part = task.part
        if memoryview(task.gradient).nbytes:
            rows = self.batches.rows(task.step - 1)
            longest = self.plan.gradients.longest(sum(self.plan.widths[1:]))
            try:
                gradient = unpack(task.gradient, len(rows), self.width, longest)
            except Reject as error:
                return Malformed(self.plan.label_holder, error.code, error.detail)
            part = self.bottom.learn(part, self.features[rows], torch.from_numpy(gradient))
            _check_finite(part.x, task.step)
        rows = self.batches.rows(task.step)
        out = self.plan.embeddings.add_noise(self.bottom.embed(part, self.features[rows]), task.key)
        return part, pack(out.numpy())


class LabelWork:
    """Computes for the label holder. labels (n,) 0 or 1; features (n, F), F may be 0. Measures what its gradients give
    away, as sent."""

    def __init__(self, plan: Plan, features: Tensor, labels: NDArray[np.int64]) -> None:
        me = plan.label_holder
        _check_rows(plan, me, features)
        if len(labels) != len(features) or not set(np.unique(labels)) <= {0, 1}:
            raise ConfigError(f"{plan.name_of(me)}: expected a label 0 or 1 for each of {len(features)} rows")
        self.plan, self.features, self.labels = plan, features, torch.from_numpy(labels)
        self.batches = Batches(plan.schedule)
        num, p = features.shape[1], plan
        self.net = Net(lambda: Top(num, p.hidden, p.widths, p.top_hidden), start_key(plan.schedule.seed, me), plan.lr)
        self.leaks = {node: LabelLeakMeter() for node in plan.feature_holders}

    def run(self, task: Task) -> Any:
        assert isinstance(task, Score)
        rows = self.batches.rows(task.step)
        found: list[Tensor] = []
        for node, body in zip(self.plan.feature_holders, task.bodies, strict=True):
            width = self.plan.width_of(node)
            try:
                matrix = unpack(body, len(rows), width, self.plan.embeddings.longest(width))
            except Reject as error:
                return Malformed(node, error.code, error.detail)
            found.append(torch.from_numpy(matrix))
        if not self.batches.is_learning(task.step):
            with torch.no_grad():
                scores = torch.sigmoid(self.net.run(task.part.x, self.features[rows], *found))
            return Scored(task.part, (), 0.0, scores.numpy())
        return self._learn(task, rows, found)

    def _learn(self, task: Score, rows: NDArray[np.int64], found: Sequence[Tensor]) -> Scored:
        y = self.labels[rows]
        done = learn_top(self.net, task.part, self.features[rows], found, y)
        _check_finite(done.part.x, task.step)
        # one row over all parties: they may compare notes, and one person's label is paid for once
        guarded = self.plan.gradients.apply_to_gradients(torch.cat(done.gradients, dim=1), done.residuals, task.key)
        sent = torch.split(guarded, list(self.plan.widths[1:]), dim=1)
        for node, rows_sent in zip(self.plan.feature_holders, sent, strict=True):
            self.leaks[node].add(rows_sent.double().numpy(), y.numpy())
        return Scored(done.part, tuple(pack(g.numpy()) for g in sent), done.loss, np.zeros(0, np.float32))


def start_key(seed: int, node: NodeId) -> Key:
    return derive(root(seed), "vertical-start", node)


def _check_rows(plan: Plan, me: NodeId, features: Tensor) -> None:
    if features.ndim != 2 or len(features) != plan.schedule.rows:
        raise ConfigError(
            f"{plan.name_of(me)}: expected {plan.schedule.rows} aligned rows, got {tuple(features.shape)}"
        )
    if not bool(torch.isfinite(features).all()):
        raise ConfigError(f"{plan.name_of(me)}: expected finite features")


def _check_finite(x: Tensor, step: int) -> None:
    if not bool(torch.isfinite(x).all()):
        raise TrainingError(f"step {step}: the weights are no longer finite; try a smaller learning rate")
