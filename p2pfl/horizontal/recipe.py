"""What all nodes of a job must agree on before they exchange a byte. Knows values, not where they come from."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

from blake3 import blake3

from p2pfl.errors import ConfigError
from p2pfl.wire import canonical

Mode = Literal["async", "lockstep"]


@dataclass(frozen=True)
class Recipe:
    """Compared by digest at the door of every exchange; two nodes with different recipes refuse each other.

    schema, start, topology: digests (32 bytes). mixer and codec: name and parameters, as sorted (key, value) pairs.
    Local matters (learning rate, batch size, data) are not in it: nodes may differ there.
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

    def __post_init__(self) -> None:
        if self.participants < 1 and self.mode != "lockstep":
            raise ConfigError('pace.participants: rounds are drawn for all at once; set pace.mode = "lockstep"')

    @cached_property
    def digest(self) -> bytes:
        values = [
            *(self.network, self.schema, self.start, self.topology),
            *(_plain(self.mixer), _plain(self.codec), self.mode, self.rounds, float(self.participants)),
        ]
        return blake3(b"p2pfl/recipe/v1\0" + canonical.packb(values)).digest()


def _plain(value: Any) -> Any:
    return [_plain(item) for item in value] if isinstance(value, tuple | list) else value
