"""The pairwise rule over a whole network: in each round the edges of one colour exchange. Knows no message.

One reference is kept per edge, in integers: at the nodes both ends hold the same. The exchanges of a round do not touch
one another (a colour is a matching), so their order does not matter.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from math import inf

import torch
from torch import Tensor

from p2pfl.core.ids import NodeId
from p2pfl.core.noise import Key, derive
from p2pfl.core.party import Emit
from p2pfl.horizontal.algorithm import encode_vectors, exchange, norm_of, project_vectors
from p2pfl.hosts.dense import Cell, DenseSetting, filled, is_sized
from p2pfl.mixing.pairwise import Pairwise, Said, radius_of
from p2pfl.mixing.reference import Reference, difference, exponents_for, from_vector, outgrown

NextEpoch = Callable[[int, Key], int]
"""(the present epoch, entropy) -> the number of the one after it."""


@dataclass(eq=False)
class Bond:
    """One edge. What differs between its ends is kept by end."""

    reference: Reference
    epoch: int = 0
    seq: int = 0
    exchanges: int = 0
    distance: float | None = None
    norms: dict[NodeId, float] = field(default_factory=dict)


class DensePairs:
    """The exchange of a `needs = "pair"` rule. phase_min: the least work of a phase that a message may state."""

    def __init__(self, setting: DenseSetting, cells: Sequence[Cell], next_epoch: NextEpoch, phase_min: float) -> None:
        assert isinstance(setting.rule, Pairwise)
        self.setting, self.cells, self.rule = setting, cells, setting.rule
        self.next_epoch, self.phase_min = next_epoch, phase_min
        self.number = {cell.node: number for number, cell in enumerate(cells)}
        self.bonds: dict[NodeId, dict[NodeId, Bond]] = {cell.node: {} for cell in cells}
        start = from_vector(cells[0].local.x, exponents_for(cells[0].local.x, setting.schema), setting.schema)
        for cell in cells:
            cell.local.pair, cell.exchanges = self.rule.init(cell.local.x), 0
            for peer in cell.nb.neighbours:
                bond = self.bonds[peer].get(cell.node) or Bond(start)
                self.bonds[cell.node][peer] = bond

    def period(self) -> int:
        return len(self.cells[0].nb.partners)

    def shift(self, number: int) -> Tensor | None:
        pair = self.cells[number].local.pair
        return self.rule.shift(pair) if pair is not None else None

    def end(self, number: int) -> list[Emit]:
        bonds = sorted(self.bonds[self.cells[number].node].items())
        return [
            Emit("edge", {"peer": peer.hex(), "epoch": b.epoch, "seq": b.seq, "digest": b.reference.digest().hex()})
            for peer, b in bonds
        ]

    def exchange(self, index: int) -> None:
        pairs = []
        for cell in self.cells:
            partner = cell.nb.partner(index)
            if partner is not None and cell.node < partner:  # the end with the smaller id asks
                pairs.append((cell, self.cells[self.number[partner]]))
        sizes: list[int | None] = []
        for asker, other in pairs:
            sizes += self._meet(asker, other, index)
        counted = filled(sizes)
        for (asker, other), asked, answered in zip(pairs, counted[::2], counted[1::2], strict=True):
            self._count(asker, other, asked, "request")
            self._count(other, asker, answered, "answer")

    def _meet(self, asker: Cell, other: Cell, index: int) -> list[int | None]:
        """One exchange: both ends say, then both mix. Returns the sizes of both bodies, where they were measured."""
        bond = self.bonds[asker.node][other.node]
        if outgrown(asker.local.x, bond.reference, self.setting.schema):
            self._renew(bond, asker, other)
        ends = ((asker, other), (other, asker))
        said = [self._say(cell, peer, bond, index) for cell, peer in ends]
        stated = [cell.local.averages.stated() for cell, _ in ends]
        references = []
        for me, (cell, _) in enumerate(ends):
            local, mine, theirs = cell.local, said[me][0], said[1 - me][0]
            assert local.pair is not None
            mixed, reference = exchange(
                self.rule, local.pair, local.x, bond.reference, mine, theirs, self.setting.schema
            )
            references.append(reference)
            bond.distance, bond.norms[cell.node] = float(mixed.distance), float(mine.norm)
            local.move(mixed.move, mixed.state, local.work, 0.0)
            local.settle(local.averages.met(stated[me], stated[1 - me], local.rounds))
            cell.bounded += bool(mixed.bounded)
            cell.exchanges = (cell.exchanges or 0) + 1
        assert torch.equal(references[0].values, references[1].values), "the two ends' references differ"
        bond.reference, bond.seq, bond.exchanges = references[0], bond.seq + 1, bond.exchanges + 1
        return [size for _, size in said]

    def _say(self, cell: Cell, peer: Cell, bond: Bond, index: int) -> tuple[Said, int | None]:
        """What one end puts into the exchange, and the size of its code if that is measured now."""
        s, local = self.setting, cell.local
        assert local.pair is not None
        key = derive(cell.entropy, "codec", peer.node, bond.epoch, bond.seq)
        damp = float(local.pair.damp)
        v = difference(local.x, bond.reference, s.schema)
        q = project_vectors(s.codec, v, s.schema, key, damp)
        norm, bonds = norm_of(q), self.bonds[cell.node].items()
        norms = [b.norms[cell.node] for _, b in bonds if cell.node in b.norms]
        phase = max(cell.learner.lr_at(local.round) * local.phase_steps, self.phase_min)
        tau = inf
        if self.rule.clips(len(cell.nb.neighbours), cell.nb.degree_median):
            tau = radius_of([b.distance for _, b in bonds if b.distance is not None])
        numbers = (norm, self.rule.reach(norm, norms), max(local.work - local.work_mark, 0.0), phase, tau, damp)
        size = None
        if is_sized(self.number[cell.node], len(self.cells), index):
            packed, _ = encode_vectors(s.codec, v, s.schema, key, damp)
            size = sum(memoryview(p.body).nbytes for p in packed)
        return Said(q, *(torch.tensor(number, dtype=torch.float64) for number in numbers)), size

    def _renew(self, bond: Bond, asker: Cell, other: Cell) -> None:
        """The model has outgrown the reference's range: a new epoch from the asker's snapshot."""
        s, x = self.setting, asker.local.x
        key = derive(asker.entropy, "epoch", other.node, bond.epoch, bond.epoch)
        packed, q = encode_vectors(s.snapshot_codec, x.to(torch.float32), s.schema, key)
        bond.reference = from_vector(q, exponents_for(x, s.schema), s.schema)
        bond.epoch, bond.seq = self.next_epoch(bond.epoch, key), 0
        self._count(asker, other, sum(memoryview(p.body).nbytes for p in packed), "request")

    def _count(self, sender: Cell, receiver: Cell, body: int, kind: str) -> None:
        head = self.setting.head_bytes(kind, body)
        sender.traffic.said(head, body)
        receiver.traffic.heard(head, body)
