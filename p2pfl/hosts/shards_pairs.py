"""The pairwise rule where some partners are in other shards: what ends say, out and in. Knows no training.

Legend: h exchanges of a round between two shards, P values in a model, G parameter groups.

Both shards of an edge hold its reference. Boxes go twice in a round: first the snapshots of those askers whose models
have outgrown a reference, for the other end's difference is to the new one; then what each end says. Of two shards'
exchanges in a round both know the order: by the smaller number of the two nodes.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from p2pfl.core.ids import NodeId
from p2pfl.horizontal.terms.averages import Stated
from p2pfl.hosts.dense import Cell, DenseSetting, Models
from p2pfl.hosts.dense_pairs import Ask, Bond, DensePairs, End, Meeting, NextEpoch, Snapshot
from p2pfl.hosts.shards import Box, Place, empty_box, mean_size, measured, settled
from p2pfl.learn.crew import Crew
from p2pfl.mixing.pairwise import Said, counted
from p2pfl.mixing.reference import Reference, advance, difference

UNMEASURED = -1


class Cross(NamedTuple):
    """One exchange of the round with a node of another shard."""

    row: int
    peer: NodeId
    shard: int
    bond: Bond
    asks: bool

    @property
    def end(self) -> End:
        return self.row, self.peer


@dataclass(eq=False)
class Round:
    """What is under way. crosses: by shard, then in the order both know; the tensors' rows are in this order too."""

    told: list[Meeting] = field(default_factory=list)
    sizes: list[int | None] = field(default_factory=list)
    crosses: list[Cross] = field(default_factory=list)
    said: Said | None = None
    cross_sizes: list[int | None] = field(default_factory=list)
    stated: list[Stated] = field(default_factory=list)


