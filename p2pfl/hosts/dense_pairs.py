"""The pairwise rule over a whole network: in each round the edges of one colour exchange. Knows no message.

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

import torch
from torch import Tensor

from p2pfl.core.noise import Key, derive
from p2pfl.core.party import Emit, Scalar
from p2pfl.horizontal.algorithm import encode_vectors, norms_of, project_rows
from p2pfl.horizontal.averages import Stated
from p2pfl.hosts.dense import Cell, DenseSetting, Models, filled, is_sized, where
from p2pfl.learn.crew import Crew, Drill
from p2pfl.mixing.pairwise import PairState, Pairwise, Said, counted, radius_of
from p2pfl.mixing.reference import Reference, advance, difference, exponents_for, from_vector, outgrown

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
    norms: dict[int, float] = field(default_factory=dict)  # by node number


@dataclass(frozen=True, slots=True)
class Meeting:
    asker: int
    other: int
    bond: Bond

    @property
    def ends(self) -> tuple[tuple[int, int], tuple[int, int]]:
        return (self.asker, self.other), (self.other, self.asker)


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
    ) -> None:
        assert isinstance(setting.rule, Pairwise)
        self.setting, self.cells, self.models, self.crew = setting, cells, models, crew
        self.rule, self.next_epoch, self.phase_min = setting.rule, next_epoch, phase_min
        self.number = {cell.node: number for number, cell in enumerate(cells)}
        x, count = models.x[0], len(cells)
        one = self.rule.init(x)
        self.state = PairState(*(value.expand(count, *value.shape).clone() for value in _fields(one)))
        start = from_vector(x, exponents_for(x, setting.schema), setting.schema)
        self.bonds: list[dict[int, Bond]] = [{} for _ in cells]
        places = 0
        for number, cell in enumerate(cells):
            cell.exchanges = 0
            for peer in sorted(self.number[node] for node in cell.nb.neighbours):
                bond = self.bonds[peer].get(number)
                if bond is None:
                    bond, places = Bond(places, start.exponents), places + 1
                self.bonds[number][peer] = bond
        self.references = start.values.expand(places, -1).clone()

    def period(self) -> int:
        return len(self.cells[0].nb.partners)

    def shifts(self, nodes: Sequence[int]) -> Tensor | None:
        return self.rule.shift(self._states(where(nodes)))

    def trained(self, drill: Drill) -> None:
        nodes = where([order.node for order in drill.orders])
        self.state.u_bar[nodes] = self.rule.trained(self._states(nodes), drill.directions).u_bar

    def end(self, number: int) -> list[Emit]:
        told = []
        for peer, bond in sorted(self.bonds[number].items(), key=lambda item: self.cells[item[0]].node):
            digest = Reference(self.references[bond.place], bond.exponents).digest().hex()
            fields: dict[str, Scalar] = {
                "peer": self.cells[peer].node.hex(),
                "epoch": bond.epoch,
                "seq": bond.seq,
                "digest": digest,
            }
            told.append(Emit("edge", fields))
        return told

    # -------------------------------------------------------------------------------------------- a round

    def exchange(self, index: int) -> None:
        meetings = []
        for number, cell in enumerate(self.cells):
            partner = cell.nb.partner(index)
            if partner is not None and cell.node < partner:  # the end with the smaller id asks
                other = self.number[partner]
                meetings.append(Meeting(number, other, self.bonds[number][other]))
        sizes: list[int | None] = []
        told: list[Meeting] = []
        for part in self._chunks(meetings):
            sizes += self._meet(part, index)
            told += part
        counted = filled(sizes)
        for meeting, asked, answered in zip(told, counted[::2], counted[1::2], strict=True):
            self._count(meeting.asker, meeting.other, asked, "request")
            self._count(meeting.other, meeting.asker, answered, "answer")

    def _chunks(self, meetings: Sequence[Meeting]) -> Iterator[list[Meeting]]:
        """Chunks of pairs whose references have the same units; those that are outgrown are renewed first."""
        size = max(self.setting.chunk // 2, 1)
        for start in range(0, len(meetings), size):
            part = list(meetings[start : start + size])
            self._renew_outgrown(part)
            for _, group in groupby(sorted(part, key=_units), key=_units):
                yield list(group)

    def _meet(self, part: Sequence[Meeting], index: int) -> list[int | None]:
        """Both ends of some pairs say and mix. Returns the sizes of both bodies of each, where they were measured."""
        schema, count = self.setting.schema, len(part)
        ends = [end for side in (0, 1) for end in (meeting.ends[side] for meeting in part)]
        nodes = torch.tensor([me for me, _ in ends])
        places = torch.tensor([meeting.bond.place for meeting in part])
        x, state = self.models.x[nodes], self._states(nodes)
        bonds = [meeting.bond for meeting in part] * 2
        reference = Reference(self.references[places], part[0].bond.exponents)
        v = difference(x.view(2, count, -1), reference, schema).view(2 * count, -1)
        said, sizes = self._say(ends, bonds, v, state, index)
        mine, other = _as_counted(said)
        mixed = self.rule.mix(state, x, mine, other, schema)
        x += mixed.move.to(x.dtype)
        self.models.x[nodes] = x
        self.references[places] = advance(reference, mine.q[:count], mine.q[count:], schema).values
        for value, after in zip(_fields(self.state), _fields(mixed.state), strict=True):
            value[nodes] = after
        stated = [self.cells[me].local.averages.stated() for me, _ in ends]
        self._land(ends, bonds, mixed.distance.tolist(), mixed.bounded.tolist())
        self._settle(ends, stated)
        for bond in bonds[:count]:
            bond.seq += 1
        return [size for pair in zip(sizes[:count], sizes[count:], strict=True) for size in pair]

    def _land(
        self,
        ends: Sequence[tuple[int, int]],
        bonds: Sequence[Bond],
        distances: Sequence[float],
        bounded: Sequence[bool],
    ) -> None:
        for (me, _), bond, distance, at_bound in zip(ends, bonds, distances, bounded, strict=True):
            cell = self.cells[me]
            bond.distance = distance
            cell.bounded += at_bound
            cell.exchanges = (cell.exchanges or 0) + 1
            cell.local.work_mark = max(cell.local.work_mark, cell.local.work)

    def _settle(self, ends: Sequence[tuple[int, int]], stated: Sequence[Stated]) -> None:
        half = len(ends) // 2
        for place, (me, _) in enumerate(ends):
            mine, theirs, local = stated[place], stated[(place + half) % len(ends)], self.cells[me].local
            if mine != theirs:  # what both agree on stays as it is
                local.settle(local.averages.met(mine, theirs, local.rounds))

    # -------------------------------------------------------------------------------------------- saying

    def _say(
        self, ends: Sequence[tuple[int, int]], bonds: Sequence[Bond], v: Tensor, state: PairState, index: int
    ) -> tuple[Said, list[int | None]]:
        """What the ends put into their exchanges, v (2 m, P) before the code, and the sizes that are measured now."""
        s, damp = self.setting, state.damp
        keys = [
            derive(self.cells[me].entropy, "codec", self.cells[peer].node, bond.epoch, bond.seq)
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
            if is_sized(me, len(self.cells), index):
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

    def _states(self, nodes: Tensor | slice) -> PairState:
        return PairState(*(value[nodes] for value in _fields(self.state)))

    # -------------------------------------------------------------------------------------------- epochs and bytes

    def _renew_outgrown(self, part: Sequence[Meeting]) -> None:
        """Where the asker's model has outgrown the reference's range: a new epoch from its snapshot."""
        schema = self.setting.schema
        x = self.models.x[torch.tensor([meeting.asker for meeting in part])]
        for _, group in groupby(sorted(range(len(part)), key=lambda n: _units(part[n])), key=lambda n: _units(part[n])):
            rows = list(group)
            bounds = Reference(self.references[:0], part[rows[0]].bond.exponents)
            if outgrown(x[rows], bounds, schema):
                for row in rows:
                    if outgrown(x[row], bounds, schema):
                        self._renew(part[row], x[row])

    def _renew(self, meeting: Meeting, x: Tensor) -> None:
        s, bond = self.setting, meeting.bond
        asker, other = self.cells[meeting.asker], self.cells[meeting.other]
        key = derive(asker.entropy, "epoch", other.node, bond.epoch, bond.epoch)
        packed, q = encode_vectors(s.snapshot_codec, x.to(torch.float32), s.schema, key)
        reference = from_vector(q, exponents_for(x, s.schema), s.schema)
        self.references[bond.place] = reference.values
        bond.exponents = reference.exponents
        bond.epoch, bond.seq = self.next_epoch(bond.epoch, key), 0
        self._count(meeting.asker, meeting.other, sum(memoryview(p.body).nbytes for p in packed), "request")

    def _count(self, sender: int, receiver: int, body: int, kind: str) -> None:
        head = self.setting.head_bytes(kind, body)
        self.cells[sender].traffic.said(head, body)
        self.cells[receiver].traffic.heard(head, body)


def _units(meeting: Meeting) -> tuple[int, ...]:
    return meeting.bond.exponents


def _fields(state: PairState) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    return state.z, state.u_bar, state.damp, state.rel


def _as_counted(said: Said) -> tuple[Said, Said]:
    """What all ends said, as it counts, and beside it what the other end of each said (`algorithm.exchange`)."""
    half = len(said.q) // 2
    other = Said(said.q, *(torch.cat([value[half:], value[:half]]) for value in said[1:]))
    q = counted(said.q, said.norm, other.reach) if bool((said.norm > other.reach).any()) else said.q
    return said._replace(q=q), other._replace(q=torch.cat([q[half:], q[:half]]))
