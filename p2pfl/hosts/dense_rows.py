"""Neighbourhood rules over X (N, P): rows said, gathered and mixed, nodes in chunks. Knows no training.

Legend: N nodes here, P values in a model, V vectors in a row, K the most rows that any node of a chunk hears, C notes;
H nodes elsewhere whose rows are heard (0 unless the network is in shards: shards_rows.py).

What a chunk hears is an index of rows (n, K), padded by rows of weight 0. A rule that is linear in what it heard may
offer `mix_all`, which sums weighted rows where they lie; another's `mix` is mapped over the inbox (n, K, V P).
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from p2pfl.core.ids import NodeId
from p2pfl.core.noise import Key, derive
from p2pfl.core.party import Emit
from p2pfl.horizontal.model.algorithm import encode_vectors, mix_row, notes_of, pieces, project_rows, say_row
from p2pfl.horizontal.terms.averages import Stated
from p2pfl.horizontal.terms.neighbourhood import Turn
from p2pfl.hosts.dense import Cell, DenseSetting, Models, filled, is_sized, where
from p2pfl.hosts.dense_span import Span
from p2pfl.learn.crew import Drill
from p2pfl.mixing.pairwise import Pairwise
from p2pfl.mixing.rows import Crowd, Heard, Phase, RowMixer, State

PHASES_KEPT = 16


class Hearing(NamedTuple):
    """Of a chunk: whose rows (n, K), their weights (n, K), and the sum of the weights of its own at others (n,)."""

    whose: Tensor
    weights: Tensor
    given: Tensor


class Words(NamedTuple):
    """What was said in a round: by those here, and behind them by those elsewhere."""

    rows: Tensor  # (N + H, V P) in the models' dtype
    notes: Tensor  # (N + H, C) float64
    stated: list[Stated]
    sizes: list[int | None]  # of each row's code in bytes; None where it was not measured


class DenseRows:
    """The exchange of a `needs = "rows"` rule. sparse: use the rule's `mix_all` where it has one.

    span: where the cells are in the whole network; elsewhere: whose rows come from other shards.
    """

    def __init__(
        self,
        setting: DenseSetting,
        cells: Sequence[Cell],
        models: Models,
        sparse: bool = True,
        span: Span | None = None,
        elsewhere: Sequence[NodeId] = (),
    ) -> None:
        assert not isinstance(setting.rule, Pairwise)
        self.span, self.elsewhere = span or Span.whole(len(cells)), tuple(elsewhere)
        self.setting, self.cells, self.models = setting, cells, models
        self.rule: RowMixer = setting.rule
        self.looks_back: bool = getattr(self.rule, "looks_back", True)
        self.sparse = sparse and hasattr(self.rule, "mix_all")
        self.place = {node: row for row, node in enumerate([*(cell.node for cell in cells), *self.elsewhere])}
        self.states = {
            name: value.expand(len(cells), *value.shape).clone() for name, value in self.rule.init(models.x[0]).items()
        }
        self.plain = type(self.rule).outgoing is RowMixer.outgoing  # says the model itself
        self.whole = models.x  # (N + H, P), of which the models are the head: rows that are the models are not copied
        if self.elsewhere and self.plain:
            self.whole = torch.cat([models.x, models.x.new_zeros((len(self.elsewhere), models.x.shape[1]))])
            models.x = self.whole[: len(cells)]
        self.spare: Tensor | None = None  # last round's models: fresh memory costs more than what is done with it
        self.known: dict[int, list[Turn]] = {}  # by phase of the graph, where nobody is drawn
        self.latest: tuple[int, list[Turn]] = (-1, [])  # of one round, by its index
        self.similarity: list[dict[NodeId, float]] = [{} for _ in cells]  # in the last mix, by some rules
        self.gathered: dict[tuple[int, int], Hearing] = {}

    def period(self) -> int:
        return 1

    def shifts(self, nodes: Sequence[int]) -> Tensor | None:
        state = self._state(where(nodes))
        found = self.rule.shift({name: value[0] for name, value in state.items()})
        if found is None:
            return None
        return torch.func.vmap(lambda own: _given(self.rule.shift(own)))(dict(state))

    def trained(self, drill: Drill) -> None:
        pass

    def end(self, number: int) -> list[Emit]:
        found = sorted(self.similarity[number].items())
        return [Emit("similarity", {"peer": peer.hex(), "similarity": value}) for peer, value in found]

    def exchange(self, index: int) -> None:
        if self.span.total < 2:
            return
        words = self.say(index)
        self.land(index, words, filled(words.sizes))

    def land(self, index: int, words: Words, sizes: Sequence[int]) -> None:
        """All has been heard, in `sizes` bytes a row: everybody mixes."""
        turns = self.turns(index)
        self._count(sizes, turns)
        mixed = torch.zeros_like(self.whole) if self.spare is None else self.spare
        for part in self._chunks():
            self._mix(part, words, self._gather(turns, part, index), mixed)
        self.whole, self.spare = mixed, self.whole
        self.models.x = mixed[: len(self.cells)]
        self._settle(turns, words.stated)

    def turns(self, index: int) -> list[Turn]:
        """Whom each node here tells and hears in a round."""
        rule = self.rule
        phase = index % max(len(self.cells[0].nb.frames), 1)
        if phase in self.known:
            return self.known[phase]
        if self.latest[0] != index:
            drawn = self.setting.meeting(index)
            found = [cell.nb.turn(index, rule.weighting, rule.fanout, drawn) for cell in self.cells]
            self.latest = (index, found)
            if not rule.fanout and rule.weighting != "cell" and len(self.known) < PHASES_KEPT:
                self.known[phase] = found
        return self.latest[1]

    def _chunks(self) -> Iterator[slice]:
        for start in range(0, len(self.cells), self.setting.chunk):
            yield slice(start, min(start + self.setting.chunk, len(self.cells)))

    def _state(self, part: slice | Tensor) -> State:
        return {name: value[part] for name, value in self.states.items()}

    def _phase(self, part: slice) -> Phase:
        before = self.models.x if self.models.before is None else self.models.before
        return Phase(before[part], self.models.work[part])

    def _settle(self, turns: Sequence[Turn], stated: Sequence[Stated]) -> None:
        if all(one == stated[0] for one in stated):
            return  # what all agree on stays as it is
        for number, (cell, turn) in enumerate(zip(self.cells, turns, strict=True)):
            local, others = cell.local, [stated[self.place[peer]] for peer in turn.rows]
            weights = tuple(turn.rows.values())
            local.settle(local.averages.gathered(stated[number], others, weights, local.rounds))

    # -------------------------------------------------------------------------------------------- saying

    def say(self, index: int) -> Words:
        """What each node says, as everybody decodes it; the rows of those elsewhere are not filled in."""
        s, vectors, x = self.setting, self.rule.vectors, self.models.x
        stated = [cell.local.averages.stated() for cell in self.cells]
        if self.plain and getattr(s.codec, "lossless", False) and x.dtype == torch.float32:
            size = sum(s.codec.bounds(piece.size).body_bytes for piece in pieces(s.schema))
            return Words(self.whole, self._notes(), stated, [size] * len(x))
        rows = x.new_empty((len(self.place), vectors * x.shape[1]))
        rows[len(x) :] = 0.0
        say = torch.func.vmap(lambda *args: say_row(self.rule, *args))
        sizes: list[int | None] = []
        for part in self._chunks():
            outgoing = say(self._state(part), x[part], self._phase(part))
            numbers = range(part.start, part.stop)
            keys = [derive(self.cells[number].entropy, "codec", "row", index) for number in numbers]
            damp = torch.ones(len(keys), dtype=torch.float64)
            rows[part] = project_rows(s.codec, outgoing, s.schema, keys, damp, vectors)
            sizes += [self._size(n, row, key, index) for n, row, key in zip(numbers, outgoing, keys, strict=True)]
        return Words(rows, self._notes(), stated, sizes)

    def _size(self, row: int, v: Tensor, key: Key, index: int) -> int | None:
        """The bytes of a row's code, if that is measured now."""
        if not is_sized(self.span.numbers[row], self.span.total, index):
            return None
        s = self.setting
        packed, _ = encode_vectors(s.codec, v, s.schema, key, 1.0, self.rule.vectors)
        return sum(memoryview(p.body).nbytes for p in packed)

    def _count(self, sizes: Sequence[int], turns: Sequence[Turn]) -> None:
        """A row to each that is told, and its small answer."""
        reply = self.setting.head_bytes("edge", 0)
        heads = {size: self.setting.head_bytes("row", size) for size in set(sizes)}
        for cell, turn, size in zip(self.cells, turns, sizes, strict=False):  # without those elsewhere
            told, mine = len(turn.to), cell.traffic
            mine.bytes_sent += told * (heads[size] + size) + len(turn.rows) * reply
            mine.bytes_received += told * reply
            mine.bytes_received += sum(heads[sizes[n]] + sizes[n] for n in (self.place[peer] for peer in turn.rows))
            if size:
                mine.bodies_sent += told
                mine.body_bytes_sent += told * size

    def _notes(self) -> Tensor:
        if not self.rule.notes:
            return torch.empty((len(self.cells), 0), dtype=torch.float64)
        return torch.func.vmap(lambda state: notes_of(self.rule, state))(self.states)

    # -------------------------------------------------------------------------------------------- mixing

    def _mix(self, part: slice, words: Words, heard_by: Hearing, mixed: Tensor) -> None:
        """The next models and states of a chunk; the others' rows are still what they said."""
        rows, notes, (index, weights, given) = words.rows, words.notes, heard_by
        states, x, phase = self._state(part), self.models.x[part], self._phase(part)
        after: Mapping[str, Tensor]
        if self.sparse:
            rule: Any = self.rule
            crowd = Crowd(rows[part], rows, index, weights, given, notes)
            after, mixed[part] = rule.mix_all(states, x, crowd, phase)
        else:
            heard = Heard(rows[part], rows[index], weights, given, notes[index])
            mix = torch.func.vmap(lambda s, x, h, p: mix_row(self.rule, s, x, h, p))
            after, mixed[part] = mix(states, x, heard, phase)
            if hasattr(self.rule, "similarity"):
                self._compare(part, self.rule.similarity, heard, index)
        for name, value in after.items():
            self.states[name][part] = value

    def _compare(self, part: slice, similarity: Callable[[Heard], Tensor], heard: Heard, index: Tensor) -> None:
        nodes = list(self.place)
        rows = zip(index.tolist(), heard.weights.tolist(), torch.func.vmap(similarity)(heard).tolist(), strict=True)
        for number, (whose, weights, values) in enumerate(rows, part.start):
            each = zip(whose, weights, values, strict=True)
            self.similarity[number] = {nodes[row]: value for row, weight, value in each if weight}

    def _gather(self, turns: Sequence[Turn], part: slice, round_: int) -> Hearing:
        """Whom a chunk hears; what is padded points at the node itself, with weight 0."""
        place = (round_ % max(len(self.cells[0].nb.frames), 1), part.start)
        if place in self.gathered:
            return self.gathered[place]
        own = turns[part]
        most = max(max(len(turn.rows) for turn in own), 1)
        index, weights = [], []
        for row, turn in enumerate(own, part.start):
            missing = most - len(turn.rows)
            index.append([self.place[peer] for peer in turn.rows] + [row] * missing)
            weights.append([*turn.rows.values()] + [0.0] * missing)
        given = torch.tensor([turn.given for turn in own], dtype=torch.float64)
        found = Hearing(torch.tensor(index), torch.tensor(weights, dtype=torch.float64), given)
        if place[0] in self.known:
            self.gathered[place] = found
        return found


def _given(shift: Tensor | None) -> Tensor:
    assert shift is not None
    return shift
