"""Neighbourhood rules where some neighbours are in other shards: rows out, rows in. Knows no training.

Legend: h rows in a box, P values in a model, V vectors in a row, C notes.

A box holds what the sender's nodes said to anybody in the other shard, in the order of their numbers, each row once:
its values as everybody decodes them (float32, which is what a codec gives), its notes, what its node states of its
averages, and how many bytes its code took (-1 where that was not measured).
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from p2pfl.core.ids import NodeId
from p2pfl.horizontal.terms.averages import Stated
from p2pfl.hosts.dense import Cell, DenseSetting, Models
from p2pfl.hosts.dense_rows import PHASES_KEPT, DenseRows, Words
from p2pfl.hosts.shards import Box, Place, empty_box, mean_size, measured, settled

UNMEASURED = -1


class Traded(NamedTuple):
    """One round's rows that cross, by shard."""

    out: list[list[int]]  # rows of own nodes
    into: list[list[int]]  # rows, behind the own ones, of nodes elsewhere


class ShardRows(DenseRows):
    """The exchange of a `needs = "rows"` rule in one shard."""

    sends = 1

    def __init__(
        self, setting: DenseSetting, cells: Sequence[Cell], models: Models, place: Place, sparse: bool = True
    ) -> None:
        here = {cell.node for cell in cells}
        near = {node for cell in cells for node in cell.nb.neighbours if node not in here}
        elsewhere = sorted(near, key=place.number.__getitem__)
        super().__init__(setting, cells, models, sparse, place.span, elsewhere)
        self.where = place
        self.traded: dict[int, Traded] = {}
        self.words = Words(torch.empty(0), torch.empty(0), [], [])
        self.inbox: Sequence[Box] = ()

    def send(self, index: int, step: int, inbox: Sequence[Box]) -> list[Box]:
        self.words = self.say(index)
        told = measured(self.words.sizes)
        boxes = [self._box(rows)._replace(measured=told) for rows in self._traded(index).out]
        boxes[self.where.shard] = boxes[self.where.shard]._replace(measured=(0, 0))
        return boxes

    def take(self, inbox: Sequence[Box]) -> None:
        self.inbox = inbox

    def exchange(self, index: int) -> None:
        if self.span.total < 2:
            return
        words, self.words = self._heard(index), Words(torch.empty(0), torch.empty(0), [], [])
        sizes = settled(words.sizes, mean_size(words.sizes[: len(self.cells)], self.inbox))
        self.inbox = ()
        self.land(index, words, sizes)

    def _box(self, rows: Sequence[int]) -> Box:
        if not rows:
            return empty_box()
        words = self.words
        stated = [words.stated[row] for row in rows]
        scalars = np.array([one[:3] for one in stated], np.float64)
        places = torch.tensor(rows, dtype=torch.int64)
        notes = words.notes[places].numpy()
        values: Tensor = words.rows[places].to(torch.float32)
        sizes = [words.sizes[row] for row in rows]
        counted = [(one.stop_at, UNMEASURED if size is None else size) for one, size in zip(stated, sizes, strict=True)]
        return Box(values.numpy(), np.concatenate([scalars, notes], axis=1), np.array(counted, np.int64))

    def _heard(self, index: int) -> Words:
        """The words of this round, with those from elsewhere; who is not heard in it has said nothing."""
        words, count, traded = self.words, len(self.elsewhere), self._traded(index)
        notes = torch.zeros((count, words.notes.shape[1]), dtype=torch.float64)
        stated: list[Stated] = [words.stated[0]] * count
        sizes: list[int | None] = [None] * count
        own = len(self.cells)
        for box, rows in zip(self.inbox, traded.into, strict=True):
            assert len(box.values) == len(rows), "two shards disagree about the graph"
            if not rows:
                continue
            places = torch.tensor(rows, dtype=torch.int64)
            words.rows[places] = torch.tensor(box.values).to(words.rows.dtype)
            notes[places - own] = torch.tensor(box.scalars[:, 3:])
            for row, scalars, (stop_at, size) in zip(rows, box.scalars, box.integers.tolist(), strict=True):
                progress, samples, score = scalars[:3].tolist()
                stated[row - own] = Stated(progress, samples, score, stop_at)
                sizes[row - own] = None if size == UNMEASURED else size
        return Words(words.rows, torch.cat([words.notes, notes]), words.stated + stated, words.sizes + sizes)

    def _traded(self, index: int) -> Traded:
        phase = index % max(len(self.cells[0].nb.frames), 1)
        if phase in self.traded:
            return self.traded[phase]
        owner, mine = self.where.owner, self.where.shard
        out: list[list[int]] = [[] for _ in range(self.where.count)]
        into: list[set[NodeId]] = [set() for _ in out]
        for row, turn in enumerate(self.turns(index)):
            for shard in {owner[peer] for peer in turn.to} - {mine}:
                out[shard].append(row)
            for peer in turn.rows:
                if owner[peer] != mine:
                    into[owner[peer]].add(peer)
        found = Traded(out, [sorted(self.place[peer] for peer in peers) for peers in into])
        if not self.rule.fanout and len(self.traded) < PHASES_KEPT:
            self.traded[phase] = found
        return found
