"""What all nodes of a job must agree on before they exchange a byte. Knows values, not where they come from."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

from blake3 import blake3

from p2pfl.core.ids import short
from p2pfl.errors import ConfigError
from p2pfl.wire import canonical

Mode = Literal["async", "semi_sync", "lockstep"]

JOB_BYTES = 24
"""Of a digest: these name the job, the rest its privacy terms. So who differs in the terms alone is told so."""


@dataclass(frozen=True)
class Recipe:
    """Compared by digest at the door of every exchange; two nodes with different recipes refuse each other.

    schema, start, topology: digests (32 bytes). mixer and codec: name and parameters, as sorted (key, value) pairs.
    public: the digest of the samples that all nodes hold; empty without.
    terms: what all promise with differential privacy, in the same form; empty without. Local matters (learning rate,
    batch size, data) are not in it: nodes may differ there.
    """

    network: bytes
    schema: bytes
    start: bytes
    topology: bytes
    mixer: tuple[Any, ...]
    codec: tuple[Any, ...]
    mode: Mode
    rounds: int
    participants: float = 1.0
    terms: tuple[Any, ...] = ()
    public: bytes = b""

    def __post_init__(self) -> None:
        if self.participants < 1 and self.mode != "lockstep":
            raise ConfigError('pace.participants: rounds are drawn for all at once; set pace.mode = "lockstep"')

    @cached_property
    def digest(self) -> bytes:
        values = [
            *(self.network, self.schema, self.start, self.topology),
            *(_plain(self.mixer), _plain(self.codec), self.mode, self.rounds, float(self.participants)),
            *((self.public,) if self.public else ()),
        ]
        job = blake3(b"p2pfl/recipe/v1\0" + canonical.packb(values)).digest()
        if not self.terms:
            return job
        terms = blake3(b"p2pfl/recipe/terms/v1\0" + canonical.packb(_plain(self.terms))).digest()
        return job[:JOB_BYTES] + terms[JOB_BYTES:]

    def refusal(self, other: bytes) -> tuple[str, str]:
        """Why somebody with the digest `other` is refused: code and detail."""
        if other[:JOB_BYTES] != self.digest[:JOB_BYTES]:
            return "recipe", f"expected recipe {short(self.digest)}, got {short(other)}"
        mine = ", ".join(f"{key} {value}" for key, value in self.terms) or "none"
        return "terms", f"the same job with other privacy terms: expected {mine}"


def _plain(value: Any) -> Any:
    return [_plain(item) for item in value] if isinstance(value, tuple | list) else value
