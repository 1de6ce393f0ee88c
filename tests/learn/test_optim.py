"""Flat optimisers against torch.optim, and their laws: pure, norm is the move per unit rate, mappable over nodes."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from p2pfl.errors import ConfigError
from p2pfl.learn.optim import OPTIMIZERS, SGD, Adam, Momentum, Optimizer, OptState

PAIRS: list[tuple[Optimizer, Callable[[list[Tensor]], torch.optim.Optimizer]]] = [
    (SGD(), lambda p: torch.optim.SGD(p, lr=0.1)),
    (SGD(weight_decay=0.01), lambda p: torch.optim.SGD(p, lr=0.1, weight_decay=0.01)),
    (Momentum(), lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9)),
    (Momentum(0.5, 0.02), lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.5, weight_decay=0.02)),
    (Adam(), lambda p: torch.optim.Adam(p, lr=0.1)),
    (Adam(0.8, 0.99, 1e-6, 0.05), lambda p: torch.optim.AdamW(p, 0.1, (0.8, 0.99), 1e-6, 0.05)),
]


def gradient(x: Tensor) -> Tensor:
    """Of sum(c (x - 1)^2) with c from 0.1 to 2, curved differently in every direction."""
    return 2 * torch.linspace(0.1, 2, x.shape[-1], dtype=x.dtype) * (x - 1)


@pytest.mark.parametrize(("ours", "theirs"), PAIRS, ids=[repr(ours)[:40] for ours, _ in PAIRS])
def test_same_trajectory_as_torch(ours: Optimizer, theirs: Callable[[list[Tensor]], torch.optim.Optimizer]) -> None:
    x = torch.linspace(-1, 1, 9, dtype=torch.float64)
    reference = x.clone().requires_grad_()
    optimizer, state = theirs([reference]), ours.init(x)
    for _ in range(30):
        reference.grad = gradient(reference.detach())
        optimizer.step()
        x, state, _ = ours.step(x, gradient(x), state, 0.1)
        torch.testing.assert_close(x, reference.detach(), rtol=0, atol=1e-6)
    assert state.steps == 30


@pytest.mark.parametrize("ours", [p[0] for p in PAIRS], ids=repr)
def test_a_step_is_pure_and_its_norm_is_the_move_per_unit_rate(ours: Optimizer) -> None:
    x, state = torch.linspace(-1, 1, 9, dtype=torch.float64), ours.init(torch.zeros(9, dtype=torch.float64))
    for lr in (0.1, 0.03):
        g = gradient(x)
        kept = [t.clone() for t in (x, g, *state.slots.values())]
        after, new_state, norm = ours.step(x, g, state, lr)
        for was, now in zip(kept, (x, g, *state.slots.values()), strict=True):
            assert torch.equal(was, now)
        torch.testing.assert_close(norm, torch.linalg.vector_norm(x - after) / lr)
        x, state = after, new_state


@pytest.mark.parametrize("ours", [p[0] for p in PAIRS], ids=repr)
def test_maps_over_nodes_with_a_rate_each(ours: Optimizer) -> None:
    X = torch.randn(4, 7, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    rates = torch.tensor([0.1, 0.2, 0.3, 0.4], dtype=torch.float64)
    slots = dict(torch.vmap(lambda x: dict(ours.init(x).slots))(X)) if ours.init(X[0]).slots else {}

    def step(x: Tensor, slots: dict[str, Tensor], lr: Tensor) -> tuple[Tensor, dict[str, Tensor], Tensor]:
        x, state, norm = ours.step(x, gradient(x), OptState(3, slots), lr)
        return x, dict(state.slots), norm

    mapped, _, norms = torch.vmap(step, in_dims=(0, 0 if slots else None, 0))(X, slots, rates)
    for i in range(4):
        x, _, norm = ours.step(X[i], gradient(X[i]), OptState(3, ours.init(X[i]).slots), float(rates[i]))
        torch.testing.assert_close(mapped[i], x)
        torch.testing.assert_close(norms[i], norm)


def test_a_state_survives_a_snapshot() -> None:
    x = torch.ones(3)
    _, state, _ = Adam().step(x, x, Adam().init(x), 0.1)
    back = OptState.from_tensors(state.state_tensors())
    assert back.steps == 1
    assert {k: v.tolist() for k, v in back.slots.items()} == {k: v.tolist() for k, v in state.slots.items()}


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: SGD(-1), "weight_decay: expected at least 0, got -1"),
        (lambda: Momentum(1.0), "momentum: expected at least 0 and below 1, got 1.0"),
        (lambda: Adam(beta2=float("nan")), "beta2"),
        (lambda: Adam(eps=0), "eps"),
    ],
)
def test_impossible_parameters_are_refused(make: Callable[[], Optimizer], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        make()


def test_adamw_decays_by_default() -> None:
    adamw, adam = OPTIMIZERS["adamw"](), OPTIMIZERS["adam"]()
    assert isinstance(adamw, Adam)
    assert adamw.weight_decay == 0.01
    assert adam == Adam()
