"""What leaves a party is bounded and noised as said."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from p2pfl.core.noise import root
from p2pfl.errors import ConfigError
from p2pfl.vertical.data.protect import RowGuard


@settings(max_examples=40)
@given(st.integers(1, 20), st.integers(1, 12), st.floats(0.01, 100), st.integers(0, 999))
def test_rows_are_no_longer_than_the_clip_and_short_ones_stay(n: int, d: int, clip: float, seed: int) -> None:
    rows = torch.randn(n, d, generator=torch.Generator().manual_seed(seed)) * clip
    clipped = RowGuard(clip).clip_rows(rows)
    assert (clipped.norm(dim=1) <= clip * (1 + 1e-5)).all()
    short = rows.norm(dim=1) < clip
    assert torch.equal(clipped[short], rows[short])


def test_noise_has_the_deviation_it_is_accounted_with() -> None:
    guard = RowGuard(0.5, 4.0)
    out = guard.apply(torch.zeros(4000, 8), root(1))
    assert float(out.std()) == pytest.approx(2.0, rel=0.02)
    assert float(out.norm(dim=1).max()) <= guard.longest(8)
    assert torch.equal(out, guard.apply(torch.zeros(4000, 8), root(1)))
    assert not torch.equal(out, guard.apply(torch.zeros(4000, 8), root(2)))


def test_a_row_of_zeros_clips_to_zeros_and_has_a_finite_gradient() -> None:
    rows = torch.zeros(2, 3, requires_grad=True)
    RowGuard(1.0).clip_rows(rows).sum().backward()  # type: ignore[no-untyped-call]
    assert rows.grad is not None
    assert bool(torch.isfinite(rows.grad).all())


@pytest.mark.parametrize(("clip", "noise"), [(0.0, 1.0), (-1.0, 0.0), (1.0, -0.1), (float("nan"), 0.0)])
def test_bounds_that_are_none_are_refused(clip: float, noise: float) -> None:
    with pytest.raises(ConfigError, match="expected a number"):
        RowGuard(clip, noise)


@settings(max_examples=40)
@given(st.integers(1, 20), st.integers(1, 12), st.floats(0.01, 100), st.integers(0, 999))
def test_another_label_moves_a_gradient_by_no_more_than_the_clip(n: int, d: int, clip: float, seed: int) -> None:
    draw = torch.Generator().manual_seed(seed)
    slopes, p = torch.randn(n, d, generator=draw) * clip, torch.rand(n, generator=draw)
    guard = RowGuard(clip)
    zero, one = (guard.clip_slopes(slopes * (p - y).unsqueeze(1), p - y) for y in (0.0, 1.0))
    assert ((zero - one).norm(dim=1) <= clip * (1 + 1e-4)).all()
    assert (torch.maximum(zero.norm(dim=1), one.norm(dim=1)) <= clip * (1 + 1e-5)).all()
    short = slopes.norm(dim=1) < clip * 0.999
    torch.testing.assert_close(zero[short], (slopes * p.unsqueeze(1))[short])


def test_a_row_without_a_residual_stays_nothing() -> None:
    assert torch.equal(RowGuard(1.0).clip_slopes(torch.zeros(2, 3), torch.zeros(2)), torch.zeros(2, 3))
