"""What a source teaches and what a target makes of it: the arithmetic of federated transfer learning. Knows matrices;
no party, key or message.

Source and target map a row into one latent space: a_i = tanh(net(x_i)), centred, at the source; u_i = k_i W at the
target, k_i its columns, a constant and, if wanted, random features. For a row that both have, with y_i in {-1, 1},

    loss_i = log 2 - y_i z_i / 2 + z_i^2 / 8 + alignment |u_i - a_i|^2,   z_i = phi . u_i

(the logistic loss by Taylor, and the pull towards the source's picture of the same person). Up to a constant that is

    u_i M u_i / 2 + c_i . u_i      M = phi phi^T / 4 + 2 alignment I,  c_i = -y_i phi / 2 - 2 alignment a_i

so a row's share of the source is one short vector c_i, and, u being linear in W, all that the target needs of all rows
together is K^T C: with ridge (ridge / 2) |W|^2 the best W solves S W M + K^T C / n + ridge W = 0, S = K^T K / n, which
the eigenvectors of S and M solve at once.

Source: Liu, Chen, Yang 2018 (arXiv 1812.03337): the latent space, the loss, phi = mean of y_i a_i over the labelled
rows. Differs in: the source learns from its own labels first and then stands still, so one exchange is enough where
the paper's two networks exchange in every step (measured: docs/vertical_transfer.md); phi has length 1; the
target's net is one layer over fixed features.

Legend: n common rows trained on, d latent width, F features of the target with constant and random ones.
"""

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from p2pfl.core.noise import Key, derive, gaussian
from p2pfl.crypto.packing import Fixed
from p2pfl.errors import ConfigError

Floats: TypeAlias = NDArray[np.float64]

KNOWN = Fixed(10, 4.0)
"""The grid of the target's features: what is multiplied, sealed or not."""
CLIP = 3.0
"""Standard deviations: columns beyond are cut off."""
RADIUS_QUANTILE = 0.9
"""Of the lengths of the source's own embeddings: longer lessons are cut to it."""


@dataclass(frozen=True, slots=True, eq=False)
class Direction:
    """phi (d,), of length 1; `radius`: the length of the longest lesson, which travel as c / radius."""

    phi: Floats
    radius: float

    def to_bytes(self) -> bytes:
        """Little-endian doubles: radius, phi."""
        raw: bytes = np.concatenate([[self.radius], self.phi]).astype("<f8").tobytes()
        return raw

    @classmethod
    def of(cls, raw: bytes, width: int) -> "Direction":
        """ValueError unless it is one of that width."""
        found = np.frombuffer(raw, "<f8") if len(raw) == 8 * (width + 1) else np.zeros(0)
        if not len(found) or not np.isfinite(found).all() or not 0 < found[0] < 1e6:
            raise ValueError(f"expected {width + 1} finite numbers, the first a length")
        if abs(float(np.linalg.norm(found[1:])) - 1.0) > 1e-6:
            raise ValueError(f"expected a direction of length 1, got {np.linalg.norm(found[1:]):.6g}")
        return cls(found[1:].astype(np.float64), float(found[0]))


def direction_of(a: Floats, y: NDArray[np.int64], alignment: float) -> Direction:
    """From the source's own labelled rows: a (m, d) centred, y (m,) 0 or 1. ConfigError if nothing is to be taught."""
    signs = 2.0 * y - 1.0
    phi = ((signs - signs.mean())[:, None] * a).mean(axis=0)
    length = float(np.linalg.norm(phi))
    if not length > 0:
        raise ConfigError("expected labels that the source's columns tell apart; its net has learned nothing")
    usual = float(np.quantile(np.linalg.norm(a, axis=1), RADIUS_QUANTILE))
    return Direction(phi / length, 0.5 + 2.0 * alignment * usual)


def lessons(direction: Direction, a: Floats, y: NDArray[np.int64], alignment: float) -> Floats:
    """c / radius (n, d) of rows a (n, d), y (n,) 0 or 1; each within the unit ball."""
    c = -0.5 * (2.0 * y - 1.0)[:, None] * direction.phi - 2.0 * alignment * a
    scaled: Floats = c / direction.radius
    return within(scaled, 1.0)


def features(x: NDArray[np.float32], random: int, key: Key) -> Floats:
    """k (n, F): 1, the columns x (n, .) cut at `CLIP`, `random` rectified random features of them (Rahimi and Recht
    2008), on the grid of `KNOWN`; no row longer than `longest_row`."""
    cut = np.clip(x.astype(np.float64), -CLIP, CLIP)
    ones = np.ones((len(x), 1))
    found = np.concatenate([ones, cut], axis=1)
    if random:
        weights = gaussian(derive(key, "random-features"), random * found.shape[1]).reshape(found.shape[1], random)
        hidden = np.maximum(found @ weights.astype(np.float64) / np.sqrt(found.shape[1]), 0.0)
        found = np.concatenate([found, np.minimum(hidden, KNOWN.bound)], axis=1)
    found = within(found, longest_row(found.shape[1]))
    return KNOWN.encode(found, "features").astype(np.float64) / 2.0**KNOWN.bits


def longest_row(num: int) -> float:
    """Of `num` features, most of deviation 1: with noise on the sums it bounds what one row adds to them."""
    return float(np.sqrt(2.0 * num))


def fitted(k: Floats, sums: Floats, direction: Direction, alignment: float, ridge: float) -> Floats:
    """W (F, d). k (n, F); sums = K^T C / radius (F, d)."""
    n = len(k)
    curvature = 0.25 * np.outer(direction.phi, direction.phi) + 2.0 * alignment * np.eye(len(direction.phi))
    rows, p = np.linalg.eigh(k.T @ k / n)
    latent, q = np.linalg.eigh(curvature)
    pulls = p.T @ (sums * (direction.radius / n)) @ q
    found: Floats = -p @ (pulls / (np.outer(np.maximum(rows, 0.0), latent) + ridge)) @ q.T
    return found


def loss(u: Floats, a: Floats, y: NDArray[np.int64], phi: Floats, alignment: float) -> float:
    """The mean of loss_i over rows, as in the head of this module."""
    z, signs = u @ phi, 2.0 * y - 1.0
    pull = alignment * np.square(u - a).sum(axis=1)
    return float((np.log(2.0) - 0.5 * signs * z + z * z / 8.0 + pull).mean())


def probability(z: Floats) -> NDArray[np.float32]:
    """Of the second class."""
    found: NDArray[np.float32] = (1.0 / (1.0 + np.exp(-np.clip(z, -60.0, 60.0)))).astype(np.float32)
    return found


def within(rows: Floats, longest: float) -> Floats:
    """Rows (n, .) no longer than that."""
    lengths = np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
    cut: Floats = rows * np.minimum(longest / lengths, 1.0)
    return cut
