"""Feature alignment: a penalty that brings the features of a node's own samples near those of a common public set.
Knows modules and samples; knows no node.

f are the values that enter a layer (by default the last linear one), s (n, d) of the node's batch, t (m, d) of a public
one:

- `coral`: |Cov(s) - Cov(t)|_F^2 / (4 d^2) (Sun, Saenko 2016, equation 1);
- `mmd`: mean k(s, s') + mean k(t, t') - 2 mean k(s, t), the biased estimate of the squared maximum mean discrepancy
  (Gretton et al. 2012, equation 5), k a mean of Gaussian kernels around the mean distance, so nothing is to be tuned.

All nodes draw the same public batch at the same step, so what each is drawn to is what the others are drawn to.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property

import torch
from torch import Tensor, nn

from p2pfl.core.noise import Key, generator
from p2pfl.core.noise import derive as derived
from p2pfl.errors import ConfigError
from p2pfl.learn.patterns import listed
from p2pfl.learn.public import Public

_WIDTHS = (0.25, 0.5, 1.0, 2.0, 4.0)


def coral(s: Tensor, t: Tensor) -> Tensor:
    """Of features (n, d) and (m, d), n and m at least 2."""
    gap = torch.cov(s.T) - torch.cov(t.T)
    return gap.square().sum() / (4 * s.shape[1] ** 2)


def mmd(s: Tensor, t: Tensor) -> Tensor:
    """Of features (n, d) and (m, d)."""
    both = torch.cat([s, t])
    norms = both.square().sum(1)
    far = (norms[:, None] + norms[None, :] - 2 * both @ both.T).clamp_min(0)
    usual = far.detach().mean().clamp_min(1e-12)
    k = torch.stack([torch.exp(-far / (width * usual)) for width in _WIDTHS]).mean(0)
    n = len(s)
    return k[:n, :n].mean() + k[n:, n:].mean() - 2 * k[:n, n:].mean()


RULES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {"coral": coral, "mmd": mmd}


@dataclass(frozen=True)
class Align:
    """`weight` times the distance of `rule` is added to the loss. layer: whose inputs are the features; "" is the last
    linear one."""

    rule: str
    weight: float
    public: Public
    layer: str = ""
    batch: int = 32
    _orders: dict[int, Tensor] = field(default_factory=dict, repr=False, compare=False)

    def __post_init__(self) -> None:
        if len(self.public.x) < 2:
            raise ConfigError(f"train.align: expected 2 public samples or more, got {len(self.public.x)}")

    @cached_property
    def _batch(self) -> int:
        return min(self.batch, len(self.public.x))

    def public_at(self, step: int) -> Tensor:
        """Batch `step` of the public set, the same at every node."""
        number, place = divmod(step, len(self.public.x) // self._batch)
        if number not in self._orders:  # a cache of a pure function
            self._orders.clear()
            key = derived(Key(self.public.digest), "align", number)
            self._orders[number] = torch.from_numpy(generator(key).permutation(len(self.public.x)))
        rows = self._orders[number][place * self._batch : (place + 1) * self._batch]
        return self.public.x[rows]

    def forward(self, module: nn.Module, inputs: Tensor, step: int) -> tuple[Tensor, Tensor]:
        """The outputs for a batch, and the weighted penalty."""
        caught: list[Tensor] = []
        with layer_of(module, self.layer).register_forward_pre_hook(lambda _, given: caught.append(given[0])):
            outputs = module(inputs)
            module(self.public_at(step).to(inputs.device, inputs.dtype))
        if len(caught) != 2:
            raise ConfigError(f"train.align.layer: expected a layer that runs once, {self.layer!r} ran {len(caught)}")
        s, t = (features.reshape(-1, features.shape[-1]) for features in caught)
        if len(s) < 2:  # a batch of one has no spread
            return outputs, self.weight * RULES["mmd"](s, t)
        return outputs, self.weight * RULES[self.rule](s, t)


def layer_of(module: nn.Module, name: str) -> nn.Module:
    """The layer whose inputs are the features. Raises ConfigError."""
    named = dict(module.named_modules())
    if name:
        if name not in named:
            raise ConfigError(
                f"train.align.layer: there is no layer {name!r} in the model; it has: {listed([*named][1:])}"
            )
        found: nn.Module = named[name]
        return found
    linear = [part for part in named.values() if isinstance(part, nn.Linear)]
    if not linear:
        raise ConfigError("train.align.layer: the model has no linear layer; name the layer whose inputs are features")
    return linear[-1]
