"""Clip a local update to a length, then add Gaussian noise: the Gaussian mechanism at node level.

    delta <- delta * min(1, clip / |delta|) + N(0, (noise * clip)^2 I)

Applied once to each local phase's displacement, before anybody sees it; what is sent afterwards, however often, is
post-processing. Source: Abadi et al. 2016, section 3.1 (there per example), McMahan et al. 2018 (per client). There is
no accountant here: no epsilon is reported, and none is claimed.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from p2pfl.core.noise import Key, gaussian


@dataclass(frozen=True)
class ClipAndNoise:
    """clip: the longest update kept whole. noise: standard deviation as a multiple of clip; 0 only clips."""

    clip: float
    noise: float = 0.0

    def __post_init__(self) -> None:
        if not self.clip > 0:
            raise ValueError(f"train.clip_norm: expected a number above 0, got {self.clip}")
        if not self.noise >= 0:
            raise ValueError(f"train.noise: expected a number of at least 0, got {self.noise}")

    def apply(self, delta: Tensor, key: Key) -> Tensor:
        """delta (P,) -> (P,). `key` must be secret to the node: who knows it can take the noise off."""
        length = float(torch.linalg.vector_norm(delta.double()))
        if length > self.clip:
            delta = delta * (self.clip / length)
        if not self.noise:
            return delta
        drawn = torch.from_numpy(gaussian(key, delta.numel())).to(delta.dtype)
        return delta + drawn * (self.noise * self.clip)
