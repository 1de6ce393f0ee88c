"""The dead-zone codec's size is within a tenth of the order-0 entropy of its codes, whatever the data looks like."""

import numpy as np
import pytest
import torch

from p2pfl.compress import DeadZone
from p2pfl.compress.deadzone import quantise
from p2pfl.core.noise import root

SIZE = 1_000_000


def gauss() -> np.ndarray:
    return np.random.default_rng(0).standard_normal(SIZE, dtype=np.float32)


def laplace() -> np.ndarray:
    return np.random.default_rng(0).laplace(size=SIZE).astype(np.float32)


def layered() -> np.ndarray:
    scales = np.random.default_rng(1).lognormal(sigma=1.0, size=SIZE // 1000).astype(np.float32)
    return gauss() * np.repeat(scales, 1000)


@pytest.mark.parametrize("data", [gauss, laplace, layered])
def test_size_is_near_the_entropy(data: object) -> None:
    v = data()  # type: ignore[operator]
    v /= np.sqrt(np.mean(v.astype(np.float64) ** 2))
    for rms in (0.51, 0.7, 0.99):  # where the rounding up of the step to a power of two matters more and less
        for c in (0.12, 0.5, 1.0, 2.0):
            w = (v * rms).astype(np.float32)
            packed, _ = DeadZone(c).encode(torch.from_numpy(w), root(0))
            k, _ = quantise(w, int(packed.fields[0]), float(np.abs(w).max()))
            share = np.bincount(k.view(np.uint8), minlength=256) / SIZE
            entropy = -(share[share > 0] * np.log2(share[share > 0])).sum() * SIZE / 8
            assert len(packed.body) <= 1.10 * entropy, f"{c=} {rms=} {packed.fields=}"
