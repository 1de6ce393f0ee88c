"""What members say to draw cells together, as a frozen value with its fields checked. Knows fields; no book.

One message is one statement of its sender; the body quotes the signed heads of others' statements, so that they spread
over the graph. docs/formats/secagg.md.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from p2pfl.core.ids import NodeId
from p2pfl.core.limits import ROUNDS_MAX
from p2pfl.errors import Reject
from p2pfl.secagg.beacon import SALT_BYTES, Salted
from p2pfl.secagg.sheet import LENGTH_BYTES, unpack_heads
from p2pfl.wire.envelope import open_head

VERSION = 1
DIGEST_BYTES = 32
HEAD_BYTES_MAX = 1 << 10
"""A signed head that is quoted."""
NUMBERS_SAID_AT_ONCE = 6
"""Of one member, at most so many statements are in one body."""


@dataclass(frozen=True, slots=True)
class SaltMessage:
    """S_number of its author: see beacon.py. fresh: the author has just come and asks for all that there is."""

    KIND: ClassVar[str] = "salt"
    recipe: bytes
    to: bytes
    number: int
    salt: bytes
    commitment: bytes
    fresh: bool

    def to_fields(self) -> list[Any]:
        return [VERSION, self.recipe, self.to, self.number, self.salt, self.commitment, self.fresh]

    @classmethod
    def from_fields(cls, fields: list[Any]) -> "SaltMessage":
        """Raises Reject."""
        match fields:
            case [int(version), bytes(recipe), bytes(to), int(number), bytes(salt), bytes(fixed), bool(fresh)]:
                digests = len(recipe) == len(to) == len(fixed) == DIGEST_BYTES
                counted = type(version) is int and type(number) is int and 0 <= number <= ROUNDS_MAX + 2
                if version == VERSION and digests and counted and len(salt) in (0, SALT_BYTES):
                    return cls(recipe, to, number, salt, fixed, fresh)
        raise Reject("malformed", "salt: expected [version 1, recipe, to, number, salt, commitment, fresh]")

    def said_by(self, author: NodeId, head: bytes) -> Salted:
        return Salted(author, self.number, self.salt, self.commitment, head)


def body_bytes_max(num_members: int) -> int:
    """The longest body among so many members."""
    return NUMBERS_SAID_AT_ONCE * num_members * (LENGTH_BYTES + HEAD_BYTES_MAX)


def heads_in(body: bytes, most: int) -> list[bytes]:
    """The heads of others' statements that a body quotes. Raises Reject."""
    return unpack_heads(body, most, HEAD_BYTES_MAX)


def open_quoted(
    heads: list[bytes], network: bytes, recipe: bytes, known: Mapping[tuple[NodeId, int], Salted]
) -> list[Salted]:
    """The statements in quoted heads; each that says something not `known` costs a signature check. Raises Reject: an
    honest member has opened all that it quotes."""
    found = []
    for raw in heads:
        head = open_head(raw)
        if head.network != network or head.kind != SaltMessage.KIND:
            raise Reject("not-a-salt", f"expected a {SaltMessage.KIND} of this network, got {head.kind[:32]}")
        message = SaltMessage.from_fields(head.fields)
        if message.recipe != recipe:
            raise Reject("recipe", "a statement of another job")
        said, before = message.said_by(head.author, head.raw), known.get((head.author, message.number))
        if (before is None or not before.says(said)) and not head.authentic():
            raise Reject("signature", "not signed by its author")
        found.append(said)
    return found
