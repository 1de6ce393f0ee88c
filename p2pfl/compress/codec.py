"""What a codec is: the protocol, its packed form, its bounds. Knows no codec.

The law of the room: `packed, q = codec.encode(v, key)` and `codec.decode(packed, v.numel())` give the same q bit for
bit, on every machine. Both ends of an edge therefore know exactly what was said, and the error v - q is the sender's
to carry (in a reference, or in an error-feedback buffer). Zeros in q are +0.
"""

from dataclasses import dataclass
from typing import NamedTuple, Protocol

from torch import Tensor

from p2pfl.core.noise import Key
from p2pfl.core.party import Buffer
from p2pfl.errors import Reject


class Packed(NamedTuple):
    """An encoded vector. `fields` are the codec's small numbers (they travel in the signed header), `body` the rest."""

    fields: tuple[int | float, ...]
    body: Buffer


@dataclass(frozen=True, slots=True)
class Bounds:
    """The largest `Packed` an honest encoder gives for one vector: checked before anything is allocated."""

    num_fields: int
    body_bytes: int


class Codec(Protocol):
    """A lossy or lossless code for float32 vectors. Stateless; instances are frozen dataclasses of their parameters."""

    def bounds(self, size: int) -> Bounds:
        """For vectors of `size` values."""
        ...

    def encode(self, v: Tensor, key: Key, damp: float = 1.0) -> tuple[Packed, Tensor]:
        """v (n,) float32 -> its code and q (n,) float32, exactly as every decoder gives it.

        `damp` in (0, 1] asks for a finer code (quantisers multiply their step by it; others may ignore it).
        Randomness, where a codec needs any, comes from `key` alone. Raises ValueError if v has a value that is not
        finite: such a vector must not leave the node.
        """
        ...

    def decode(self, packed: Packed, size: int) -> Tensor:
        """q (size,) float32. Every malformed input raises Reject, before more than `size` values are allocated."""
        ...

    def project(self, v: Tensor, key: Key, damp: float = 1.0) -> Tensor:
        """q alone, as torch operations without data-dependent shapes, so that it maps over a leading node axis.

        Equal to `encode(v, key, damp)[1]` bit for bit.
        """
        ...


def check_packed(packed: Packed, bounds: Bounds) -> None:
    """Raises Reject unless `packed` has the fields, and at most the bytes, that `bounds` allow."""
    if len(packed.fields) != bounds.num_fields:
        raise Reject("codec", f"expected {bounds.num_fields} fields, got {len(packed.fields)}")
    if len(packed.body) > bounds.body_bytes:
        raise Reject("codec", f"expected a body of at most {bounds.body_bytes} bytes, got {len(packed.body)}")


def check_length(packed: Packed, bounds: Bounds) -> None:
    """Raises Reject unless `packed` has the fields, and exactly the bytes, of `bounds`."""
    check_packed(packed, bounds)
    if len(packed.body) != bounds.body_bytes:
        raise Reject("codec", f"expected a body of {bounds.body_bytes} bytes, got {len(packed.body)}")


def int_field(packed: Packed, position: int, low: int, high: int) -> int:
    """The field at `position` if it is an integer from `low` to `high`, else Reject."""
    value = packed.fields[position]
    if type(value) is not int or not low <= value <= high:
        raise Reject("codec", f"expected an integer from {low} to {high} in field {position}, got {str(value)[:40]}")
    return value
