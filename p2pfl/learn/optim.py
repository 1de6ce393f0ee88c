"""Optimisers on flat vectors. Know gradients; know no module, batch or schedule.

Legend: W trainable values. Every optimiser has one piece of arithmetic, `update_`, which works in place and allocates
nothing of size W; training uses it on memory of its own. `step(x, g, state, lr) -> (x', state', norm)` is the same as
a pure function. Both map over a leading node axis with `torch.func.vmap`: nothing depends on values, norm is a tensor.

norm = |x - x'| / lr, the length of the direction per unit of learning rate (plain SGD: the gradient's norm).
Trajectories equal those of torch.optim to rounding; the tests hold them to it.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import Tensor

from p2pfl.errors import ConfigError


@dataclass(frozen=True, slots=True, eq=False)
class OptState:
    """`steps` taken so far over the whole run, and the optimiser's vectors by name, each (W,)."""

    steps: int = 0
    slots: Mapping[str, Tensor] = field(default_factory=dict)

    def state_tensors(self) -> dict[str, Tensor]:
        """All of it as named tensors, for a snapshot: the slots and "steps" (int64, scalar)."""
        return {"steps": torch.tensor(self.steps, dtype=torch.int64), **self.slots}

    @staticmethod
    def from_tensors(tensors: Mapping[str, Tensor]) -> "OptState":
        """The inverse of `state_tensors`. KeyError if "steps" is missing."""
        return OptState(int(tensors["steps"]), {k: v for k, v in tensors.items() if k != "steps"})

    def to(self, device: torch.device) -> "OptState":
        return OptState(self.steps, {name: slot.to(device) for name, slot in self.slots.items()})

    def copy_to(self, device: torch.device) -> dict[str, Tensor]:
        """The slots in memory of their own."""
        return {name: slot.to(device, copy=True) for name, slot in self.slots.items()}


class Optimizer(Protocol):
    """Holds no state; instances are frozen dataclasses of their parameters."""

    def init(self, x: Tensor) -> OptState:
        """The state before the first step, for weights like x (W,)."""
        ...

    def update_(
        self, x: Tensor, g: Tensor, slots: Mapping[str, Tensor], steps: int | Tensor, lr: float | Tensor
    ) -> Tensor:
        """Change x and the slots, all (W,), by one step after `steps` others; return the direction's norm (scalar).

        g (W,) is used as scratch memory. All may have a leading node axis: x (n, W), the norm (n,), and lr and steps
        numbers or (n, 1).
        """
        ...

    def step(self, x: Tensor, g: Tensor, state: OptState, lr: float | Tensor) -> tuple[Tensor, OptState, Tensor]:
        """x (W,), its gradient g (W,) -> the next x, the next state, the direction's norm. Changes no argument."""
        ...


@dataclass(frozen=True, slots=True)
class SGD:
    """x' = x - lr (g + weight_decay x)."""

    weight_decay: float = 0.0

    def __post_init__(self) -> None:
        _check("weight_decay", self.weight_decay, 0, None)

    def init(self, x: Tensor) -> OptState:
        return OptState()

    def update_(
        self, x: Tensor, g: Tensor, slots: Mapping[str, Tensor], steps: int | Tensor, lr: float | Tensor
    ) -> Tensor:
        return _descend(x, _add_decay(g, x, self.weight_decay), lr)

    def step(self, x: Tensor, g: Tensor, state: OptState, lr: float | Tensor) -> tuple[Tensor, OptState, Tensor]:
        return _purely(self, x, g, state, lr)


