"""What nodes say to each other about feeds and finality, as frozen values, and their bytes. Knows fields, no meaning.

    message = canonical msgpack [1, tag, fields...]

Nothing here is believed for being said: entries, votes, certificates and proofs carry their own signatures, a state
vector is only a hint what to ask for. `parse` raises Reject for anything that is not exactly a message. Layout:
docs/formats/block.md.
"""

import itertools
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

from p2pfl.core.limits import FEED_ENTRY_BYTES_MAX
from p2pfl.core.party import Buffer
from p2pfl.errors import Reject
from p2pfl.ledger.blocks.block import Block, Fault, Head, parse_block, parse_fault, parse_head
from p2pfl.ledger.blocks.votes import VOTE_BYTES_MAX, Certificate, Vote, parse_certificate, parse_vote
from p2pfl.ledger.feeds.bounds import (
    BLOCK_BYTES_MAX,
    BLOCK_FAULTS_MAX,
    BLOCKS_WANTED_MAX,
    CERTIFICATE_BYTES_MAX,
    ENTRIES_SENT_MAX,
    FINALS_MAX,
    FORKS_SENT_MAX,
    GAPS_MAX,
    HEADS_MAX,
    MESSAGE_BYTES_MAX,
    RANGES_MAX,
    VALIDATORS_MAX,
)
from p2pfl.ledger.feeds.evidence import Evidence
from p2pfl.wire import canonical, fields

VERSION = 1


class Packed:
    """Packs itself once, however many it is sent to."""

    @cached_property
    def raw(self) -> bytes:
        tag, pack, _ = _FORMS[type(self)]
        return canonical.packb([VERSION, tag, *pack(self)])


@dataclass(frozen=True)
class Proposal(Packed):
    """A leader's block, with the leader's own vote for it: the vote is its signature. Also a block that was asked for,
    with any vote of a view in which it was proposed."""

    block: Block
    vote: Vote


@dataclass(frozen=True)
class Ballots(Packed):
    """Votes."""

    votes: tuple[Vote, ...]


@dataclass(frozen=True)
class Proofs(Packed):
    """Certificates."""

    certificates: tuple[Certificate, ...]


@dataclass(frozen=True)
class Status(Packed):
    """Where the sender stands, and what it asks for: sent while it is stuck, and when it comes back.

    `held`: bitmaps of the voters whose notarize, nullify votes in `view`, and whose finalize votes in `tip_view`, the
    sender has. `blocks` are hashes of blocks it lacks, `gaps` views whose nullification it lacks.
    """

    epoch: int
    view: int
    final_height: int
    tip_view: int
    held: tuple[bytes, bytes, bytes]
    blocks: tuple[bytes, ...] = ()
    gaps: tuple[int, ...] = ()


class Decided(NamedTuple):
    """A final block; None for a certificate if that of a later block makes it final."""

    block: Block
    certificate: Certificate | None


@dataclass(frozen=True)
class Finals(Packed):
    """Consecutive final blocks, the last with its certificate."""

    decided: tuple[Decided, ...]


@dataclass(frozen=True)
class Blocks(Packed):
    """Blocks that were asked for by hash: nothing but their hashes speaks for them."""

    blocks: tuple[Block, ...]


@dataclass(frozen=True)
class Faults(Packed):
    """Proofs of double votes, for whoever proposes next."""

    faults: tuple[Fault, ...]


@dataclass(frozen=True)
class Digest(Packed):
    """SHA-256 of the sender's state vector: whoever has another answers with the vector."""

    digest: bytes


class Row(NamedTuple):
    """A feed in a state vector: its main branch's end, and whether a fork of it is known."""

    head: Head
    forked: bool


@dataclass(frozen=True)
class Vector(Packed):
    """The state vector: rows ascending by feed."""

    rows: tuple[Row, ...]


class Stretch(NamedTuple):
    """Asks for the entries after seq `after` up to the head: on the branch of its id, else on the main one."""

    head: Head
    after: int


@dataclass(frozen=True)
class Wanted(Packed):
    stretches: tuple[Stretch, ...]


@dataclass(frozen=True)
class Entries(Packed):
    """Raw entries, each after its predecessor."""

    entries: tuple[bytes, ...] = field(repr=False)


@dataclass(frozen=True)
class Forks(Packed):
    """Proofs of forks: sent before anything else."""

    proofs: tuple[Evidence, ...]


Talk = Proposal | Ballots | Proofs | Status | Finals | Blocks | Digest | Vector | Wanted | Entries | Forks | Faults


def parse(raw: Buffer) -> Talk:
    """The message whose canonical bytes are `raw`. Raises Reject."""
    value = canonical.unpackb(raw, MESSAGE_BYTES_MAX)
    if not isinstance(value, list) or len(value) < 2:
        raise Reject("malformed", "a message is [version, tag, fields..]")
    fields.version(value[0], "ledger message", VERSION)
    tag = fields.whole(value[1], "tag")
    if tag not in _PARSERS:
        raise Reject("kind", f"expected a message of tag 0 to {len(_PARSERS) - 1}, got {tag}")
    return _PARSERS[tag](value[2:])


# -------------------------------------------------------------------------------------------------- the fields


def _proposal(f: list[Any]) -> Proposal:
    block, vote = fields.array(f, "proposal", 2)
    return Proposal(_block(block), _vote(vote))


def _ballots(f: list[Any]) -> Ballots:
    (votes,) = fields.array(f, "ballots", 1)
    return Ballots(tuple(_vote(vote) for vote in fields.items(votes, "votes", 3 * VALIDATORS_MAX)))


