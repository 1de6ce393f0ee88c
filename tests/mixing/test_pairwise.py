"""The laws of the default rule: what one exchange keeps, what it bounds, and where it leads."""

from dataclasses import replace
from math import inf
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from p2pfl.core.vectors import ParamSchema, ParamSpec
from p2pfl.mixing.pairwise import BOUND, CAP, DAMP_MIN, REACH_MIN, PairState, Pairwise, Said, counted, radius_of
from p2pfl.wire import messages

SIZE, WEIGHTS = 24, 20
SCHEMA = ParamSchema((ParamSpec("w", (WEIGHTS,), "weights"), ParamSpec("b", (SIZE - WEIGHTS,), "buffers")))
PLAIN = ParamSchema((ParamSpec("w", (SIZE,), "weights"),))


def scalar(value: float) -> Tensor:
    return torch.tensor(value, dtype=torch.float64)


def norm(v: Tensor) -> float:
    return float(torch.linalg.vector_norm(v.double()))


@st.composite
def vectors(draw: st.DrawFn, size: int = SIZE) -> Tensor:
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**32)))
    return torch.randn(size, generator=generator) * 2.0 ** draw(st.integers(-12, 12))


positive = st.floats(1e-6, 1e6)
bounds = st.one_of(st.just(inf), st.floats(1e-6, 1e6))


@st.composite
def said(draw: st.DrawFn) -> Said:
    q = draw(vectors())
    numbers = [draw(bounds), draw(st.floats(0.0, 1e3)), draw(positive), draw(bounds), draw(st.floats(0.1, 1.0))]
    return Said(q, scalar(norm(q)), *map(scalar, numbers))


@st.composite
def states(draw: st.DrawFn) -> PairState:
    """As a node has them: z is zero on buffers and within its bound."""
    z, u_bar = draw(vectors()), draw(st.sampled_from([0.0, 1e-3, 1.0, 1e3]))
    z[WEIGHTS:] = 0
    if u_bar and norm(z) > BOUND * u_bar:
        z = z * (0.99 * BOUND * u_bar / norm(z))
    return PairState(z, scalar(u_bar), scalar(draw(st.floats(0.1, 1.0))), scalar(draw(st.floats(0.0, 1.0))))


def free(state: PairState) -> PairState:
    """The same without a bound on z."""
    return replace(state, u_bar=scalar(0.0))


@given(states(), states(), vectors(), vectors(), said(), said())
def test_the_ends_do_the_opposite(a: PairState, b: PairState, x: Tensor, y: Tensor, mine: Said, other: Said) -> None:
    """Bit for bit, whatever the models are by now: so the sum of z over the network is kept, that of x where nobody
    clips."""
    rule = Pairwise()
    here, there = rule.mix(free(a), x, mine, other, SCHEMA), rule.mix(free(b), y, other, mine, SCHEMA)
    if norm(here.move) == norm(there.move):
        assert torch.equal(here.move, -there.move)
    zero = replace(free(a), z=torch.zeros(SIZE))
    change, back = (rule.mix(zero, x, *halves, SCHEMA).state.z for halves in ((mine, other), (other, mine)))
    assert torch.equal(change, -back)
    assert torch.equal(here.state.z, a.z + change)
    assert float(here.distance) == float(there.distance)


@given(states(), states(), vectors(), vectors(), said(), said())
def test_sums_over_the_pair_are_kept(a: PairState, b: PairState, x: Tensor, y: Tensor, mine: Said, other: Said) -> None:
    rule, mine, other = Pairwise(), mine._replace(tau=scalar(inf)), other._replace(tau=scalar(inf))
    here, there = rule.mix(free(a), x, mine, other, SCHEMA), rule.mix(free(b), y, other, mine, SCHEMA)
    x, y = x.double(), y.double()
    torch.testing.assert_close((x + here.move) + (y + there.move), x + y, rtol=1e-12, atol=1e-9)
    scale = max(norm(here.state.z), norm(there.state.z), norm(a.z), norm(b.z))
    torch.testing.assert_close(here.state.z + there.state.z, a.z + b.z, rtol=1e-6, atol=1e-6 * scale)


@given(states(), vectors(), said(), said())
def test_each_end_clips_its_model_at_its_own_radius(state: PairState, x: Tensor, mine: Said, other: Said) -> None:
    mixed = Pairwise().mix(state, x, mine, other, SCHEMA)
    radius = float(mine.tau)
    whole = (other.q - mine.q) / 2
    assert float(mixed.distance) == pytest.approx(norm(whole))
    assert norm(mixed.move) <= min(radius, norm(whole)) * (1 + 1e-6)
    if norm(whole) <= radius:
        assert torch.equal(mixed.move, whole)
    else:
        torch.testing.assert_close(mixed.move, whole * (radius / norm(whole)), rtol=1e-5, atol=0.0)


