"""A whole network as one tensor program, in lockstep: no Party, message, clock or signature. Knows rounds and rows.

Theory of operation
-------------------
Legend: N nodes, P values in a model, X (N, P) their models.

A round is what the lockstep Parties do in it, in the same order and with the same keys: every node that is drawn
trains; then the edges of the round's colour exchange (`dense_pairs`), or everybody's rows are said, gathered and mixed
(`dense_rows`); then those whose judgement is due are judged. What a node computes is computed by the node's own
functions (horizontal/algorithm.py, the mixer, the codec's `project`); so results agree with the simulator's to the
rounding of a sum (tests/agreement). Nothing is lost, late or refused here: that is the simulator's to answer.

Bytes are counted as the messages would have: heads by a like message, bodies by encoding rows. All rows are encoded up
to `SIZED` nodes; above, `SIZED` nodes a round in turn stand for the others.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from math import isfinite
from typing import Any, Protocol

import torch
from torch import Tensor

from p2pfl.compress import Codec
from p2pfl.core.ids import NodeId
from p2pfl.core.noise import Key, derive
from p2pfl.core.party import Emit
from p2pfl.core.vectors import ParamSchema
from p2pfl.errors import TrainingError
from p2pfl.horizontal.algorithm import Guard, local_phase
from p2pfl.horizontal.local import Local
from p2pfl.horizontal.neighbourhood import Neighbourhood
from p2pfl.horizontal.workflow import StopRule, trains, weight_of
from p2pfl.learn.data import SplitName
from p2pfl.learn.learner import Learner
from p2pfl.learn.training import Evaluation
from p2pfl.mixing import Mixer, Pairwise

SIZED = 16


@dataclass(eq=False)
class Traffic:
    """Bytes that one node would have sent and got."""

    bytes_sent: int = 0
    bytes_received: int = 0
    bodies_sent: int = 0
    body_bytes_sent: int = 0

    def said(self, head: int, body: int) -> None:
        self.bytes_sent += head + body
        if body:
            self.bodies_sent += 1
            self.body_bytes_sent += body

    def heard(self, head: int, body: int) -> None:
        self.bytes_received += head + body


@dataclass(eq=False)
class Cell:
    """One virtual node. `entropy` is what its Party would have been started with."""

    node: NodeId
    nb: Neighbourhood
    learner: Learner
    guard: Guard | None
    entropy: Key
    local: Local
    samples: float
    splits: tuple[SplitName, ...]
    traffic: Traffic = field(default_factory=Traffic)
    reported: int = 0
    next_evaluation: int = 0
    bounded: int = 0
    exchanges: int | None = None


@dataclass(frozen=True)
class DenseSetting:
    """What all nodes have in common. seed: the recipe's digest. head_bytes: a message's head, by kind and body bytes,
    the transport's headers included. chunk: nodes that are mapped over at once."""

    rule: Mixer
    codec: Codec
    snapshot_codec: Codec
    schema: ParamSchema
    seed: Key
    eval_every: int
    participants: float
    weigh_samples: bool
    closing: int
    stop: StopRule | None
    head_bytes: Callable[[str, int], int]
    chunk: int = 64


class Exchanging(Protocol):
    """How the models of a round meet."""

    def exchange(self, index: int) -> None:
        """Round `index`, counted over training and closing rounds."""
        ...

    def period(self) -> int:
        """Rounds in which every edge is met once."""
        ...

    def shift(self, number: int) -> Tensor | None:
        """The drift correction of a node's next local phase."""
        ...

    def end(self, number: int) -> list[Emit]:
        """What a node has to tell of its edges at the end."""
        ...