class ShardPairs(DensePairs):
    """The exchange of the pairwise rule in one shard."""

    sends = 2

    def __init__(
        self,
        setting: DenseSetting,
        cells: Sequence[Cell],
        models: Models,
        crew: Crew,
        next_epoch: NextEpoch,
        phase_min: float,
        place: Place,
    ) -> None:
        super().__init__(setting, cells, models, crew, next_epoch, phase_min, place.span)
        self.where = place
        self.round = Round()
        self.inbox: Sequence[Box] = ()

    def send(self, index: int, step: int, inbox: Sequence[Box]) -> list[Box]:
        if step == 0:
            return self._send_snapshots(index)
        self._take_snapshots(inbox)
        return self._send_said(index)

    def take(self, inbox: Sequence[Box]) -> None:
        self.inbox = inbox

    def exchange(self, index: int) -> None:
        round_, inbox = self.round, self.inbox
        self.round, self.inbox = Round(), ()
        mean = mean_size([*round_.sizes, *round_.cross_sizes], inbox)
        self.count(round_.told, settled(round_.sizes, mean))
        if round_.crosses:
            other, stated, heard = self._heard(round_, inbox)
            self._meet_others(round_, other)
            self.settle([cross.end for cross in round_.crosses], round_.stated, stated)
            self._count_others(round_, settled(round_.cross_sizes, mean), settled(heard, mean))

    # -------------------------------------------------------------------------------------------- new epochs

    def _send_snapshots(self, index: int) -> list[Box]:
        self.round = Round(crosses=self._crosses(index))
        boxes = [empty_box() for _ in range(self.where.count)]
        for shard, group in groupby(self.round.crosses, key=_shard):
            crosses = list(group)
            asking = [place for place, cross in enumerate(crosses) if cross.asks]
            renewed = [asking[n] for n in self.outgrown([_ask(crosses[place]) for place in asking])]
            if renewed:
                boxes[shard] = self._renew_there(crosses, renewed)
        return boxes

    def _renew_there(self, crosses: Sequence[Cross], renewed: Sequence[int]) -> Box:
        """New epochs of some of the exchanges with one shard, begun here and told there."""
        values, numbers = [], []
        for place in renewed:
            snapshot = self.snapshot(_ask(crosses[place]))
            self.begin(crosses[place].bond, snapshot)
            self.said(crosses[place].row, snapshot.size, "request")
            values.append(snapshot.q)
            numbers.append([place, snapshot.epoch, snapshot.size, *snapshot.exponents])
        return Box(torch.stack(values).numpy(), np.empty((len(renewed), 0)), np.array(numbers, np.int64))

    def _take_snapshots(self, inbox: Sequence[Box]) -> None:
        for shard, group in groupby(self.round.crosses, key=_shard):
            crosses, box = list(group), inbox[shard]
            for q, (place, epoch, size, *exponents) in zip(box.values, box.integers.tolist(), strict=True):
                assert not crosses[place].asks, "two shards disagree about who asks"
                self.begin(crosses[place].bond, Snapshot(torch.tensor(q), tuple(exponents), epoch, size))
                self.heard(crosses[place].row, size, "request")

    # -------------------------------------------------------------------------------------------- saying

    def _send_said(self, index: int) -> list[Box]:
        round_ = self.round
        round_.told, round_.sizes = self.meet(index)
        boxes = [empty_box() for _ in range(self.where.count)]
        if round_.crosses:
            self._say_others(round_, index)
            at = 0
            for shard, group in groupby(round_.crosses, key=_shard):
                until = at + len(list(group))
                boxes[shard] = _box(round_, at, until)
                at = until
        told = measured([*round_.sizes, *round_.cross_sizes])
        return [box._replace(measured=told if shard != self.where.shard else (0, 0)) for shard, box in enumerate(boxes)]

    def _say_others(self, round_: Round, index: int) -> None:
        crosses, schema = round_.crosses, self.setting.schema
        parts: list[Said] = []
        order: list[int] = []
        sizes: list[int | None] = [None] * len(crosses)
        for rows in self._alike(crosses):
            some = [crosses[row] for row in rows]
            nodes = torch.tensor([cross.row for cross in some])
            v = difference(self.models.x[nodes], self._reference(some), schema)
            ends, bonds = [cross.end for cross in some], [cross.bond for cross in some]
            said, told = self.say(ends, bonds, v, self.states_of(nodes), index)
            parts.append(said)
            order += rows
            for row, size in zip(rows, told, strict=True):
                sizes[row] = size
        back = torch.tensor(order).argsort()
        round_.said = Said(*(torch.cat(values)[back] for values in zip(*parts, strict=True)))
        round_.cross_sizes = sizes
        round_.stated = [self.cells[cross.row].local.averages.stated() for cross in crosses]

    # -------------------------------------------------------------------------------------------- hearing

    def _heard(self, round_: Round, inbox: Sequence[Box]) -> tuple[Said, list[Stated], list[int | None]]:
        """What the other ends of all crosses said, stated, and in how many bytes."""
        shards = list(dict.fromkeys(cross.shard for cross in round_.crosses))
        boxes = [inbox[shard] for shard in shards]
        values, scalars, numbers = (np.concatenate(part) for part in list(zip(*boxes, strict=True))[:3])
        assert len(values) == len(round_.crosses), "two shards disagree about the graph"
        told = torch.tensor(scalars)
        said = Said(torch.tensor(values), *(told[:, column].contiguous() for column in range(len(Said._fields) - 1)))
        stated, sizes = [], []
        for (progress, samples, score), (stop_at, size) in zip(scalars[:, -3:].tolist(), numbers.tolist(), strict=True):
            stated.append(Stated(progress, samples, score, stop_at))
            sizes.append(None if size == UNMEASURED else size)
        return said, stated, sizes

    def _meet_others(self, round_: Round, heard: Said) -> None:
        assert round_.said is not None
        schema = self.setting.schema
        for rows in self._alike(round_.crosses):
            some, at = [round_.crosses[row] for row in rows], torch.tensor(rows)
            nodes = torch.tensor([cross.row for cross in some])
            mine, other = (Said(*(value[at] for value in said)) for said in (round_.said, heard))
            mine_counts = mine._replace(q=counted(mine.q, mine.norm, other.reach))
            other_counts = other._replace(q=counted(other.q, other.norm, mine.reach))
            x = self.models.x[nodes]
            bonds = [cross.bond for cross in some]
            mixed = self.rule.mix(self.states_of(nodes), x, mine_counts, other_counts, schema)
            after = advance(self._reference(some), mine_counts.q, other_counts.q, schema)
            self.references[self._places(some)] = after.values
            self.land([cross.end for cross in some], bonds, x, mixed)
            for bond in bonds:
                bond.seq += 1

    def _count_others(self, round_: Round, sizes: Sequence[int], heard: Sequence[int]) -> None:
        for cross, mine, theirs in zip(round_.crosses, sizes, heard, strict=True):
            self.said(cross.row, mine, "request" if cross.asks else "answer")
            self.heard(cross.row, theirs, "answer" if cross.asks else "request")

    # -------------------------------------------------------------------------------------------- who meets whom

    def _crosses(self, index: int) -> list[Cross]:
        """This round's exchanges with other shards; no node is in two."""
        number, owner = self.where.number, self.where.owner
        found = []
        for row, cell in enumerate(self.cells):
            peer = cell.nb.partner(index)
            if peer is not None and peer not in self.row:
                found.append(Cross(row, peer, owner[peer], self.bonds[row][peer], cell.node < peer))
        return sorted(found, key=lambda c: (c.shard, min(number[c.peer], number[self.cells[c.row].node])))

    def _alike(self, crosses: Sequence[Cross]) -> list[list[int]]:
        """Chunks of crosses whose references have the same units."""
        size, found = max(self.setting.chunk, 1), []
        order = sorted(range(len(crosses)), key=lambda n: crosses[n].bond.exponents)
        for _, group in groupby(order, key=lambda n: crosses[n].bond.exponents):
            rows = list(group)
            found += [rows[start : start + size] for start in range(0, len(rows), size)]
        return found

    def _reference(self, crosses: Sequence[Cross]) -> Reference:
        return Reference(self.references[self._places(crosses)], crosses[0].bond.exponents)

    def _places(self, crosses: Sequence[Cross]) -> Tensor:
        return torch.tensor([cross.bond.place for cross in crosses])


def _box(round_: Round, at: int, until: int) -> Box:
    """What the crosses from `at` to `until` say."""
    assert round_.said is not None
    q, *scalars = (value[at:until] for value in round_.said)
    stated, sizes = round_.stated[at:until], round_.cross_sizes[at:until]
    numbers = [(one.stop_at, UNMEASURED if size is None else size) for one, size in zip(stated, sizes, strict=True)]
    told = torch.stack([*scalars, *torch.tensor([one[:3] for one in stated], dtype=torch.float64).unbind(1)], dim=1)
    return Box(q.contiguous().numpy(), told.numpy(), np.array(numbers, np.int64))


def _shard(cross: Cross) -> int:
    return cross.shard


def _ask(cross: Cross) -> Ask:
    return Ask(cross.end, cross.bond)
