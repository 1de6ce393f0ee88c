"""What a height finalizes: a cut of feed heads, proofs of faults, and the header that binds both to their outcome.
Knows bytes and hashes; knows no vote, and of the state only its root.

    header = canonical msgpack [1, net, height, view, parent, cut_hash, evidence_hash, first_index, entry_count,
                                state_root, rules_hash, validators_hash, next_validators_hash, time_ms]
    hash   = SHA-256("p2pfl/block/v1\\0" + header)
    block  = canonical msgpack [header, cut, evidence]

The leaves of the log at a height are the raw entries of the cut in causal order (`cut.order`), then the header's bytes.
Height 0 is the genesis: its hash is the network's id, it has no header and no leaf. Layout and vectors:
docs/formats/block.md.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from dataclasses import fields as dataclass_fields
from functools import cached_property
from hashlib import sha256
from itertools import pairwise
from typing import Any, NamedTuple, Protocol

from p2pfl.core.ids import NodeId, short
from p2pfl.core.limits import FEED_ENTRY_BYTES_MAX
from p2pfl.core.party import Buffer
from p2pfl.errors import Reject
from p2pfl.ledger.feeds.bounds import BLOCK_BYTES_MAX, BLOCK_FAULTS_MAX, CUT_FEEDS_MAX
from p2pfl.ledger.feeds.entry import INCARNATION_MAX, Entry
from p2pfl.wire import canonical, fields

VERSION = 1
DOMAIN = b"p2pfl/block/v1\0"
CUT_DOMAIN = b"p2pfl/cut/v1\0"
EVIDENCE_DOMAIN = b"p2pfl/evidence/v1\0"
HEADER_BYTES_MAX = 512

FORK, DOUBLE_VOTE = 0, 1
"""Kinds of faults: two entries at one position; two votes of one validator that an honest one never signs both."""


class Head(NamedTuple):
    """A feed up to `seq`, whose entry there has the id `id`. Heads of a cut ascend by (author, incarnation)."""

    author: NodeId
    incarnation: int
    seq: int
    id: bytes

    @property
    def feed(self) -> tuple[NodeId, int]:
        return (self.author, self.incarnation)


class Fault(NamedTuple):
    """Two signed things that convict their signer (`faults.judge`): raw entries, or raw votes, in ascending order."""

    kind: int
    first: bytes
    second: bytes


@dataclass(frozen=True)
class Header:
    """See the module's head. `view` is the one in which the block was first proposed."""

    net: bytes
    height: int
    view: int
    parent: bytes
    cut_hash: bytes
    evidence_hash: bytes
    first_index: int
    entry_count: int
    state_root: bytes
    rules_hash: bytes
    validators_hash: bytes
    next_validators_hash: bytes
    time_ms: int

    @cached_property
    def raw(self) -> bytes:
        return canonical.packb([VERSION, *(getattr(self, f.name) for f in dataclass_fields(self))])

    @cached_property
    def hash(self) -> bytes:
        return sha256(DOMAIN + self.raw).digest()

    @property
    def next_index(self) -> int:
        """Index of the first leaf after this block's header leaf."""
        return self.first_index + self.entry_count + 1

    @property
    def name(self) -> str:
        """For messages to people: `height 17, view 3 (8a3b02c4)`."""
        return f"height {self.height}, view {self.view} ({short(self.hash)})"


@dataclass(frozen=True)
class Block:
    """A header with what its hashes stand for. `parse` gives only blocks whose hashes fit."""

    header: Header
    cut: tuple[Head, ...] = field(repr=False)
    evidence: tuple[Fault, ...] = field(default=(), repr=False)

    @cached_property
    def raw(self) -> bytes:
        return canonical.packb([self.header.raw, self.cut, self.evidence])

    @property
    def hash(self) -> bytes:
        return self.header.hash

    @property
    def height(self) -> int:
        return self.header.height


def cut_hash(cut: Sequence[Head]) -> bytes:
    return sha256(CUT_DOMAIN + canonical.packb(list(cut))).digest()


def evidence_hash(evidence: Sequence[Fault]) -> bytes:
    return sha256(EVIDENCE_DOMAIN + canonical.packb(list(evidence))).digest()


