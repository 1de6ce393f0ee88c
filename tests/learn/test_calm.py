"""Bounded gradients: ordinary ones pass untouched, a burst counts as `limit` times the usual, and recovery is quick."""

import pytest
import torch

from p2pfl.errors import ConfigError
from p2pfl.learn.calm import Calm
from p2pfl.learn.optim import SGD, Momentum


def test_ordinary_gradients_pass_untouched() -> None:
    generator = torch.Generator().manual_seed(0)
    x, y = torch.zeros(50), torch.zeros(50)
    calm, plain = Calm(Momentum(0.9), 2.0), Momentum(0.9)
    mine, theirs = calm.init(x), plain.init(y)
    for _ in range(30):
        g = torch.randn(50, generator=generator)
        x, mine, norm = calm.step(x, g, mine, 0.1)
        y, theirs, other = plain.step(y, g, theirs, 0.1)
        assert torch.equal(x, y)
        assert norm == other


def test_a_burst_counts_as_twice_the_usual() -> None:
    calm, x = Calm(SGD(), 2.0), torch.zeros(4)
    state = calm.init(x)
    one = torch.tensor([1.0, 0, 0, 0])
    for _ in range(5):
        x, state, norm = calm.step(x, one, state, 1.0)
        assert norm == 1
    x, state, norm = calm.step(x, 1000 * one, state, 1.0)
    assert float(norm) == pytest.approx(2.0)
    assert float(state.slots["usual"][0]) == pytest.approx(1.02)
    _, _, norm = calm.step(x, torch.zeros(4), state, 1.0)
    assert norm == 0


def test_gradients_that_really_grow_are_followed() -> None:
    calm, x = Calm(SGD(), 2.0), torch.zeros(1)
    state = calm.init(x)
    for _ in range(400):
        x, state, norm = calm.step(x, torch.tensor([5.0 if state.steps else 1.0]), state, 0.0)
    assert float(norm) == pytest.approx(5.0)


def test_maps_over_nodes_and_changes_no_argument() -> None:
    calm, X = Calm(SGD(), 2.0), torch.randn(3, 6)
    G = torch.randn(3, 6) * torch.tensor([[1.0], [1.0], [50.0]])
    usual = torch.ones(3, 1)

    def step(x: torch.Tensor, g: torch.Tensor, u: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        slots = {"usual": u.clone()}
        x = x.clone()
        return x, calm.update_(x, g.clone(), slots, 3, 0.1)

    mapped, norms = torch.func.vmap(step)(X, G, usual)
    for node in range(3):
        alone, norm = step(X[node], G[node], usual[node])
        torch.testing.assert_close(mapped[node], alone)
        torch.testing.assert_close(norms[node], norm)
    assert float(norms[2]) == pytest.approx(2.0)
    assert torch.equal(usual, torch.ones(3, 1))


def test_limits_that_cannot_be() -> None:
    for limit in (0.5, float("nan"), -1):
        with pytest.raises(ConfigError, match="gradient_limit: expected at least 1"):
            Calm(SGD(), limit)
