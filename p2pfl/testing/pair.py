"""Does a rule of pairs keep its laws? Two nodes, one exchange after another, no codec. Called by `check_mixer`."""

from typing import Any

import torch
from torch import Tensor

from p2pfl.core.vectors import ParamSchema, ParamSpec
from p2pfl.mixing.pairwise import Mixed, PairState, Pairwise, Said
from p2pfl.testing.expect import called, expect, expect_vector, near, same_bits

WEIGHTS, BUFFERS = 20, 4
SIZE = WEIGHTS + BUFFERS
SCHEMA = ParamSchema((ParamSpec("w", (WEIGHTS,), "weights"), ParamSpec("b", (BUFFERS,), "buffers")))
EXCHANGES = 30
STEPS = 5


def check_pair(mixer: Any) -> None:
    """Raises AssertionError, in one sentence, for the first law that `mixer` breaks."""
    kind = type(mixer).__name__
    expect(isinstance(mixer, Pairwise), f"expected a rule of pairs to inherit from Pairwise, got {kind}")
    rule: Pairwise = mixer
    _check_scalars(rule)
    _check_opposite(rule)
    _check_agreement(rule)
    _check_nodes(rule)


def _two() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(5)
    start = torch.randn(SIZE, generator=generator)
    return start, start + 0.1 * torch.randn(SIZE, generator=generator)


def _trained(rule: Pairwise, x: Tensor) -> PairState:
    state = called("init", rule.init, x)
    expect(isinstance(state, PairState), f"expected init to give a PairState, got {type(state).__name__}")
    after: PairState = called("trained", rule.trained, state, torch.tensor([1.0, 0.9, 1.1], dtype=torch.float64))
    return after


def _said(state: PairState, x: Tensor, reference: Tensor) -> Said:
    def number(value: float) -> Tensor:
        return torch.tensor(value, dtype=torch.float64)

    q = x - reference
    return Said(q, q.double().norm(), number(9.9), number(0.3), number(0.5), number(float("inf")), state.damp)


def _exchange(rule: Pairwise, state: PairState, x: Tensor, mine: Said, other: Said) -> Mixed:
    mixed = called("mix", rule.mix, state, x, mine, other, SCHEMA)
    expect(isinstance(mixed, Mixed), f"expected mix to give a Mixed, got {type(mixed).__name__}")
    assert isinstance(mixed, Mixed)
    expect_vector(mixed.move, SIZE, x.dtype, "the move")
    expect_vector(mixed.state.z, SIZE, x.dtype, "the drift correction")
    still = not bool(mixed.state.z[WEIGHTS:].any())
    expect(still, "the drift correction touched buffers: running statistics have no gradient")
    return mixed


def _check_scalars(rule: Pairwise) -> None:
    state = _trained(rule, _two()[0])
    steps = called("phase_steps", rule.phase_steps, state, STEPS)
    expect(type(steps) is int and 1 <= steps <= STEPS, f"expected phase_steps from 1 to {STEPS}, got {steps!r}")
    for norms in ([], [0.1, 0.2, 0.3]):
        reach = called("reach", rule.reach, 0.2, norms)
        expect(isinstance(reach, float) and reach > 0, f"expected reach above 0 (inf: no check), got {reach!r}")
    clips = called("clips", rule.clips, 3, 3.0)
    expect(isinstance(clips, bool), f"expected clips to be true or false, got {clips!r}")


def _check_opposite(rule: Pairwise) -> None:
    a, b = _two()
    reference = (a + b) / 2 + 0.01
    one, two = _trained(rule, a), _trained(rule, b)
    mine, other = _said(one, a, reference), _said(two, b, reference)
    before = [t.clone() for t in (a, one.z, mine.q, other.q)]
    here, there = _exchange(rule, one, a, mine, other), _exchange(rule, two, b, other, mine)
    untouched = all(same_bits(x, y) for x, y in zip(before, (a, one.z, mine.q, other.q), strict=True))
    expect(untouched, "mix changed what it was given: tensors are shared, never changed in place")
    again = _exchange(rule, one, a, mine, other)
    expect(same_bits(again.move, here.move), "mix gave two results for the same arguments")
    opposite = same_bits(here.move + 0.0, -there.move + 0.0)
    expect(opposite, "the two ends do not move by the opposite of each other, bit for bit: their mean would drift")
    zero = same_bits((here.state.z - one.z) + 0.0, -(there.state.z - two.z) + 0.0)
    expect(zero, "the two ends' drift corrections do not change by the opposite of each other, bit for bit")


def _check_agreement(rule: Pairwise) -> None:
    a, b = _two()
    alike = _said(_trained(rule, a), a, b)
    mixed = _exchange(rule, _trained(rule, a), a, alike, alike)
    expect(not bool(mixed.move.any()), "nodes that say the same moved")
    one, two, total, apart = _trained(rule, a), _trained(rule, b), a + b, float((a - b).norm())
    for _ in range(EXCHANGES):
        mine, other = _said(one, a, (a + b) / 2), _said(two, b, (a + b) / 2)
        here, there = _exchange(rule, one, a, mine, other), _exchange(rule, two, b, other, mine)
        a, b, one, two = a + here.move, b + there.move, here.state, there.state
    left = float((a - b).norm()) / apart
    expect(left <= 0.5, f"{EXCHANGES} exchanges must at least halve what two nodes differ by; {left:.3g} of it is left")
    expect(near(a + b, total, 1e-5), "exchanges moved the mean of the two nodes")


def _check_nodes(rule: Pairwise) -> None:
    a, b = _two()
    one, two = _trained(rule, a), _trained(rule, b)
    mine, other = _said(one, a, b), _said(two, b, a)

    def move(state: PairState, x: Tensor, mine: Said, other: Said) -> Tensor:
        return rule.mix(state, x, mine, other, SCHEMA).move

    both = Said(*(torch.stack(parts) for parts in zip(mine, other, strict=True)))
    swapped = Said(*(torch.stack(parts) for parts in zip(other, mine, strict=True)))
    fields = ((one.z, two.z), (one.u_bar, two.u_bar), (one.damp, two.damp), (one.rel, two.rel))
    state = PairState(*(torch.stack(parts) for parts in fields))
    moves = called("mix with a leading node axis", move, state, torch.stack([a, b]), both, swapped)
    alone = move(one, a, mine, other), move(two, b, other, mine)
    same = all(same_bits(stacked, own) for stacked, own in zip(moves, alone, strict=True))
    expect(same, "mix with a leading node axis does not give every node's move, bit for bit")
