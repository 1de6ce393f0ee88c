"""A whole network as one tensor program, in lockstep: no Party, message, clock or signature. Knows rounds and rows.

Theory of operation
-------------------
Legend: N nodes, P values in a model, X (N, P) their models.

A round is what the lockstep Parties do in it, in the same order and with the same keys: every node that is drawn
trains (learn/crew.py); then the edges of the round's colour exchange (`dense_pairs`), or everybody's rows are said,
gathered and mixed (`dense_rows`); then those whose judgement is due are judged. What a node computes is computed by the
node's own functions, over a leading node axis and in chunks of nodes; so results agree with the simulator's to the
rounding of a sum (tests/agreement), whatever the chunks. Nothing is lost, late or refused here: that is the
simulator's to answer.

Bytes are counted as the messages would have: heads by a like message, bodies by encoding rows. All rows are encoded up
to `SIZED` nodes; above, `SIZED_OF_MORE` nodes a round in turn stand for the others.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Protocol

import torch
from torch import Tensor

from p2pfl.compress import Codec
from p2pfl.core.ids import NodeId
from p2pfl.core.noise import Key, derive
from p2pfl.core.party import Emit
from p2pfl.core.vectors import ParamSchema
from p2pfl.horizontal.model.algorithm import Guard, guarded
from p2pfl.horizontal.terms.neighbourhood import Neighbourhood
from p2pfl.horizontal.terms.progress import Progress
from p2pfl.horizontal.terms.workflow import StopRule, drawn, weight_of
from p2pfl.learn.crew import CannotTrain, Crew, Drill, Order
from p2pfl.learn.data import SplitName
from p2pfl.learn.training import Evaluation
from p2pfl.mixing import Mixer

SIZED = 16
SIZED_OF_MORE = 4


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
    """One virtual node, but for what is a row of the network's tensors. `entropy` is what its Party would have been
    started with."""

    node: NodeId
    nb: Neighbourhood
    guard: Guard | None
    entropy: Key
    local: Progress
    samples: float
    splits: tuple[SplitName, ...]
    traffic: Traffic = field(default_factory=Traffic)
    reported: int = 0
    next_evaluation: int = 0
    bounded: int = 0
    exchanges: int | None = None

    @cached_property
    def train_key(self) -> Key:
        return derive(self.entropy, "train")


@dataclass(eq=False)
class Models:
    """x (N, P): all models; a round may put another tensor in its place. before: what they were when the round's local
    phases began, where a rule looks back; else None. work (N,) float64: the learning rate summed over these phases."""

    x: Tensor
    work: Tensor
    before: Tensor | None = None


@dataclass(frozen=True)
class DenseSetting:
    """What all nodes have in common. seed: the recipe's digest. meeting: of a round, what its partners are drawn from.
    head_bytes: a message's head, by kind and body bytes,
    the transport's headers included. chunk: nodes (or pairs) that are exchanged at once."""

    rule: Mixer
    codec: Codec
    snapshot_codec: Codec
    schema: ParamSchema
    seed: Key
    meeting: Callable[[int], Key]
    eval_every: int
    participants: float
    weigh_samples: bool
    closing: int
    stop: StopRule | None
    head_bytes: Callable[[str, int], int]
    chunk: int = 16