class DenseHost:
    """Runs all cells to the end; `on_emit` gets (node, Emit), as from their Parties."""

    def __init__(
        self,
        setting: DenseSetting,
        cells: Sequence[Cell],
        exchanging: Exchanging,
        on_emit: Callable[[NodeId, Emit], None] = lambda node, emit: None,
    ) -> None:
        self.setting, self.cells, self.exchanging, self.on_emit = setting, cells, exchanging, on_emit
        self.lots = derive(setting.seed, "participants")
        self.index = 0
        self.failed = False
        for cell in cells:
            cell.next_evaluation = setting.eval_every

    def run(self) -> None:
        """All rounds, the closing exchanges, and the last judgement; ends early if a node cannot train on."""
        while not self.failed and not all(cell.local.finished for cell in self.cells):
            self._round()
        for _ in range(self.setting.closing * self.exchanging.period()):
            if not self.failed:
                self._exchange()
        for number, cell in enumerate(self.cells):
            if not self.failed:
                self._end(number, cell)

    def _round(self) -> None:
        due = []
        for number, cell in enumerate(self.cells):
            try:
                if self._train(number, cell):
                    due.append(cell)
            except TrainingError as error:
                self.on_emit(cell.node, Emit("failed", {"reason": str(error), "round": cell.local.round}))
                self.failed = True
                return
        self._exchange()
        for cell in due:
            self._judge(cell, self._evaluate(cell))

    def _train(self, number: int, cell: Cell) -> bool:
        """One node's local phase, if it is drawn. Returns whether it is to be evaluated now."""
        local, setting = cell.local, self.setting
        if local.finished:
            return False
        if not trains(cell.node, cell.nb.members, local.round, setting.participants, self.lots):
            local.advance(1.0)
            return False
        weight = weight_of(cell.samples, local.averages.samples) if setting.weigh_samples else 1.0
        start = local.x
        trained = local_phase(
            cell.learner,
            cell.guard,
            start,
            local.opt,
            self.exchanging.shift(number),
            local.phase_steps,
            local.round,
            derive(cell.entropy, "train"),
            weight,
        )
        rule = setting.rule
        local.land(start, trained, rule if isinstance(rule, Pairwise) else None, 0.0)
        if not isfinite(trained.loss):
            raise TrainingError(f"round {cell.reported}: the loss is {trained.loss}; lower train.lr")
        if local.round <= cell.reported:
            return False
        cell.reported = local.round
        fields: dict[str, Any] = {"round": local.round, "rounds": local.rounds, "loss": trained.loss}
        if trained.accuracy is not None:
            fields["train_accuracy"] = trained.accuracy
        fields["peers"] = len(cell.nb.neighbours)
        self.on_emit(cell.node, Emit("round", fields | vars(cell.traffic)))
        due = bool(setting.eval_every) and cell.next_evaluation <= local.round < local.rounds
        if due:
            cell.next_evaluation = local.round + setting.eval_every
        return due

    def _exchange(self) -> None:
        self.exchanging.exchange(self.index)
        self.index += 1

    def _evaluate(self, cell: Cell) -> Evaluation:
        """All splits; returns the first, by which the node judges itself."""
        results = {split: cell.learner.evaluate(cell.local.x, split) for split in cell.splits}
        for split, result in results.items():
            fields: dict[str, Any] = {"round": cell.local.round, "split": split, "loss": result.loss}
            if result.accuracy is not None:
                fields["accuracy"] = result.accuracy
            self.on_emit(cell.node, Emit("evaluation", fields | vars(cell.traffic)))
        return next(iter(results.values()))

    def _judge(self, cell: Cell, result: Evaluation) -> None:
        """Early stopping, as the Party does it when the evaluation is in."""
        rule, local = self.setting.stop, cell.local
        score = None if rule is None else result.loss if rule.metric == "loss" else result.accuracy
        if rule is None or score is None or local.finished:
            return
        local.averages = local.averages.judged(score)
        if rule.reached(local.averages.score) and local.averages.stop_at > local.rounds:
            at = local.round + rule.margin
            if at < local.rounds:
                local.averages = local.averages.stopping(at)
                self.on_emit(cell.node, Emit("stopping", {"score": local.averages.score, "round": at}))

    def _end(self, number: int, cell: Cell) -> None:
        self._evaluate(cell)
        fields: dict[str, Any] = {"round": cell.local.round, "samples": cell.local.samples}
        if cell.exchanges is not None:
            fields |= {"exchanges": cell.exchanges, "bounded": cell.bounded, "refused": 0}
        self.on_emit(cell.node, Emit("finished", fields | vars(cell.traffic)))
        for emit in self.exchanging.end(number):
            self.on_emit(cell.node, emit)


def models(cells: Sequence[Cell]) -> Tensor:
    """X (N, P)."""
    return torch.stack([cell.local.x for cell in cells])


def is_sized(number: int, count: int, index: int) -> bool:
    """Whether a node's rows are encoded in round `index` to know their size."""
    return (number - index * SIZED) % count < SIZED


def filled(sizes: Sequence[int | None]) -> list[int]:
    """Sizes with those that were not measured at the mean of those that were."""
    known = [size for size in sizes if size is not None]
    mean = round(sum(known) / len(known)) if known else 0
    return [mean if size is None else size for size in sizes]