def parse_header(raw: Buffer) -> Header:
    """Raises Reject."""
    value = canonical.unpackb(raw, HEADER_BYTES_MAX)
    if not isinstance(value, list) or not value:
        raise Reject("malformed", "a header begins with its version")
    fields.version(value[0], "header", VERSION)
    f = fields.array(value, "header", 14)
    return Header(
        net=fields.digest(f[1], "net"),
        height=fields.whole(f[2], "height"),
        view=fields.whole(f[3], "view"),
        parent=fields.digest(f[4], "parent"),
        cut_hash=fields.digest(f[5], "cut_hash"),
        evidence_hash=fields.digest(f[6], "evidence_hash"),
        first_index=fields.whole(f[7], "first_index"),
        entry_count=fields.whole(f[8], "entry_count"),
        state_root=fields.digest(f[9], "state_root"),
        rules_hash=fields.digest(f[10], "rules_hash"),
        validators_hash=fields.digest(f[11], "validators_hash"),
        next_validators_hash=fields.digest(f[12], "next_validators_hash"),
        time_ms=fields.whole(f[13], "time_ms"),
    )


def parse_block(raw: Buffer) -> Block:
    """The block whose canonical bytes are `raw`, its cut and evidence those of its header. Raises Reject."""
    header_raw, cut_raw, evidence_raw = fields.array(canonical.unpackb(raw, BLOCK_BYTES_MAX), "block", 3)
    header = parse_header(fields.blob(header_raw, "header", HEADER_BYTES_MAX))
    cut = tuple(parse_head(item) for item in fields.items(cut_raw, "cut", CUT_FEEDS_MAX))
    if any(one.feed >= other.feed for one, other in pairwise(cut)):
        raise Reject("malformed", "cut: expected feeds in ascending order, each once")
    evidence = tuple(parse_fault(item) for item in fields.items(evidence_raw, "evidence", BLOCK_FAULTS_MAX))
    if any(one >= other for one, other in pairwise(evidence)):
        raise Reject("malformed", "evidence: expected ascending order, each once")
    if (header.cut_hash, header.evidence_hash) != (cut_hash(cut), evidence_hash(evidence)):
        raise Reject("malformed", f"{header.name}: the header is not of this cut and this evidence")
    return Block(header, cut, evidence)


def parse_head(item: Any) -> Head:
    """A head from its array. Raises Reject."""
    author, incarnation, seq, id_ = fields.array(item, "cut", 4)
    return Head(
        NodeId(fields.digest(author, "author")),
        fields.whole(incarnation, "incarnation", INCARNATION_MAX),
        fields.whole(seq, "seq"),
        fields.digest(id_, "head"),
    )


def parse_fault(item: Any) -> Fault:
    """A fault from its array, not judged. Raises Reject."""
    kind, first, second = fields.array(item, "evidence", 3)
    fault = Fault(
        fields.whole(kind, "kind", DOUBLE_VOTE),
        fields.blob(first, "first", FEED_ENTRY_BYTES_MAX),
        fields.blob(second, "second", FEED_ENTRY_BYTES_MAX),
    )
    if fault.first == fault.second:
        raise Reject("malformed", "evidence: expected two different statements")
    return fault


# ------------------------------------------------------------------------------- what the state is to finality


class Place(NamedTuple):
    """Where a block stands: what its execution may know of it. All of it is in the header."""

    height: int
    time_ms: int
    first_index: int
    closes_epoch: bool
    """The last block of its epoch: only here may the validators of the next height differ."""


@dataclass(frozen=True, slots=True)
class Execution:
    """The outcome of a block. `state` is the Contract's own immutable value; finality only keeps it and hands it back.

    `next_validators` are those of the next height; the same as before unless the place closes an epoch.
    """

    state: Any = field(repr=False)
    state_root: bytes
    rules_hash: bytes
    next_validators: tuple[NodeId, ...]


class Contract(Protocol):
    """The ledger's state as finality sees it: pure functions of an immutable state. Never reads a clock or a store."""

    def genesis(self) -> Execution:
        """The state before the first block, and the first validators."""
        ...

    def execute(self, state: Any, place: Place, entries: Sequence[Entry], evidence: Sequence[Fault]) -> Execution:
        """The state after the block with these entries, in causal order, and these faults, each judged before.

        Total: whatever honest nodes can finalize has an outcome (an entry that breaks a rule has no effect).
        Raises Reject only for what `ceiling` and `wants` ruled out beforehand.
        """
        ...

    def ceiling(self, state: Any, author: NodeId, incarnation: int) -> int | None:
        """The last seq of the feed that may still become final, -1 for none, None for no limit: frozen at a fork."""
        ...

    def wants(self, state: Any, fault: Fault) -> bool:
        """Whether this fault is news to the state. Blocks with other faults are refused."""
        ...