class Exchanging(Protocol):
    """How the models of a round meet."""

    looks_back: bool
    """Whether it reads `Models.before`."""

    def exchange(self, index: int) -> None:
        """Round `index`, counted over training and closing rounds."""
        ...

    def period(self) -> int:
        """Rounds in which every edge is met once."""
        ...

    def shifts(self, nodes: Sequence[int]) -> Tensor | None:
        """The drift corrections of some nodes' next local phases."""
        ...

    def trained(self, drill: Drill) -> None:
        """Some nodes' local phases have ended."""
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
        models: Models,
        crew: Crew,
        exchanging: Exchanging,
        on_emit: Callable[[NodeId, Emit], None] = lambda node, emit: None,
    ) -> None:
        self.setting, self.cells, self.models, self.crew = setting, cells, models, crew
        self.exchanging, self.on_emit = exchanging, on_emit
        self.slots = crew.slots(len(cells), models.x[0])
        self.guards = any(cell.guard is not None for cell in cells)
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
        if not self.failed:
            self._end()

    # -------------------------------------------------------------------------------------------- a round

    def _round(self) -> None:
        models, orders = self.models, self._orders()
        if self.guards or self.exchanging.looks_back:
            models.before = models.x.clone()
        models.work.zero_()
        due: list[int] = []
        try:
            for drill in self.crew.train(models.x, self.slots, self.exchanging.shifts, orders):
                due += self._landed(drill)
        except CannotTrain as error:
            cell = self.cells[error.node]
            self.on_emit(cell.node, Emit("failed", {"reason": str(error), "round": cell.local.round}))
            self.failed = True
            return
        self._exchange()
        if due:
            for number, result in zip(sorted(due), self._evaluate(sorted(due)), strict=True):
                self._judge(self.cells[number], result)

    def _orders(self) -> list[Order]:
        """What those that train in this round are to do; the others' round passes."""
        setting, orders = self.setting, []
        lots: dict[int, frozenset[NodeId]] = {}
        for number, cell in enumerate(self.cells):
            local = cell.local
            if local.finished:
                continue
            if setting.participants < 1:
                round_ = local.round
                if round_ not in lots:
                    lots[round_] = drawn(cell.nb.members, round_, setting.participants, self.lots)
                if cell.node not in lots[round_]:
                    local.advance(1.0)
                    continue
            weight = weight_of(cell.samples, local.averages.samples) if setting.weigh_samples else 1.0
            orders.append(Order(number, local.round, local.phase_steps, local.steps, cell.train_key, weight))
        return orders

    def _landed(self, drill: Drill) -> list[int]:
        """Some local phases have ended. Returns which of these nodes are to be judged after the exchange."""
        models, due = self.models, []
        numbers = [order.node for order in drill.orders]
        if self.guards:
            self._guard(drill)
        models.work[torch.tensor(numbers)] = torch.tensor(drill.work, dtype=torch.float64)
        self.exchanging.trained(drill)
        told = zip(drill.orders, drill.loss, drill.work, drill.accuracy, strict=True)
        for order, loss, work, accuracy in told:
            cell = self.cells[order.node]
            cell.local.did(order.steps, work, drill.samples)
            if self._report(cell, loss, accuracy):
                due.append(order.node)
        return due

    def _guard(self, drill: Drill) -> None:
        x, before = self.models.x, self.models.before
        assert before is not None
        for order in drill.orders:
            guard, number = self.cells[order.node].guard, order.node
            if guard is not None:
                x[number] = guarded(guard, before[number], x[number], order.key, order.first)

    def _report(self, cell: Cell, loss: float, accuracy: float | None) -> bool:
        """Tells of a node's round. Returns whether its judgement is due."""
        local, every = cell.local, self.setting.eval_every
        round_ = local.round
        if round_ <= cell.reported:
            return False
        cell.reported = round_
        fields: dict[str, Any] = {"round": round_, "rounds": local.rounds, "loss": loss}
        if accuracy is not None:
            fields["train_accuracy"] = accuracy
        fields["peers"] = len(cell.nb.neighbours)
        fields.update(vars(cell.traffic))
        self.on_emit(cell.node, Emit("round", fields))
        due = bool(every) and cell.next_evaluation <= round_ < local.rounds
        if due:
            cell.next_evaluation = round_ + every
        return due

    def _exchange(self) -> None:
        self.exchanging.exchange(self.index)
        self.models.work.zero_()
        self.models.before = None
        self.index += 1

    # -------------------------------------------------------------------------------------------- judgements

    def _evaluate(self, numbers: Sequence[int]) -> list[Evaluation]:
        """All splits of some nodes; returns the first of each, by which the node judges itself."""
        found: dict[int, dict[SplitName, Evaluation]] = {number: {} for number in numbers}
        for split in dict.fromkeys(split for number in numbers for split in self.cells[number].splits):
            having = [number for number in numbers if split in self.cells[number].splits]
            for number, result in zip(having, self._judged(having, split), strict=True):
                found[number][split] = result
        for number in numbers:
            cell = self.cells[number]
            for split in cell.splits:
                result = found[number][split]
                fields: dict[str, Any] = {"round": cell.local.round, "split": split, "loss": result.loss}
                if result.accuracy is not None:
                    fields["accuracy"] = result.accuracy
                self.on_emit(cell.node, Emit("evaluation", fields | vars(cell.traffic)))
        return [found[number][self.cells[number].splits[0]] for number in numbers]

    def _judged(self, numbers: Sequence[int], split: SplitName) -> list[Evaluation]:
        return self.crew.evaluate(self.models.x, numbers, split, self.slots)

    def _judge(self, cell: Cell, result: Evaluation) -> None:
        """Early stopping, as the Party does it when the evaluation is in."""
        at = cell.local.judged(self.setting.stop, result.loss, result.accuracy)
        if at is not None:
            self.on_emit(cell.node, Emit("stopping", {"score": cell.local.averages.score, "round": at}))

    def _end(self) -> None:
        self._evaluate(range(len(self.cells)))
        for number, cell in enumerate(self.cells):
            fields: dict[str, Any] = {"round": cell.local.round, "samples": cell.local.samples}
            if cell.exchanges is not None:
                fields |= {"exchanges": cell.exchanges, "bounded": cell.bounded, "refused": 0}
            self.on_emit(cell.node, Emit("finished", fields | vars(cell.traffic)))
            for emit in self.exchanging.end(number):
                self.on_emit(cell.node, emit)


def is_sized(number: int, count: int, index: int) -> bool:
    """Whether a node's rows are encoded in round `index` to know their size."""
    some = SIZED if count <= SIZED else SIZED_OF_MORE
    return (number - index * some) % count < some


def filled(sizes: Sequence[int | None]) -> list[int]:
    """Sizes with those that were not measured at the mean of those that were."""
    known = [size for size in sizes if size is not None]
    mean = round(sum(known) / len(known)) if known else 0
    return [mean if size is None else size for size in sizes]


def where(nodes: Sequence[int]) -> slice | Tensor:
    """A slice where the numbers follow one another: no copy."""
    if nodes[-1] - nodes[0] == len(nodes) - 1 and list(nodes) == list(range(nodes[0], nodes[-1] + 1)):
        return slice(nodes[0], nodes[-1] + 1)
    return torch.tensor(nodes)