@dataclass(frozen=True, slots=True)
class Momentum:
    """Heavy ball: m' = momentum m + g + weight_decay x;  x' = x - lr m'. Source: Polyak 1964, as torch.optim.SGD."""

    momentum: float = 0.9
    weight_decay: float = 0.0

    def __post_init__(self) -> None:
        _check("momentum", self.momentum, 0, 1)
        _check("weight_decay", self.weight_decay, 0, None)

    def init(self, x: Tensor) -> OptState:
        return OptState(0, {"m": torch.zeros_like(x)})

    def update_(
        self, x: Tensor, g: Tensor, slots: Mapping[str, Tensor], steps: int | Tensor, lr: float | Tensor
    ) -> Tensor:
        m = slots["m"].mul_(self.momentum).add_(_add_decay(g, x, self.weight_decay))
        return _descend(x, m, lr)

    def step(self, x: Tensor, g: Tensor, state: OptState, lr: float | Tensor) -> tuple[Tensor, OptState, Tensor]:
        return _purely(self, x, g, state, lr)


@dataclass(frozen=True, slots=True)
class Adam:
    """Adam; with `weight_decay` AdamW, whose decay joins the direction after the division.

    Sources: Kingma, Ba 2015, algorithm 1; Loshchilov, Hutter 2019, algorithm 2.
    """

    beta1: float = 0.9
    beta2: float = 0.999
    eps: float = 1e-8
    weight_decay: float = 0.0

    def __post_init__(self) -> None:
        _check("beta1", self.beta1, 0, 1)
        _check("beta2", self.beta2, 0, 1)
        _check("weight_decay", self.weight_decay, 0, None)
        if not self.eps > 0:
            raise ConfigError(f"eps: expected a number above 0, got {self.eps}")

    def init(self, x: Tensor) -> OptState:
        return OptState(0, {"m": torch.zeros_like(x), "v": torch.zeros_like(x)})

    def update_(
        self, x: Tensor, g: Tensor, slots: Mapping[str, Tensor], steps: int | Tensor, lr: float | Tensor
    ) -> Tensor:
        m = slots["m"].mul_(self.beta1).add_(g, alpha=1 - self.beta1)
        v = slots["v"].mul_(self.beta2).add_(g.mul_(g), alpha=1 - self.beta2)
        unbias1, unbias2 = 1 - self.beta1 ** (steps + 1), 1 - self.beta2 ** (steps + 1)
        # d = (m / unbias1) / (sqrt(v / unbias2) + eps), in g's memory
        d = g.copy_(v).sqrt_().add_(self.eps * unbias2**0.5).reciprocal_().mul_(m).mul_(unbias2**0.5 / unbias1)
        return _descend(x, _add_decay(d, x, self.weight_decay), lr)

    def step(self, x: Tensor, g: Tensor, state: OptState, lr: float | Tensor) -> tuple[Tensor, OptState, Tensor]:
        return _purely(self, x, g, state, lr)


def _adamw(weight_decay: float = 0.01, **args: float) -> Adam:
    return Adam(weight_decay=weight_decay, **args)


OPTIMIZERS: dict[str, Callable[..., Optimizer]] = {"sgd": SGD, "momentum": Momentum, "adam": Adam, "adamw": _adamw}


def _purely(
    optimizer: Optimizer, x: Tensor, g: Tensor, state: OptState, lr: float | Tensor
) -> tuple[Tensor, OptState, Tensor]:
    x, slots = x.clone(), {name: slot.clone() for name, slot in state.slots.items()}
    norm = optimizer.update_(x, g.clone(), slots, state.steps, lr)
    return x, OptState(state.steps + 1, slots), norm


def _add_decay(d: Tensor, x: Tensor, weight_decay: float) -> Tensor:
    return d.add_(x, alpha=weight_decay) if weight_decay else d


def _descend(x: Tensor, d: Tensor, lr: float | Tensor) -> Tensor:
    if isinstance(lr, Tensor):
        x.sub_(lr * d)
    else:
        x.sub_(d, alpha=lr)
    norm: Tensor = torch.linalg.vector_norm(d, dim=-1)
    return norm


def _check(name: str, value: float, low: float, below: float | None) -> None:
    if not (value >= low and (below is None or value < below)):
        limit = f" and below {below}" if below is not None else ""
        raise ConfigError(f"{name}: expected at least {low}{limit}, got {value}")
