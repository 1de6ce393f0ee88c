"""Opens the signed heads that members of a cell quote. Knows the wire's envelope; no step of the protocol."""

from dataclasses import dataclass

from p2pfl.core.party import Buffer
from p2pfl.errors import Reject
from p2pfl.secagg.statements import CellMessage, Statement
from p2pfl.wire.envelope import Head, chunk_digests, open_head


@dataclass(frozen=True, slots=True)
class WireNotary:
    """A secagg Notary of one network and one job: heads of others are refused."""

    network: bytes
    recipe: bytes

    def open(self, raw: bytes) -> Statement:
        """Raises Reject. Costs one signature check."""
        head = open_head(raw)
        if head.network != self.network or head.kind != CellMessage.KIND:
            raise Reject("not-a-statement", f"expected a {CellMessage.KIND} of this network, got {head.kind[:32]}")
        if not head.authentic():
            raise Reject("signature", "not signed by its author")
        message = CellMessage.from_fields(head.fields)
        if message.recipe != self.recipe:
            raise Reject("recipe", "a statement of another job")
        return statement_of(head, message)

    def chunks(self, body: Buffer) -> bytes:
        return chunk_digests((body,))


def statement_of(head: Head, message: CellMessage) -> Statement:
    """Of a head whose signature the Peer has checked."""
    return Statement(head.author, message, head.chunks, head.raw)
