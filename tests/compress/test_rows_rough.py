"""The dead zone over many rows at once: a rough mean square that never shows in a bit."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from p2pfl.compress.deadzone import DeadZone
from p2pfl.compress.rows import NO_KEY, peaks, rough_rms
from p2pfl.compress.vectors import rms_and_peak

SEEDS = st.integers(0, 1 << 30)


def rows_of(seed: int, size: int) -> torch.Tensor:
    """Rows of many scales and shapes: normal, long-tailed, equal magnitudes, one spike, zeros, hardly anything."""
    generator = torch.Generator().manual_seed(seed)
    v = torch.randn(8, size, generator=generator)
    v *= torch.exp2(torch.randint(-140, 120, (8, 1), generator=generator).float())
    v[1] = v[1] * (torch.randn(size, generator=generator) / 8) ** 4
    v[2] = torch.sign(v[2]) * 2.0 ** float(torch.randint(-20, 20, (1,), generator=generator))
    v[3, 0] = v[3].abs().max() * 300
    v[4] = 0
    v[5] = 1e-38 * torch.sign(v[5])
    return v.nan_to_num(0.0, 3e38, -3e38)


@settings(max_examples=25, deadline=None)
@given(seed=SEEDS, size=st.sampled_from([1, 2, 31, 1000, 9610, 70_001]), damp=st.floats(0.1, 1.0))
def test_rows_are_quantised_as_each_alone(seed: int, size: int, damp: float) -> None:
    v = rows_of(seed, size)
    before = v.clone()
    together = DeadZone().project_rows(v, [NO_KEY] * len(v), torch.full((len(v),), damp, dtype=torch.float64))
    for row, q in zip(v, together, strict=True):
        alone = DeadZone().project(row, NO_KEY, damp)
        assert torch.equal(q.view(torch.int32), alone.view(torch.int32))
    assert torch.equal(v, before)


@settings(max_examples=25, deadline=None)
@given(seed=SEEDS, size=st.sampled_from([1, 3, 257, 9610, 70_001, 300_000]))
def test_the_rough_bounds_hold(seed: int, size: int) -> None:
    v = rows_of(seed, size)
    low, high = rough_rms(v)
    exact, peak = rms_and_peak(v)
    told = low > 0
    assert bool(((low <= exact) & (exact <= high))[told].all())
    assert bool((high - low <= 0.01 * exact)[told].all())
    assert torch.equal(peaks(v), peak)


def test_nothing_is_promised_where_squares_vanish_or_overflow_or_are_too_many() -> None:
    for value in (0.0, 1e-20, 1e20, float("inf"), float("nan")):
        assert rough_rms(torch.full((1, 10), value))[0].item() == 0
    assert rough_rms(torch.ones(1, 200_000))[0].item() == 0
