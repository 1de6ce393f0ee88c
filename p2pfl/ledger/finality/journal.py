"""What finality must not forget, as records of a store. Knows keys and values; knows no disk and no rule.

| space | key | value |
|---|---|---|
| vote | epoch (u64) + view (u64) + kind (u8) | one's own signed vote |
| certificate | the same | a certificate of an epoch and view that is not final yet |
| block | hash (32) | a block that one voted for or that is notarized, not final yet |
| final | height (u64) | canonical [block, certificate, or empty if that of a later height makes it final] |
| fault | author (32) | canonical [kind, first, second]: a proof of a double vote that no block holds yet |

Numbers are big-endian. A vote is durable before it is sent, so that a restarted validator repeats the same signature
and never gives another. Certificates and blocks are kept so that validators that all stopped at once can go on: a
quorum may have been reached with the vote of one that never sends it again. All but "final" is removed once its view is
past, a proof once its author is convicted; proofs of forks are kept with the feeds (book.py).
"""

from collections.abc import Iterable
from dataclasses import dataclass

from p2pfl.core.ids import NodeId
from p2pfl.core.limits import FEED_ENTRY_BYTES_MAX
from p2pfl.core.party import Put, Restored
from p2pfl.errors import BrokenChain, Reject
from p2pfl.ledger.blocks.block import Block, Fault, parse_block, parse_fault
from p2pfl.ledger.blocks.rule import Kind
from p2pfl.ledger.blocks.votes import Certificate, Vote, parse_certificate, parse_vote
from p2pfl.ledger.feeds.bounds import BLOCK_BYTES_MAX, CERTIFICATE_BYTES_MAX
from p2pfl.ledger.finality.talk import Decided
from p2pfl.wire import canonical, fields

VOTE = "vote"
CERTIFICATE = "certificate"
BLOCK = "block"
FINAL = "final"
FAULT = "fault"
SPACES = (VOTE, CERTIFICATE, BLOCK, FINAL, FAULT)


@dataclass(frozen=True, slots=True)
class Recalled:
    """What was in the journal."""

    votes: list[Vote]
    certificates: list[Certificate]
    blocks: list[Block]
    decided: list[Decided]
    faults: list[Fault]


class Journal:
    """Makes records, and knows which ones are there so that they can be removed."""

    def __init__(self) -> None:
        self._views: dict[tuple[int, int], set[tuple[str, bytes]]] = {}
        self._blocks: dict[bytes, int] = {}

    def vote(self, vote: Vote) -> Put:
        return self._of_view(VOTE, vote.epoch, vote.view, vote.kind, vote.raw)

    def certificate(self, certificate: Certificate) -> Put:
        return self._of_view(CERTIFICATE, certificate.epoch, certificate.view, certificate.kind, certificate.raw)

    def block(self, block: Block) -> list[Put]:
        """None if it is there."""
        if block.hash in self._blocks:
            return []
        self._blocks[block.hash] = block.height
        return [Put(BLOCK, block.hash, block.raw)]

    def final(self, block: Block, certificate: Certificate | None, epoch: int, view: int) -> list[Put]:
        """The block is final; what is of (epoch, view) and before is not needed any more."""
        value = canonical.packb([block.raw, certificate.raw if certificate else b""])
        puts = [Put(FINAL, final_key(block.height), value)]
        for place in sorted(place for place in self._views if place <= (epoch, view)):
            puts += [Put(space, key, None) for space, key in sorted(self._views.pop(place))]
        for hash_ in sorted(h for h, height in self._blocks.items() if height <= block.height):
            del self._blocks[hash_]
            puts.append(Put(BLOCK, hash_, None))
        return puts

    def fault(self, author: NodeId, fault: Fault | None) -> Put:
        """A proof against the author; None: it is in a block now, or of no use any more."""
        return Put(FAULT, author, None if fault is None else canonical.packb(fault))

    def recall(self, restored: Restored) -> Recalled:
        """Everything that a store holds. Raises BrokenChain if a record is not what its space says."""
        try:
            votes = [parse_vote(raw) for raw in restored.get(VOTE, {}).values()]
            certificates = [parse_certificate(raw) for raw in restored.get(CERTIFICATE, {}).values()]
            blocks = [parse_block(raw) for raw in restored.get(BLOCK, {}).values()]
            decided = [parse_decided(raw) for raw in restored.get(FINAL, {}).values()]
            faults = [stored_fault(key, raw) for key, raw in restored.get(FAULT, {}).items()]
        except Reject as error:
            raise BrokenChain(f"a record of finality is none: {error}") from None
        for vote in votes:
            self.vote(vote)
        for certificate in certificates:
            self.certificate(certificate)
        for block in blocks:
            self.block(block)
        return Recalled(votes, certificates, blocks, decided, faults)

    def _of_view(self, space: str, epoch: int, view: int, kind: Kind, raw: bytes) -> Put:
        key = epoch.to_bytes(8, "big") + view.to_bytes(8, "big") + bytes([kind])
        self._views.setdefault((epoch, view), set()).add((space, key))
        return Put(space, key, raw)


def final_key(height: int) -> bytes:
    return height.to_bytes(8, "big")


def parse_decided(raw: bytes) -> Decided:
    """A record of the space "final". Raises Reject."""
    value = canonical.unpackb(raw, BLOCK_BYTES_MAX + CERTIFICATE_BYTES_MAX + 16)
    block, certificate = fields.array(value, "final", 2)
    parsed = parse_block(fields.blob(block, "block", BLOCK_BYTES_MAX))
    raw_certificate = fields.blob(certificate, "certificate", CERTIFICATE_BYTES_MAX)
    return Decided(parsed, parse_certificate(raw_certificate) if raw_certificate else None)


def stored_fault(key: bytes, raw: bytes) -> Fault:
    """The proof against the author `key`, not judged. Raises BrokenChain if the bytes are none."""
    try:
        return parse_fault(canonical.unpackb(raw, 2 * FEED_ENTRY_BYTES_MAX + 64))
    except Reject as error:
        raise BrokenChain(f"fault at key {key.hex()}: {error}") from None


def certified_prefix(decided: Iterable[Decided]) -> list[Decided]:
    """As many as end with a certificate."""
    rows = list(decided)
    while rows and rows[-1].certificate is None:
        rows.pop()
    return rows
