"""The pairwise rule over many nodes: in each round the edges of one colour exchange. Knows no message.

An edge whose other end is in another program (shards_pairs.py) has its reference here too; nobody here meets it.

Legend: N nodes, E edges, P values in a model; m pairs in a chunk, whose 2 m ends stand in one tensor: askers, then the
others.

One reference is kept per edge, in integers: at the nodes both ends hold the same. The exchanges of a round do not touch
one another (a colour is a matching), so their order does not matter, and a chunk of them is one exchange over a leading
axis by the node's own functions.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from math import inf
from typing import NamedTuple

import torch
from torch import Tensor

from p2pfl.core.ids import NodeId
from p2pfl.core.noise import Key, derive
from p2pfl.core.party import Emit, Scalar
from p2pfl.horizontal.model.algorithm import encode_vectors, norms_of, project_rows
from p2pfl.horizontal.terms.averages import Stated
from p2pfl.hosts.dense import Cell, DenseSetting, Models, filled, is_sized, where
from p2pfl.hosts.dense_span import Span
from p2pfl.learn.crew import Crew, Drill
from p2pfl.mixing.pairwise import Mixed, PairState, Pairwise, Said, counted, radius_of
from p2pfl.mixing.reference import Reference, advance, difference, exponents_for, from_vector, outgrown

End = tuple[int, NodeId]
"""One end of an edge: its node's row, and who is at the other end."""

NextEpoch = Callable[[int, Key], int]
"""(the present epoch, entropy) -> the number of the one after it."""


@dataclass(eq=False)
class Bond:
    """One edge; its reference is row `place` of the network's. What differs between its ends is kept by end."""

    place: int
    exponents: tuple[int, ...]
    epoch: int = 0
    seq: int = 0
    distance: float | None = None
    norms: dict[int, float] = field(default_factory=dict)  # by the end's row


class Meeting(NamedTuple):
    """Two nodes of this program; the one with the smaller id asks."""

    asker: int
    other: int
    bond: Bond


class Ask(NamedTuple):
    """One end that may have to renew the edge's reference."""

    end: End
    bond: Bond


class Snapshot(NamedTuple):
    """An end's model as the edge's next reference begins with it."""

    q: Tensor  # (P,) float32, as everybody decodes it
    exponents: tuple[int, ...]
    epoch: int
    size: int  # bytes of its code