@given(vectors(), said(), said())
def test_both_clip_z_at_the_smaller_radius(x: Tensor, mine: Said, other: Said) -> None:
    start = Pairwise().init(x)
    z = Pairwise(dual_gain=0.25).mix(start, x, mine, other, PLAIN).state.z
    radius = min(float(mine.tau), float(other.tau))
    work = max(float(value) for value in (mine.work, other.work, mine.phase, other.phase))
    length = min(norm((other.q - mine.q) / 2), radius) * 0.25 * min(float(mine.damp), float(other.damp)) / work
    assert norm(z) == pytest.approx(length, rel=1e-4, abs=1e-30)


@given(states(), vectors(), said(), said(), st.floats(0, 1))
def test_z_and_damp_stay_within_their_bounds(
    state: PairState, x: Tensor, mine: Said, other: Said, dual_gain: float
) -> None:
    rule = Pairwise(dual_gain=dual_gain)
    mixed = rule.mix(state, x, mine, other, SCHEMA)
    after = mixed.state
    if float(state.u_bar) > 0:
        assert norm(rule.shift(after)) <= BOUND * float(state.u_bar) * (1 + 1e-6)
        assert norm(after.z) <= CAP * BOUND * float(state.u_bar) * (1 + 1e-6)
    assert DAMP_MIN <= float(after.damp) <= 1
    assert (float(after.damp) < float(state.damp)) <= bool(mixed.bounded)
    assert not after.z[WEIGHTS:].any(), "buffers have no gradient"
    assert torch.isfinite(after.z).all()


def test_the_longer_worker_of_the_pair_counts() -> None:
    """W is the largest of the four; the damping the smaller of the two."""
    state, q = Pairwise().init(torch.zeros(SIZE)), torch.ones(SIZE)
    one = Said(-q, scalar(1), scalar(inf), scalar(0.5), scalar(0.25), scalar(inf), scalar(0.8))
    for name, value in (("work", 2.0), ("phase", 4.0)):
        other = one._replace(q=q, damp=scalar(0.4), **{name: scalar(value)})
        z = Pairwise(dual_gain=0.25).mix(state, q, one, other, PLAIN).state.z
        torch.testing.assert_close(z, torch.full((SIZE,), -0.25 * 0.4 / value), rtol=1e-6, atol=0)


def test_the_drift_correction_can_be_switched_off() -> None:
    state = Pairwise().init(torch.zeros(SIZE))
    one = Said(torch.ones(SIZE), scalar(1), scalar(inf), scalar(1), scalar(1), scalar(inf), scalar(1))
    assert not Pairwise(dual_gain=0).mix(state, one.q, one, one._replace(q=-one.q), PLAIN).state.z.any()


# ------------------------------------------------------------------------------------------------ size check


@given(vectors(), positive)
def test_a_long_half_counts_as_a_power_of_two_of_itself(q: Tensor, reach: float) -> None:
    length = scalar(norm(q))
    taken = counted(q, length, scalar(reach))
    if norm(q) <= reach:
        assert torch.equal(taken, q)
        return
    ratio = (taken[q != 0] / q[q != 0]).unique()
    assert len(ratio) == 1
    assert float(torch.frexp(ratio).mantissa) == 0.5, "a power of two, exactly"
    assert reach / 2 < norm(taken) * (1 + 1e-6)
    assert norm(taken) <= reach * (1 + 1e-12)


@pytest.mark.parametrize(
    ("length", "factor"), [(1.0, 1.0), (1.0000001, 0.5), (2.0, 0.5), (2.1, 0.25), (1024.0, 2**-10)]
)
def test_the_smallest_power_that_fits(length: float, factor: float) -> None:
    q = torch.tensor([3.0])
    assert float(counted(q, scalar(length), scalar(1.0))) == 3.0 * factor


def test_no_reach_takes_everything() -> None:
    q = torch.full((3,), 1e30)
    assert torch.equal(counted(q, scalar(1e31), scalar(inf)), q)
    assert torch.equal(counted(torch.zeros(3), scalar(0.0), scalar(1e-30)), torch.zeros(3))


@given(vectors(), positive, positive)
def test_counting_is_the_same_in_both_orders(q: Tensor, reach: float, scale: float) -> None:
    """A function of what is in the message alone; so both ends get the same bits."""
    length = scalar(norm(q) * scale)
    assert torch.equal(counted(q, length, scalar(reach)), counted(q.clone(), length.clone(), scalar(reach)))


@pytest.mark.parametrize(
    ("norm", "norms", "reach"),
    [
        (1.0, [], 3.0),
        (0.0, [], inf),
        (1.0, [1.0, 2.0, 9.0], 6.0),
        (5.0, [1.0, 2.0, 9.0], 15.0),
        (100.0, [1.0, 2.0, 9.0], 24.0),
        (0.0, [2.0], 6.0),
        (1.0, [0.0, 0.0], inf),
        (1e-31, [1e-33], inf),
    ],
)
def test_reach_is_a_multiple_of_what_is_usual(norm: float, norms: list[float], reach: float) -> None:
    assert Pairwise().reach(norm, norms) == pytest.approx(reach)
    assert Pairwise(size_check=0).reach(norm, norms) == inf


@given(st.floats(0, 1e30), st.lists(st.floats(0, 1e30), max_size=5))
def test_a_reach_can_be_sent(norm: float, norms: list[float]) -> None:
    reach = Pairwise().reach(norm, norms)
    assert reach == inf or reach >= REACH_MIN == messages.REACH_MIN


