"""Error feedback around a codec: what was not said is said later. Pure functions; the buffer belongs to the caller.

    u = v + e;   q = C(u);   e' = u - q

Laws: q + e' = v + e, to one rounding; so all that was said and the buffer add up to all that was to be said. With a
codec that contracts, ||u - q||^2 <= (1 - d) ||u||^2, ||e||^2 never exceeds 4 (1 - d) / d^2 times the largest ||v||^2.

Needed where a node says *changes* (an update, a gradient) and nobody keeps count of what was heard. Not needed, and not
to be put on top, where both ends hold a reference and the node says x - reference, as under `pairwise`: what was not
said is still in the difference. That is EF21's form of the same idea, with the reference as its g.
A buffer must outlive a restart: it goes into the state that the node persists.

Sources: Seide et al. 2014; Karimireddy et al. 2019, algorithm 2 and lemma 3 (EF-SGD); the other form is Richtarik et
al. 2021 (EF21).
"""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from p2pfl.compress.codec import Codec, Packed
from p2pfl.core.noise import Key


class Fed(NamedTuple):
    """What is sent, what everybody hears, and the next buffer (n,)."""

    packed: Packed
    q: Tensor
    error: Tensor


@dataclass(frozen=True, slots=True)
class Feedback:
    """Not a codec: it needs a buffer. The receiver uses `codec.decode`."""

    codec: Codec

    def start(self, size: int) -> Tensor:
        """The buffer (n,) before anything was said."""
        return torch.zeros(size)

    def encode(self, v: Tensor, error: Tensor, key: Key, damp: float = 1.0) -> Fed:
        """Say v (n,) float32 and as much as the codec takes of `error` (n,). Raises ValueError if not finite."""
        u = v + error
        packed, q = self.codec.encode(u, key, damp)
        return Fed(packed, q, u - q)

    def project(self, v: Tensor, error: Tensor, key: Key, damp: float = 1.0) -> tuple[Tensor, Tensor]:
        """q and the next buffer alone, as operations that map over a node axis; `encode`'s, bit for bit."""
        u = v + error
        q = self.codec.project(u, key, damp)
        return q, u - q
