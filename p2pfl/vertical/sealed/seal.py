"""Split training with a sealed layer (protection level 1): what all parties agree on. Knows numbers; no key, no party.

Theory of operation. The first layer of the label holder's net, z = sum_p x_p W_p + own part, is where the parties' data
meet. At level 1 no x_p and no W_p is seen by anyone but in pieces:

    feature holder p    x_p, and E_p: what noise has added up to
    label holder        V_p = W_p - E_p, and z
    nobody              W_p

    step t   p  -> [x], [x] by rows, [E], [x E], [nu]        all sealed; nu is fresh noise for the weights' gradient
    open     L  -> [x V + x E + r]                           opened, still masked; L takes r off: z = x W
             L learns the rest of its net; dz is what z should have been moved by, row by row
    step t+1 L  -> [x^T dz + nu + r'] and [dz' (V + E)^T]    the first is opened for L, the second is for p alone
             V <- V - rate/n (x^T dz + nu),  E <- E + rate/n nu:  W = V + E moves by x^T dz alone; p learns from dz' W^T

dz' is dz clipped and noised row by row (`Plan.gradients`), the same for all parties: that is where labels leak.
Without a third party p's own key seals, and p opens; L's masks hide what p opens, and p's noise what L gets.
With one (K), all is under K's key: K opens masked numbers, and the mask on the second is p's own, sent with its step.

Source: Zhang and Zhu 2020 (arXiv 2007.06849), as used by EFLS. Differs in: masks hide (2^40 times the bound); the noise
does not depend on data; exponents are fixed; the gradient for p is clipped and noised; the shares E travel sealed, so
whoever opens needs no memory.

Legend: n rows of a batch, d width of an embedding, O outputs of the sealed layer.
"""

from dataclasses import dataclass
from math import ceil, isqrt, log2

import numpy as np
from blake3 import blake3
from numpy.typing import NDArray

from p2pfl.crypto.packing import Fixed
from p2pfl.crypto.paillier_layer import MASKED_BITS_MAX, Product
from p2pfl.errors import ConfigError
from p2pfl.vertical.split.plan import Plan
from p2pfl.wire import canonical

EMBEDDINGS = Fixed(16, 16.0)
WEIGHTS = Fixed(16, 8.0)
DZ = Fixed(20, 1.0)
"""A row of dz is clipped to length 1 before the weights learn from it."""

Floats = NDArray[np.float64]
BATCH_MAX = 2048
_GRADIENT_BITS = 25


@dataclass(frozen=True, slots=True)
class Seal:
    """Level 1 of a `Plan`. rate: of plain gradient descent on W. noise: standard deviation of nu, in units of the
    longest embedding. ConfigError names what level 1 has no room for."""

    plan: Plan
    rate: float = 0.5
    noise: float = 0.05
    key_bits: int = 2048
    exponent_bits: int | None = None

    def __post_init__(self) -> None:
        p = self.plan
        if not 0 < self.rate <= 100 or not 0 <= self.noise <= 100:
            raise ConfigError(f"expected 0 < rate <= 100 and 0 <= noise <= 100, got {self.rate:g} and {self.noise:g}")
        if p.embeddings.clip > EMBEDDINGS.bound:
            raise ConfigError(
                f"level 1: expected embeddings clipped at {EMBEDDINGS.bound:g} at most, got {p.embeddings.clip:g}"
            )
        if p.schedule.batch > BATCH_MAX:
            raise ConfigError(f"level 1: expected batches of at most {BATCH_MAX} rows, got {p.schedule.batch}")
        if not p.hidden or p.top_hidden >= min(p.widths[1:]):
            raise ConfigError(
                "level 1: expected a hidden layer in every bottom and top_hidden below every width of the feature "
                f"holders (else z shows embeddings), got hidden {p.hidden}, top_hidden {p.top_hidden}, "
                f"widths {', '.join(map(str, p.widths[1:]))}"
            )
        for width in p.widths[1:]:
            self.forward(width)  # ConfigError if there are more columns than the packing fits
        self.inputs  # noqa: B018

    def forward(self, width: int) -> Product:
        """z^T = W^T x^T, packed along the batch."""
        return Product(EMBEDDINGS, WEIGHTS, width, self.key_bits)

    @property
    def weights(self) -> Product:
        """dW^T = dz^T x, packed along the width."""
        return Product(EMBEDDINGS, DZ, self.plan.schedule.batch, self.key_bits)

    @property
    def inputs(self) -> Product:
        """dx = dz' W^T, packed along the width, several rows to a ciphertext (see `spread`)."""
        terms = self.plan.top_hidden * self._groups_max
        longest = self.plan.gradients.longest(self.plan.top_hidden)
        room = max(0, ceil(log2(longest)))
        bits = min(_GRADIENT_BITS, MASKED_BITS_MAX - 1 - WEIGHTS.magnitude_bits - (terms - 1).bit_length())
        return Product(WEIGHTS, Fixed(max(bits - room, 0), 2.0**room), terms, self.key_bits)

    def groups(self, width: int, numbers: int) -> int:
        """Rows of dx in one ciphertext with room for so many numbers. More rows need more copies of [E] and spare as
        many ciphertexts of dx: no more than there are best."""
        return max(1, min(numbers // width, self._groups_max))

    @property
    def _groups_max(self) -> int:
        return max(1, isqrt(self.plan.schedule.batch // self.plan.top_hidden))

    @property
    def deviation(self) -> float:
        """Of one number of nu."""
        return self.noise * self.plan.embeddings.clip

    @property
    def digest(self) -> bytes:
        own = [float(self.rate), float(self.noise), self.key_bits, self.exponent_bits or 0]
        return blake3(canonical.packb(["p2pfl/sealed/1", self.plan.digest, own])).digest()


def spread(matrix: Floats, groups: int) -> Floats:
    """(O, d) -> (groups O, groups d): the matrix in every group's place, so that one product serves as many rows."""
    found: Floats = np.kron(np.eye(groups), matrix).astype(np.float64)
    return found


def gathered(dz: Floats, groups: int) -> Floats:
    """dz (n, O) as the known factor (groups O, rows) of a spread matrix, rows = ceil(n / groups)."""
    rows, outputs = -(-len(dz) // groups), dz.shape[1]
    whole = np.zeros((rows * groups, outputs))
    whole[: len(dz)] = dz
    return whole.reshape(rows, groups * outputs).T


def scattered(dx: Floats, groups: int, n: int) -> Floats:
    """The product (rows, groups d) as dx (n, d)."""
    return dx.reshape(len(dx) * groups, -1)[:n]