# ------------------------------------------------------------------------------------------------ how much, how often


def test_radius_is_the_lower_quartile_of_the_distances() -> None:
    assert radius_of([]) == radius_of([1.0, 2.0]) == inf
    assert radius_of([5.0, 1.0, 2.0, 4.0, 3.0]) == 2.0
    assert radius_of([1.0, 1.0, 1.0]) == 1.0


@pytest.mark.parametrize(
    ("clip", "degree", "median", "clips"),
    [
        ("auto", 2, 2.0, False),
        ("auto", 3, 2.0, True),
        ("auto", 4, 2.0, True),
        ("auto", 5, 2.0, False),
        ("on", 1, 9.0, True),
        ("off", 4, 4.0, False),
    ],
)
def test_hubs_and_ends_of_a_line_do_not_clip(clip: Any, degree: int, median: float, clips: bool) -> None:
    assert Pairwise(clip=clip).clips(degree, median) is clips


@pytest.mark.parametrize(("rel", "steps"), [(0.0, 5), (0.04, 5), (0.08, 2), (0.5, 1), (1e9, 1)])
def test_phases_get_shorter_where_the_models_move_far(rel: float, steps: int) -> None:
    state = replace(Pairwise().init(torch.zeros(2)), rel=scalar(rel))
    assert Pairwise().phase_steps(state, 5) == steps
    assert Pairwise(movement=0).phase_steps(state, 5) == 5


def test_u_bar_is_a_running_mean_of_update_lengths() -> None:
    rule = Pairwise()
    first = rule.trained(rule.init(torch.zeros(2)), torch.tensor([1.0, 3.0], dtype=torch.float64))
    assert float(first.u_bar) == 2.0
    expected = (2.0 * 0.98 + 0.02 * 4.0) * 0.98 + 0.02 * 6.0
    whole = rule.trained(first, torch.tensor([4.0, 6.0], dtype=torch.float64))
    assert float(whole.u_bar) == pytest.approx(expected)
    parts = rule.trained(rule.trained(first, scalar(4.0).reshape(1)), scalar(6.0).reshape(1))
    assert float(parts.u_bar) == pytest.approx(expected)


@pytest.mark.parametrize(
    "bad", [{"dual_gain": -0.1}, {"dual_gain": 1.1}, {"size_check": 0.5}, {"clip": "maybe"}, {"movement": -1}]
)
def test_bad_parameters_name_themselves(bad: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=f"mix.{next(iter(bad))}"):
        Pairwise(**bad)


# ------------------------------------------------------------------------------------------------ where it leads


def distance_to_mean(rule: Pairwise, apart: float, rounds: int = 400) -> float:
    """Six nodes, each with a quadratic of its own, 1, 2 or 4 exact local steps between exchanges in random pairs.

    apart: how much further from the start each node's optimum is than the last one's.
    """
    lr, steps, count = 0.05, [1, 2, 4, 1, 2, 4], 6
    generator = torch.Generator().manual_seed(3)
    targets = torch.randn(count, SIZE, generator=generator) + apart * torch.arange(count).unsqueeze(1)
    xs, nodes = [torch.zeros(SIZE) for _ in range(count)], [rule.init(torch.zeros(SIZE)) for _ in range(count)]
    for _ in range(rounds):
        for i in range(count):
            lengths = []
            for _ in range(steps[i]):
                g = xs[i] - targets[i]
                lengths.append(norm(g))
                xs[i] = xs[i] - lr * (g + rule.shift(nodes[i]))
            nodes[i] = rule.trained(nodes[i], torch.tensor(lengths, dtype=torch.float64))
        order = torch.randperm(count, generator=generator).tolist()
        for i, j in zip(order[::2], order[1::2], strict=True):
            a, b = (half(xs[k], nodes[k], lr * steps[k]) for k in (i, j))
            here, there = rule.mix(nodes[i], xs[i], a, b, PLAIN), rule.mix(nodes[j], xs[j], b, a, PLAIN)
            xs[i], xs[j] = xs[i] + here.move, xs[j] + there.move
            nodes[i], nodes[j] = here.state, there.state
    return max(norm(x - targets.mean(0)) for x in xs) / norm(targets.mean(0))


def half(x: Tensor, state: PairState, work: float) -> Said:
    return Said(x, scalar(norm(x)), scalar(inf), scalar(work), scalar(work), scalar(inf), state.damp)


def test_unequal_workers_reach_the_true_mean() -> None:
    """The node that does four steps where others do one pulls no harder: that is what z is for."""
    assert distance_to_mean(Pairwise(), 0.0) < 1e-3
    assert distance_to_mean(Pairwise(dual_gain=0.0), 0.0) > 0.03, "without z they do not, or this test shows nothing"


def test_the_bound_on_z_costs_nothing_in_the_end() -> None:
    """Where the nodes' optima are far apart, z meets its bound in the first rounds and not later."""
    assert distance_to_mean(Pairwise(), 2.0) < 1e-3
