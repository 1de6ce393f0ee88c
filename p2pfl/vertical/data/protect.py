"""What happens to rows before they leave a party: clipped one by one, then noised. Knows rows; no model and no party.

    row <- row * min(1, clip / |row|) + N(0, (noise * clip)^2 I)

Each row is released on its own and its reader knows whose it is, so this is the local Gaussian mechanism: changing one
person's features moves an embedding by at most 2 clip; one release per epoch; sampling amplifies nothing.
`privacy/accountant.py` adds that up. Source: Dwork and Roth 2014, appendix A.

A gradient at the cut is r v: r = p - y the residual of the logistic loss, v how the score follows the embedding, which
does not depend on the row's own label. So the clip is put on v instead:

    row <- r v * min(1, clip / |v|) + N(0, (noise * clip)^2 I)

and the other label, r - 1 or r + 1 instead of r, moves the row by at most clip, half as far; and what is clipped keeps
its length in r, so that rows of the rarer class still weigh more, as the loss wants it. Differs from clipping the
gradient itself, as Abadi et al. 2016 do for weights. What it does not bound: v has seen all labels of earlier steps.
"""

from dataclasses import dataclass
from math import sqrt

import torch
from torch import Tensor

from p2pfl.core.noise import Key, gaussian
from p2pfl.errors import ConfigError

SENSITIVITY = 2.0
"""In units of clip: a row may turn round."""
LABEL_SENSITIVITY = 1.0
"""The same of a gradient whose v is clipped, for another label."""

TAIL = 12.0
"""Noise longer than sqrt(width) + TAIL deviations is a lie: an honest party sends that once in e^72 rows."""


@dataclass(frozen=True, slots=True)
class RowGuard:
    """clip: the longest row kept whole. noise: standard deviation as a multiple of clip; 0 only clips."""

    clip: float
    noise: float = 0.0

    def __post_init__(self) -> None:
        if not 0 < self.clip < 1e6:
            raise ConfigError(f"clip: expected a number above 0 and below 1e6, got {self.clip}")
        if not 0 <= self.noise < 1e6:
            raise ConfigError(f"noise: expected a number of at least 0 and below 1e6, got {self.noise}")

    def clip_rows(self, rows: Tensor) -> Tensor:
        """rows (n, d) -> (n, d), differentiable."""
        lengths = rows.square().sum(dim=1, keepdim=True).clamp_min(1e-24).sqrt()
        return rows * (self.clip / lengths).clamp_max(1.0)

    def clip_slopes(self, rows: Tensor, residuals: Tensor) -> Tensor:
        """Gradients (n, d) of the logistic loss and its residuals (n): their v clipped. Never longer than `clip`."""
        lengths = rows.square().sum(dim=1, keepdim=True).clamp_min(1e-24).sqrt()
        return rows * (self.clip * residuals.abs().unsqueeze(1) / lengths).clamp_max(1.0)

    def add_noise(self, rows: Tensor, key: Key) -> Tensor:
        """`key` must be secret: who knows it can take the noise off."""
        if not self.noise:
            return rows
        drawn = torch.from_numpy(gaussian(key, rows.numel())).reshape(rows.shape)
        return (rows.double() + drawn * (self.noise * self.clip)).to(rows.dtype)

    def apply(self, rows: Tensor, key: Key) -> Tensor:
        return self.add_noise(self.clip_rows(rows), key)

    def apply_to_gradients(self, rows: Tensor, residuals: Tensor, key: Key) -> Tensor:
        return self.add_noise(self.clip_slopes(rows, residuals), key)

    def longest(self, width: int) -> float:
        """No honest row of so many values is longer."""
        return self.clip * (1.0 + self.noise * (sqrt(width) + TAIL)) * (1 + 1e-5)
