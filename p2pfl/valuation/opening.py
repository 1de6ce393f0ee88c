"""What "update.commit" hides, and how it is opened. Knows digests; knows no wire and no model.

    commitment = SHA-256("p2pfl/update/v1\\0" || canonical [salt, author, window's first round, last round,
                 before, shift, update, after, to, epoch, seq, reference])

after, before: digests of the author's model (float32, little-endian) when the message that is named was made, and that
of its commit before. update: of the coded local update of those rounds, as it is shown. shift: of all else between the
two models, after - before - update. (to, epoch, seq): the message made from `after`, with the
reference of that digest. Laws: another opening of the same commitment would be a collision of SHA-256; without the salt
nothing is learned from it, not even whether two authors commit to the same update.
"""

from dataclasses import dataclass, fields
from hashlib import sha256
from typing import Any

from blake3 import blake3
from torch import Tensor

from p2pfl.errors import Reject
from p2pfl.wire import canonical

DOMAIN = b"p2pfl/update/v1\0"
DIGEST_BYTES = 32
ROUND_MAX = (1 << 63) - 1


def digest_of(x: Tensor) -> bytes:
    """BLAKE3 of the values (P,) as little-endian float32."""
    return blake3(x.detach().to("cpu").float().contiguous().numpy().astype("<f4", copy=False).data.cast("B")).digest()


@dataclass(frozen=True, slots=True)
class Opening:
    """All that a commitment is made of; digests are 32 bytes, and so is the salt."""

    salt: bytes
    author: bytes
    first: int
    last: int
    before: bytes
    shift: bytes
    update: bytes
    after: bytes
    to: bytes
    epoch: int
    seq: int
    reference: bytes

    @property
    def commitment(self) -> bytes:
        return sha256(DOMAIN + canonical.packb(self.to_fields())).digest()

    def to_fields(self) -> list[Any]:
        return [getattr(self, field.name) for field in fields(self)]

    @classmethod
    def from_fields(cls, values: list[Any]) -> "Opening":
        """Raises Reject unless each field has its type and size."""
        names = fields(cls)
        if len(values) != len(names):
            raise Reject("malformed", f"opening: expected {len(names)} fields, got {len(values)}")
        for field, value in zip(names, values, strict=True):
            whole = field.type in (int, "int")
            good = type(value) is int and 0 <= value <= ROUND_MAX if whole else _is_digest(value)
            if not good:
                raise Reject("malformed", f"opening: {field.name} is not what it must be")
        return cls(*values)


def _is_digest(value: Any) -> bool:
    return isinstance(value, bytes) and len(value) == DIGEST_BYTES