class DensePairs:
    """The exchange of a `needs = "pair"` rule. phase_min: the least work of a phase that a message may state."""

    looks_back = False

    def __init__(
        self,
        setting: DenseSetting,
        cells: Sequence[Cell],
        models: Models,
        crew: Crew,
        next_epoch: NextEpoch,
        phase_min: float,
        span: Span | None = None,
    ) -> None:
        assert isinstance(setting.rule, Pairwise)
        self.setting, self.cells, self.models, self.crew = setting, cells, models, crew
        self.rule, self.next_epoch, self.phase_min = setting.rule, next_epoch, phase_min
        self.span = span or Span.whole(len(cells))
        self.row = {cell.node: row for row, cell in enumerate(cells)}
        x, count = models.x[0], len(cells)
        one = self.rule.init(x)
        self.state = PairState(*(value.expand(count, *value.shape).clone() for value in fields_of(one)))
        start = from_vector(x, exponents_for(x, setting.schema), setting.schema)
        self.bonds: list[dict[NodeId, Bond]] = [{} for _ in cells]
        places = 0
        for row, cell in enumerate(cells):
            cell.exchanges = 0
            for peer in cell.nb.neighbours:
                there = self.row.get(peer)
                bond = None if there is None else self.bonds[there].get(cell.node)
                if bond is None:
                    bond, places = Bond(places, start.exponents), places + 1
                self.bonds[row][peer] = bond
        self.references = start.values.expand(places, -1).clone()

    def period(self) -> int:
        return len(self.cells[0].nb.partners)

    def shifts(self, nodes: Sequence[int]) -> Tensor | None:
        return self.rule.shift(self.states_of(where(nodes)))

    def trained(self, drill: Drill) -> None:
        nodes = where([order.node for order in drill.orders])
        self.state.u_bar[nodes] = self.rule.trained(self.states_of(nodes), drill.directions).u_bar

    def end(self, number: int) -> list[Emit]:
        told = []
        for peer, bond in sorted(self.bonds[number].items()):
            digest = Reference(self.references[bond.place], bond.exponents).digest().hex()
            fields: dict[str, Scalar] = {
                "peer": peer.hex(),
                "epoch": bond.epoch,
                "seq": bond.seq,
                "digest": digest,
            }
            told.append(Emit("edge", fields))
        return told

    # -------------------------------------------------------------------------------------------- a round

    def exchange(self, index: int) -> None:
        told, sizes = self.meet(index)
        self.count(told, filled(sizes))

    def meet(self, index: int) -> tuple[list[Meeting], list[int | None]]:
        """All pairs of this program exchange. Returns them, and the bytes of both bodies of each, where measured."""
        meetings = []
        for row, cell in enumerate(self.cells):
            partner = cell.nb.partner(index)
            if partner is not None and cell.node < partner and partner in self.row:
                meetings.append(Meeting(row, self.row[partner], self.bonds[row][partner]))
        sizes: list[int | None] = []
        told: list[Meeting] = []
        for part in self._chunks(meetings):
            sizes += self._meet(part, index)
            told += part
        return told, sizes

    def count(self, told: Sequence[Meeting], sizes: Sequence[int]) -> None:
        """The bytes of exchanges whose bodies had these sizes, the asker's before the other's."""
        for meeting, asked, answered in zip(told, sizes[::2], sizes[1::2], strict=True):
            self.said(meeting.asker, asked, "request")
            self.heard(meeting.other, asked, "request")
            self.said(meeting.other, answered, "answer")
            self.heard(meeting.asker, answered, "answer")

    def _chunks(self, meetings: Sequence[Meeting]) -> Iterator[list[Meeting]]:
        """Chunks of pairs whose references have the same units; those that are outgrown are renewed first."""
        size = max(self.setting.chunk // 2, 1)
        for start in range(0, len(meetings), size):
            part = list(meetings[start : start + size])
            self._renew(part)
            for _, group in groupby(sorted(part, key=_units), key=_units):
                yield list(group)

    def _renew(self, part: Sequence[Meeting]) -> None:
        asks = [Ask((meeting.asker, self.cells[meeting.other].node), meeting.bond) for meeting in part]
        for place in self.outgrown(asks):
            snapshot = self.snapshot(asks[place])
            self.begin(part[place].bond, snapshot)
            self.said(part[place].asker, snapshot.size, "request")
            self.heard(part[place].other, snapshot.size, "request")

    def _meet(self, part: Sequence[Meeting], index: int) -> list[int | None]:
        """Both ends of some pairs say and mix. Returns the sizes of both bodies of each, where they were measured."""
        schema, count = self.setting.schema, len(part)
        ends = [(meeting.asker, self.cells[meeting.other].node) for meeting in part]
        ends += [(meeting.other, self.cells[meeting.asker].node) for meeting in part]
        nodes = torch.tensor([me for me, _ in ends])
        places = torch.tensor([meeting.bond.place for meeting in part])
        x, state = self.models.x[nodes], self.states_of(nodes)
        bonds = [meeting.bond for meeting in part] * 2
        reference = Reference(self.references[places], part[0].bond.exponents)
        v = difference(x.view(2, count, -1), reference, schema).view(2 * count, -1)
        said, sizes = self.say(ends, bonds, v, state, index)
        mine, other = _as_counted(said)
        mixed = self.rule.mix(state, x, mine, other, schema)
        self.references[places] = advance(reference, mine.q[:count], mine.q[count:], schema).values
        stated = [self.cells[me].local.averages.stated() for me, _ in ends]
        self.land(ends, bonds, x, mixed)
        self.settle(ends, stated, [*stated[count:], *stated[:count]])
        for bond in bonds[:count]:
            bond.seq += 1
        return [size for pair in zip(sizes[:count], sizes[count:], strict=True) for size in pair]

    def land(self, ends: Sequence[End], bonds: Sequence[Bond], x: Tensor, mixed: Mixed) -> None:
        """The outcome at some ends, whose models (m, P) were x."""
        nodes = torch.tensor([me for me, _ in ends])
        x += mixed.move.to(x.dtype)
        self.models.x[nodes] = x
        for value, after in zip(fields_of(self.state), fields_of(mixed.state), strict=True):
            value[nodes] = after
        told = zip(ends, bonds, mixed.distance.tolist(), mixed.bounded.tolist(), strict=True)
        for (me, _), bond, distance, at_bound in told:
            cell = self.cells[me]
            bond.distance = distance
            cell.bounded += at_bound
            cell.exchanges = (cell.exchanges or 0) + 1
            cell.local.work_mark = max(cell.local.work_mark, cell.local.work)

    def settle(self, ends: Sequence[End], mine: Sequence[Stated], theirs: Sequence[Stated]) -> None:
        for (me, _), own, other in zip(ends, mine, theirs, strict=True):
            local = self.cells[me].local
            if own != other:  # what both agree on stays as it is
                local.settle(local.averages.met(own, other, local.rounds))

    # -------------------------------------------------------------------------------------------- saying

    def say(
        self, ends: Sequence[End], bonds: Sequence[Bond], v: Tensor, state: PairState, index: int
    ) -> tuple[Said, list[int | None]]:
        """What some ends put into their exchanges, v (.., P) before the code, and the sizes that are measured now."""
        s, damp = self.setting, state.damp
        keys = [
            derive(self.cells[me].entropy, "codec", peer, bond.epoch, bond.seq)
            for (me, peer), bond in zip(ends, bonds, strict=True)
        ]
        q = project_rows(s.codec, v, s.schema, keys, damp)
        norms = norms_of(q)
        scalars, sizes = [], []
        told = zip(ends, bonds, keys, norms.tolist(), damp.tolist(), v, strict=True)
        for (me, _), bond, key, norm, share, row in told:
            scalars.append(self._scalars(me, norm))
            bond.norms[me] = norm
            size = None
            if is_sized(self.span.numbers[me], self.span.total, index):
                packed, _ = encode_vectors(s.codec, row, s.schema, key, share)
                size = sum(memoryview(p.body).nbytes for p in packed)
            sizes.append(size)
        reach, work, phase, tau = torch.tensor(scalars, dtype=torch.float64).unbind(1)
        return Said(q, norms, reach, work, phase, tau, damp), sizes

    def _scalars(self, me: int, norm: float) -> tuple[float, float, float, float]:
        """reach, work, phase and tau of one end."""
        cell, bonds, tau = self.cells[me], self.bonds[me].values(), inf
        norms = [bond.norms[me] for bond in bonds if me in bond.norms]
        local = cell.local
        phase = max(self.crew.lr_at(me, local.round) * local.phase_steps, self.phase_min)
        if self.rule.clips(len(cell.nb.neighbours), cell.nb.degree_median):
            tau = radius_of([bond.distance for bond in bonds if bond.distance is not None])
        return self.rule.reach(norm, norms), max(local.work - local.work_mark, 0.0), phase, tau

    def states_of(self, nodes: Tensor | slice) -> PairState:
        return PairState(*(value[nodes] for value in fields_of(self.state)))

    # -------------------------------------------------------------------------------------------- epochs and bytes

    def outgrown(self, asks: Sequence[Ask]) -> list[int]:
        """Which of some ends' models have outgrown the range of their edge's reference, in order."""
        if not asks:
            return []
        x, found = self.models.x[torch.tensor([ask.end[0] for ask in asks])], []
        alike: dict[tuple[int, ...], list[int]] = {}
        for row, ask in enumerate(asks):
            alike.setdefault(_units(ask), []).append(row)
        for units, rows in alike.items():
            bounds = Reference(self.references[:0], units)
            if outgrown(x if len(rows) == len(x) else x[rows], bounds, self.setting.schema):
                found += [row for row in rows if outgrown(x[row], bounds, self.setting.schema)]
        return sorted(found)

    def snapshot(self, ask: Ask) -> Snapshot:
        """What begins a new epoch of an edge."""
        s, bond, (me, peer) = self.setting, ask.bond, ask.end
        x = self.models.x[me]
        key = derive(self.cells[me].entropy, "epoch", peer, bond.epoch, bond.epoch)
        packed, q = encode_vectors(s.snapshot_codec, x.to(torch.float32), s.schema, key)
        size = sum(memoryview(p.body).nbytes for p in packed)
        return Snapshot(q, exponents_for(x, s.schema), self.next_epoch(bond.epoch, key), size)

    def begin(self, bond: Bond, snapshot: Snapshot) -> None:
        reference = from_vector(snapshot.q, snapshot.exponents, self.setting.schema)
        self.references[bond.place] = reference.values
        bond.exponents, bond.epoch, bond.seq = reference.exponents, snapshot.epoch, 0

    def said(self, row: int, body: int, kind: str) -> None:
        self.cells[row].traffic.said(self.setting.head_bytes(kind, body), body)

    def heard(self, row: int, body: int, kind: str) -> None:
        self.cells[row].traffic.heard(self.setting.head_bytes(kind, body), body)


def _units(meeting: Meeting | Ask) -> tuple[int, ...]:
    return meeting.bond.exponents


def fields_of(state: PairState) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    return state.z, state.u_bar, state.damp, state.rel


def _as_counted(said: Said) -> tuple[Said, Said]:
    """What all ends said, as it counts, and beside it what the other end of each said (`algorithm.exchange`)."""
    half = len(said.q) // 2
    other = Said(said.q, *(torch.cat([value[half:], value[:half]]) for value in said[1:]))
    q = counted(said.q, said.norm, other.reach) if bool((said.norm > other.reach).any()) else said.q
    return said._replace(q=q), other._replace(q=torch.cat([q[half:], q[:half]]))
