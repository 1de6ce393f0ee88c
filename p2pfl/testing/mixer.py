"""Does a gossip rule keep the laws that exchanges and engines rely on? Knows the two kinds of rule, no rule.

Rules of neighbourhoods ("rows") are tried on a small network without codec, messages or training; rules of pairs on one
exchange of two nodes. Legend: N nodes, P values in a model, K rows heard, V vectors in what is said.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from p2pfl.core.ids import NodeId
from p2pfl.core.noise import Key, root
from p2pfl.horizontal.model.algorithm import idle_phase, mix_row, notes_of, say_row
from p2pfl.horizontal.terms.neighbourhood import Neighbourhood
from p2pfl.mixing import Heard, Phase, RowMixer, State
from p2pfl.mixing.rows import WEIGHTINGS
from p2pfl.secagg.partition import Ground
from p2pfl.testing.expect import called, expect, expect_part, expect_vector, near, same_bits
from p2pfl.testing.pair import check_pair
from p2pfl.topology import FAMILIES

NODES = 6
SIZE = 24
CELL = 3
ROUNDS = 200
SPREAD_LEFT_MAX = 0.5
GROWTH_MAX = 10.0
TOLERANCE = 1e-4
SEED: Key = root(22)


def check_mixer(mixer: Any, *, keeps_mean: bool | None = None) -> None:
    """Raises AssertionError, in one sentence, for the first law that `mixer` breaks.

    keeps_mean: whether a round must keep the mean over the nodes; if not said, it must under symmetric weights
    ("metropolis" and "everybody", without fanout). A rule that leaves outliers out (a median) does not: say False.
    """
    expect_part(mixer, ("needs", "init", "mix"))
    expect(mixer.needs in ("pair", "rows"), f"expected needs to be 'pair' or 'rows', got {mixer.needs!r}")
    if mixer.needs == "pair":
        check_pair(mixer)
        return
    symmetric = mixer.weighting in ("metropolis", "everybody") and not mixer.fanout
    _check_says(mixer)
    for dtype in (torch.float32, torch.float64):
        _check_one_round(mixer, dtype)
    _check_absent(mixer)
    _check_agreement(mixer)
    _check_nodes(mixer)
    _check_rounds(mixer, symmetric if keeps_mean is None else keeps_mean)


# ------------------------------------------------------------------------------------------------ a small network


@dataclass
class Village:
    """N nodes that start alike and have then moved apart, on a graph that suits the rule."""

    rule: RowMixer
    x: list[Tensor]
    states: list[State]
    places: list[Neighbourhood]

    @staticmethod
    def of(rule: RowMixer, dtype: torch.dtype = torch.float64, apart: float = 0.1) -> "Village":
        generator = torch.Generator().manual_seed(4)
        start = torch.randn(SIZE, generator=generator, dtype=torch.float64).to(dtype)
        states = [called("init", rule.init, start) for _ in range(NODES)]
        moves = torch.randn(NODES, SIZE, generator=generator, dtype=torch.float64).to(dtype)
        return Village(rule, [start + apart * move for move in moves], states, _places(rule.weighting))

    def phases(self, work: float = 0.0) -> list[Phase]:
        """No local steps; with `work`, a phase that began a little elsewhere."""
        if not work:
            return [idle_phase(x) for x in self.x]
        return [Phase(x + 0.01, torch.tensor(work, dtype=torch.float64)) for x in self.x]

    def heard(self, round_: int, phases: list[Phase]) -> list[Heard]:
        """What every node hears in a round in which nothing is lost and no codec is used."""
        said = [say_row(self.rule, *each) for each in zip(self.states, self.x, phases, strict=True)]
        said = [row.to(self.x[0].dtype) for row in said]
        notes = [notes_of(self.rule, state) for state in self.states]
        number, found = {place.me: index for index, place in enumerate(self.places)}, []
        for index, place in enumerate(self.places):
            turn = place.turn(round_, self.rule.weighting, self.rule.fanout, SEED)
            rows = [number[peer] for peer in turn.rows]
            inbox = torch.stack([said[row] for row in rows]) if rows else said[index].new_zeros(0, len(said[index]))
            stated = torch.stack([notes[row] for row in rows]) if rows else torch.zeros(0, len(notes[index]))
            weights = torch.tensor(list(turn.rows.values()), dtype=torch.float64)
            given = torch.tensor(turn.given, dtype=torch.float64)
            found.append(Heard(said[index], inbox, weights, given, stated))
        return found

    def round(self, round_: int, work: float = 0.0) -> None:
        phases = self.phases(work)
        heard = self.heard(round_, phases)
        mixed = [
            called("mix", mix_row, self.rule, state, x, rows, phase)
            for state, x, rows, phase in zip(self.states, self.x, heard, phases, strict=True)
        ]
        self.states, self.x = [state for state, _ in mixed], [x for _, x in mixed]

    @property
    def mean(self) -> Tensor:
        return torch.stack(self.x).mean(0)

    @property
    def spread(self) -> float:
        return float((torch.stack(self.x) - self.mean).norm())


def _places(weighting: str) -> list[Neighbourhood]:
    graph = FAMILIES["complete" if weighting == "everybody" else "ring"](NODES)
    ids = {name: NodeId(index.to_bytes(32, "big")) for index, name in enumerate(graph.nodes)}
    beside = {ids[name]: tuple(sorted(ids[far] for far in graph.neighbours(name))) for name in graph.nodes}
    weights = graph.weights()
    return [
        Neighbourhood(
            me=ids[name],
            neighbours=beside[ids[name]],
            weights={ids[far]: weights[name][far] for far in graph.neighbours(name)},
            degree_median=2.0,
            partners=(),
            members=tuple(ids.values()),
            around=beside,
            ground=Ground(beside, CELL),
        )
        for name in graph.nodes
    ]


# ------------------------------------------------------------------------------------------------ the laws


def _check_says(rule: RowMixer) -> None:
    expect(rule.weighting in WEIGHTINGS, f"expected weighting to be one of {WEIGHTINGS}, got {rule.weighting!r}")
    expect(type(rule.fanout) is int and 0 <= rule.fanout <= 256, f"expected fanout from 0 to 256, got {rule.fanout!r}")
    expect(type(rule.vectors) is int and rule.vectors >= 1, f"expected vectors to be 1 or more, got {rule.vectors!r}")
    village = Village.of(rule)
    state, x = village.states[0], village.x[0]
    _expect_state(state, x, "init")
    for note in rule.notes:
        expect(note.name in state, f"expected the note {note.name!r} to be in the state")
        inside = state[note.name].ndim == 0 and note.low <= float(state[note.name]) <= note.high
        expect(inside, f"expected the note {note.name!r} to be a scalar from {note.low} to {note.high} at the start")
    shift = called("shift", rule.shift, state)
    if shift is not None:
        expect_vector(shift, SIZE, x.dtype, "the shift")
    said = called("outgoing", rule.outgoing, state, x, village.phases()[0])
    expect_vector(said, rule.vectors * SIZE, x.dtype, "what outgoing says")


def _expect_state(state: object, x: Tensor, what: str) -> None:
    expect(isinstance(state, Mapping), f"expected {what} to give a mapping of names to tensors as the state")
    assert isinstance(state, Mapping)
    for name, value in state.items():
        expect(isinstance(value, Tensor), f"expected {name!r} in the state of {what} to be a tensor")
        if value.ndim == 0:
            expect(value.dtype == torch.float64, f"expected the scalar {name!r} in the state to be float64")
        else:
            expect_vector(value, len(x), x.dtype, f"{name!r} in the state of {what}")


def _check_one_round(rule: RowMixer, dtype: torch.dtype) -> None:
    village = Village.of(rule, dtype)
    phases = village.phases(0.1)
    heard = village.heard(0, phases)
    for state, x, rows, phase in zip(village.states, village.x, heard, phases, strict=True):
        before = [t.clone() for t in (x, *state.values(), *rows, *phase)]
        after, mixed = called("mix", rule.mix, state, x, rows, phase)
        again, twice = rule.mix(state, x, rows, phase)
        untouched = all(same_bits(a, b) for a, b in zip(before, (x, *state.values(), *rows, *phase), strict=True))
        expect(untouched, "mix changed what it was given: tensors are shared, never changed in place")
        expect_vector(mixed, SIZE, dtype, "the mixed model")
        _expect_state(after, x, "mix")
        shapes = {name: value.shape for name, value in state.items()}
        kept = {name: value.shape for name, value in after.items()} == shapes
        expect(kept, f"mix must give a state with the names and shapes of init's: {sorted(state)}")
        pure = same_bits(mixed, twice) and all(same_bits(after[name], again[name]) for name in after)
        expect(pure, "mix gave two results for the same arguments")


def _check_absent(rule: RowMixer) -> None:
    """A row of weight 0 was not heard."""
    village = Village.of(rule)
    phases = village.phases()
    heard, state, x = village.heard(0, phases)[0], village.states[0], village.x[0]
    low = torch.tensor([[note.low for note in rule.notes]], dtype=torch.float64)
    more = heard._replace(
        inbox=torch.cat([heard.inbox, torch.full_like(heard.own, 1e3)[None]]),
        weights=torch.cat([heard.weights, torch.zeros(1, dtype=torch.float64)]),
        notes=torch.cat([heard.notes, low]),
    )
    mixed, wanted = called("mix", rule.mix, state, x, more, phases[0])[1], rule.mix(state, x, heard, phases[0])[1]
    expect(near(mixed, wanted, 1e-9), "a row of weight 0 moved the model: it is absent, and its values mean nothing")


def _check_agreement(rule: RowMixer) -> None:
    village = Village.of(rule, apart=0.0)
    before = village.mean
    village.round(0)
    still = all(near(x, before, 1e-6) for x in village.x)
    expect(still, "nodes that agree, and have not trained, moved")


def _check_nodes(rule: RowMixer) -> None:
    village = Village.of(rule)
    phases = village.phases(0.1)
    heard = village.heard(0, phases)
    count = min(len(rows.weights) for rows in heard)
    heard = [Heard(r.own, r.inbox[:count], r.weights[:count], r.given, r.notes[:count]) for r in heard]
    states = {name: torch.stack([state[name] for state in village.states]) for name in village.states[0]}
    x = torch.stack(village.x)
    stacked = Heard(*(torch.stack(parts) for parts in zip(*heard, strict=True)))
    phase = Phase(*(torch.stack(parts) for parts in zip(*phases, strict=True)))
    said = called("outgoing under torch.func.vmap", torch.func.vmap(rule.outgoing), states, x, phase)
    after, mixed = called("mix under torch.func.vmap", torch.func.vmap(rule.mix), states, x, stacked, phase)
    for number in range(NODES):
        alone, own = rule.mix(village.states[number], village.x[number], heard[number], phases[number])
        same = near(mixed[number], own, 1e-9) and all(near(after[n][number], alone[n], 1e-9) for n in alone)
        same = same and near(
            said[number], rule.outgoing(village.states[number], village.x[number], phases[number]), 1e-9
        )
        expect(same, "mix or outgoing under torch.func.vmap does not give every node's result")


def _check_rounds(rule: RowMixer, keeps_mean: bool) -> None:
    village = Village.of(rule)
    mean, spread = village.mean, village.spread
    for round_ in range(ROUNDS):
        village.round(round_)
        grown = village.spread / spread
        expect(grown <= GROWTH_MAX, f"mixing drives the nodes apart: {grown:.3g} times as far after round {round_}")
        if keeps_mean:
            drift = float((village.mean - mean).abs().max())
            expect(drift <= TOLERANCE, f"the mean over the nodes moved by {drift:.3g} in round {round_} (keeps_mean)")
    left = village.spread / spread
    wanted = f"expected {ROUNDS} rounds of mixing to at least halve the nodes' disagreement"
    expect(left <= SPREAD_LEFT_MAX, f"{wanted}, {left:.3g} of it is left")