def _proofs(f: list[Any]) -> Proofs:
    (certificates,) = fields.array(f, "proofs", 1)
    return Proofs(tuple(_certificate(raw) for raw in fields.items(certificates, "certificates", 2 * GAPS_MAX + 3)))


def _pack_status(m: Status) -> list[Any]:
    return [m.epoch, m.view, m.final_height, m.tip_view, m.held, m.blocks, m.gaps]


def _status(f: list[Any]) -> Status:
    epoch, view, final_height, tip_view, held, blocks, gaps = fields.array(f, "status", 7)
    one, two, three = (fields.blob(bits, "held", VALIDATORS_MAX // 8) for bits in fields.array(held, "held", 3))
    return Status(
        fields.whole(epoch, "epoch"),
        fields.whole(view, "view"),
        fields.whole(final_height, "height"),
        fields.whole(tip_view, "view"),
        (one, two, three),
        tuple(fields.digest(hash_, "block") for hash_ in fields.items(blocks, "blocks", BLOCKS_WANTED_MAX)),
        tuple(fields.whole(gap, "view") for gap in fields.items(gaps, "gaps", GAPS_MAX)),
    )


def _finals(f: list[Any]) -> Finals:
    (rows,) = fields.array(f, "finals", 1)
    pairs = [fields.array(row, "final", 2) for row in fields.items(rows, "finals", FINALS_MAX)]
    return Finals(tuple(Decided(_block(block), _certificate(raw) if raw != b"" else None) for block, raw in pairs))


def _blocks(f: list[Any]) -> Blocks:
    (blocks,) = fields.array(f, "blocks", 1)
    return Blocks(tuple(_block(raw) for raw in fields.items(blocks, "blocks", FINALS_MAX)))


def _faults(f: list[Any]) -> Faults:
    (rows,) = fields.array(f, "faults", 1)
    return Faults(tuple(parse_fault(row) for row in fields.items(rows, "faults", BLOCK_FAULTS_MAX)))


def _digest(f: list[Any]) -> Digest:
    return Digest(fields.digest(fields.array(f, "digest", 1)[0], "digest"))


def _vector(f: list[Any]) -> Vector:
    (rows,) = fields.array(f, "vector", 1)
    parsed = []
    for row in fields.items(rows, "vector", HEADS_MAX):
        *head, forked = fields.array(row, "row", 5)
        parsed.append(Row(parse_head(head), bool(fields.whole(forked, "forked", 1))))
    if any(one.head.feed >= other.head.feed for one, other in itertools.pairwise(parsed)):
        raise Reject("malformed", "vector: expected feeds in ascending order, each once")
    return Vector(tuple(parsed))


def _wanted(f: list[Any]) -> Wanted:
    (rows,) = fields.array(f, "wanted", 1)
    parsed = []
    for row in fields.items(rows, "wanted", RANGES_MAX):
        *head, first = fields.array(row, "stretch", 5)
        parsed.append(Stretch(parse_head(head), fields.whole(first, "first") - 1))
    return Wanted(tuple(parsed))


def _entries(f: list[Any]) -> Entries:
    (raws,) = fields.array(f, "entries", 1)
    raws = fields.items(raws, "entries", ENTRIES_SENT_MAX)
    return Entries(tuple(fields.blob(raw, "entry", FEED_ENTRY_BYTES_MAX) for raw in raws))


def _forks(f: list[Any]) -> Forks:
    (rows,) = fields.array(f, "forks", 1)
    pairs = [fields.array(row, "fork", 2) for row in fields.items(rows, "forks", FORKS_SENT_MAX)]
    return Forks(tuple(Evidence(*(fields.blob(raw, "entry", FEED_ENTRY_BYTES_MAX) for raw in p)) for p in pairs))


def _block(raw: Any) -> Block:
    return parse_block(fields.blob(raw, "block", BLOCK_BYTES_MAX))


def _vote(raw: Any) -> Vote:
    return parse_vote(fields.blob(raw, "vote", VOTE_BYTES_MAX))


def _certificate(raw: Any) -> Certificate:
    return parse_certificate(fields.blob(raw, "certificate", CERTIFICATE_BYTES_MAX))


_FORMS: dict[type, tuple[int, Callable[[Any], list[Any]], Callable[[list[Any]], Talk]]] = {
    Proposal: (0, lambda m: [m.block.raw, m.vote.raw], _proposal),
    Ballots: (1, lambda m: [[vote.raw for vote in m.votes]], _ballots),
    Proofs: (2, lambda m: [[c.raw for c in m.certificates]], _proofs),
    Status: (3, _pack_status, _status),
    Finals: (4, lambda m: [[[b.raw, c.raw if c else b""] for b, c in m.decided]], _finals),
    Blocks: (5, lambda m: [[block.raw for block in m.blocks]], _blocks),
    Digest: (6, lambda m: [m.digest], _digest),
    Vector: (7, lambda m: [[[*head, int(forked)] for head, forked in m.rows]], _vector),
    Wanted: (8, lambda m: [[[*head, after + 1] for head, after in m.stretches]], _wanted),
    Entries: (9, lambda m: [m.entries], _entries),
    Forks: (10, lambda m: [[[e.first, e.second] for e in m.proofs]], _forks),
    Faults: (11, lambda m: [m.faults], _faults),
}
_PARSERS = {tag: parse_ for tag, _, parse_ in _FORMS.values()}
