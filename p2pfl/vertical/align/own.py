"""A party's own ids in a secret order, padded, and its secrets. Knows one set; no peer and no message."""

from collections.abc import Sequence

import numpy as np
from blake3 import blake3
from numpy.typing import NDArray

from p2pfl.core.noise import derive
from p2pfl.crypto.psi import padding, permutation
from p2pfl.vertical.align.bounds import ALIGN_CHUNK_POINTS
from p2pfl.vertical.align.terms import Terms, chunks_of
from p2pfl.vertical.align.work import Blind

ENTROPY_BYTES = 32


class OwnSet:
    """`items` (n,) distinct ids in normal form, in the order of the rows. `entropy` is 32 secret bytes of one session:
    the power, the order and the padding follow from it."""

    def __init__(self, terms: Terms, items: Sequence[bytes], entropy: bytes) -> None:
        self.terms = terms
        self.size = len(items)
        self.count = terms.padded(len(items))
        self.scalar = bytes(derive(entropy, "psi-scalar"))
        self._items = [*items, *padding(self.count - self.size, derive(entropy, "psi-pads"))]
        self._order = permutation(self.count, derive(entropy, "psi-order"))

    @property
    def chunks(self) -> int:
        return chunks_of(self.count)

    def blind(self, chunk: int) -> Blind:
        """The task for a chunk of the shuffled set."""
        places = self._order[chunk * ALIGN_CHUNK_POINTS :][:ALIGN_CHUNK_POINTS]
        return Blind(chunk, tuple(self._items[i] for i in places), self.terms.domain, self.scalar)

    def rows(self, places: NDArray[np.int64]) -> NDArray[np.int64] | None:
        """The rows at these places of the shuffled set; None if the places are not distinct ones of real ids."""
        if len(places) and not 0 <= int(places.min()) <= int(places.max()) < self.count:
            return None
        rows = self._order[places]
        distinct = len(np.unique(rows)) == len(rows)
        return rows if distinct and not (rows >= self.size).any() else None


def digest_of(items: Sequence[bytes]) -> bytes:
    """Names a list of ids, so that a restarted party notices that its table has changed."""
    hasher = blake3(len(items).to_bytes(8, "big"))
    for item in items:
        hasher.update(len(item).to_bytes(4, "big") + item)
    return hasher.digest()
