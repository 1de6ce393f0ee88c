"""Neighbourhood rules over X (N, P): rows said, gathered and mixed by `vmap`, nodes in chunks. Knows no training.

Legend: N nodes, P values in a model, V vectors in a row, K the most rows that any node of a chunk hears, C notes.

The inbox of a chunk is rows[index] with index (n, K), padded by rows of weight 0. A rule that is linear in what it
heard may offer `mix_all`: one sparse product for all nodes instead, (N, N) by (N, V P).
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from p2pfl.core.noise import derive
from p2pfl.core.party import Emit
from p2pfl.horizontal.algorithm import encode_vectors, idle_phase, mix_row, notes_of, project_vectors, say_row
from p2pfl.horizontal.neighbourhood import Turn
from p2pfl.hosts.dense import Cell, DenseSetting, filled, is_sized, models
from p2pfl.mixing.pairwise import Pairwise
from p2pfl.mixing.rows import Crowd, Heard, Phase, RowMixer, State


class DenseRows:
    """The exchange of a `needs = "rows"` rule. sparse: use the rule's `mix_all` where it has one."""

    def __init__(self, setting: DenseSetting, cells: Sequence[Cell], sparse: bool = True) -> None:
        assert not isinstance(setting.rule, Pairwise)
        self.setting, self.cells = setting, cells
        self.rule: RowMixer = setting.rule
        self.sparse = sparse and hasattr(self.rule, "mix_all")
        self.number = {cell.node: number for number, cell in enumerate(cells)}
        for cell in cells:
            cell.local.rows = self.rule.init(cell.local.x)

    def period(self) -> int:
        return 1

    def shift(self, number: int) -> Tensor | None:
        return self.rule.shift(self.cells[number].local.rows)

    def end(self, number: int) -> list[Emit]:
        return []

    def exchange(self, index: int) -> None:
        if len(self.cells) < 2:
            return
        turns = [self._turn(cell, index) for cell in self.cells]
        phases = [cell.local.phase or idle_phase(cell.local.x) for cell in self.cells]
        phase = Phase(torch.stack([p.before for p in phases]), torch.stack([p.work for p in phases]))
        states, x = stacked([cell.local.rows for cell in self.cells]), models(self.cells)
        notes = torch.stack([notes_of(self.rule, cell.local.rows) for cell in self.cells])
        rows = self._say(states, x, phase, index, turns)
        states, x = self._mix(states, x, phase, rows, notes, turns)
        stated = [cell.local.averages.stated() for cell in self.cells]
        for number, (cell, turn) in enumerate(zip(self.cells, turns, strict=True)):
            local = cell.local
            local.x, local.phase = x[number], None
            local.rows = {name: value[number] for name, value in states.items()}
            others = [stated[self.number[peer]] for peer in turn.rows]
            weights = tuple(turn.rows.values())
            local.settle(local.averages.gathered(stated[number], others, weights, local.rounds))

    def _turn(self, cell: Cell, index: int) -> Turn:
        return cell.nb.turn(index, self.rule.weighting, self.rule.fanout, self.setting.seed)

    # -------------------------------------------------------------------------------------------- saying

    def _say(self, states: State, x: Tensor, phase: Phase, index: int, turns: Sequence[Turn]) -> Tensor:
        """(N, V P): what each node said, as everybody decodes it. Counts the bytes."""
        s, vectors = self.setting, self.rule.vectors
        say = torch.func.vmap(lambda *args: say_row(self.rule, *args), chunk_size=s.chunk)
        outgoing = say(states, x, phase)
        rows, sizes = [], []
        for number, cell in enumerate(self.cells):
            key = derive(cell.entropy, "codec", "row", index)
            rows.append(project_vectors(s.codec, outgoing[number], s.schema, key, 1.0, vectors))
            size = None
            if is_sized(number, len(self.cells), index):
                packed, _ = encode_vectors(s.codec, outgoing[number], s.schema, key, 1.0, vectors)
                size = sum(memoryview(p.body).nbytes for p in packed)
            sizes.append(size)
        self._count(filled(sizes), turns)
        return torch.stack(rows)

    def _count(self, sizes: Sequence[int], turns: Sequence[Turn]) -> None:
        """A row to each that is told, and its small answer."""
        reply = self.setting.head_bytes("edge", 0)
        for cell, turn, size in zip(self.cells, turns, sizes, strict=True):
            head = self.setting.head_bytes("row", size)
            for peer in turn.to:
                other = self.cells[self.number[peer]].traffic
                cell.traffic.said(head, size)
                other.heard(head, size)
                other.said(reply, 0)
                cell.traffic.heard(reply, 0)

    # -------------------------------------------------------------------------------------------- mixing

    def _mix(
        self, states: State, x: Tensor, phase: Phase, rows: Tensor, notes: Tensor, turns: Sequence[Turn]
    ) -> tuple[State, Tensor]:
        given = torch.tensor([turn.given for turn in turns], dtype=torch.float64)
        if self.sparse:
            crowd = Crowd(rows.to(x.dtype), self._matrix(turns), given, notes)
            rule: Any = self.rule
            states, mixed = rule.mix_all(states, x, crowd, phase)
            return states, mixed
        parts = []
        mix = torch.func.vmap(lambda s, x, h, p: mix_row(self.rule, s, x, h, p))
        for start in range(0, len(self.cells), self.setting.chunk):
            part = slice(start, min(start + self.setting.chunk, len(self.cells)))
            index, weights = self._gather(turns[part], part.start)
            heard = Heard(rows[part], rows[index], weights, given[part], notes[index])
            state = {name: value[part] for name, value in states.items()}
            parts.append(mix(state, x[part], heard, Phase(phase.before[part], phase.work[part])))
        names = parts[0][0]
        return {name: torch.cat([s[name] for s, _ in parts]) for name in names}, torch.cat([x for _, x in parts])

    def _gather(self, turns: Sequence[Turn], start: int) -> tuple[Tensor, Tensor]:
        """index (n, K) and weights (n, K) of a chunk; what is padded points at the node itself, with weight 0."""
        most = max(len(turn.rows) for turn in turns)
        index = torch.arange(start, start + len(turns)).unsqueeze(1).repeat(1, most)
        weights = torch.zeros((len(turns), most), dtype=torch.float64)
        for row, turn in enumerate(turns):
            for column, (peer, weight) in enumerate(turn.rows.items()):
                index[row, column], weights[row, column] = self.number[peer], weight
        return index, weights

    def _matrix(self, turns: Sequence[Turn]) -> Tensor:
        """W (N, N), sparse."""
        cells = [(row, self.number[peer], w) for row, turn in enumerate(turns) for peer, w in turn.rows.items()]
        where = torch.tensor([[row for row, _, _ in cells], [column for _, column, _ in cells]], dtype=torch.int64)
        values = torch.tensor([w for _, _, w in cells], dtype=torch.float64)
        count = len(self.cells)
        matrix: Tensor = torch.sparse_coo_tensor(where, values, (count, count), check_invariants=True).coalesce()
        return matrix


def stacked(states: Sequence[State]) -> State:
    """The states of all nodes with a leading node axis."""
    return {name: torch.stack([state[name] for state in states]) for name in states[0]}
