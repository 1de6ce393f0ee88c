"""Votes, and certificates made of a quorum of them. Knows keys and signatures; knows no block and no clock.

    text        = "p2pfl/vote/v1\\0" + canonical msgpack [net, kind, epoch, view, block]
    vote        = canonical msgpack [1, kind, epoch, view, block, author, Ed25519 signature by author over text]
    certificate = canonical msgpack [1, kind, epoch, view, block, bitmap, the signatures of the set bits in order]

`block` is a block's hash, zeros for nullify. Bit i of the bitmap (lowest bit of the first byte first) is the i-th
validator of the epoch, keys ascending. The network is in what is signed and not in what is sent. Layout and vectors:
docs/formats/block.md.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from hashlib import sha256

from p2pfl.core.ids import NodeId, short
from p2pfl.core.limits import KIB
from p2pfl.core.party import Buffer
from p2pfl.errors import Reject
from p2pfl.ledger.blocks.rule import NOTHING, Kind, quorum, tolerated
from p2pfl.ledger.feeds.bounds import CERTIFICATE_BYTES_MAX, VALIDATORS_MAX
from p2pfl.wire import canonical, fields
from p2pfl.wire.envelope import SIGNATURE_BYTES, Signs
from p2pfl.wire.keyfile import verify

VERSION = 1
DOMAIN = b"p2pfl/vote/v1\0"
VALIDATORS_DOMAIN = b"p2pfl/validators/v1\0"
VOTE_BYTES_MAX = KIB


@dataclass(frozen=True)
class Validators:
    """The voters of one epoch, keys ascending. Raises ValueError for none, too many, or one twice."""

    keys: tuple[NodeId, ...]

    def __post_init__(self) -> None:
        if not 0 < len(self.keys) <= VALIDATORS_MAX or sorted(set(self.keys)) != list(self.keys):
            raise ValueError(f"expected 1 to {VALIDATORS_MAX} different keys in ascending order, got {len(self.keys)}")

    @classmethod
    def of(cls, keys: Iterable[NodeId]) -> "Validators":
        return cls(tuple(sorted(keys)))

    @property
    def n(self) -> int:
        return len(self.keys)

    @property
    def f(self) -> int:
        return tolerated(self.n)

    @property
    def quorum(self) -> int:
        return quorum(self.n)

    @cached_property
    def index(self) -> Mapping[NodeId, int]:
        return {key: i for i, key in enumerate(self.keys)}

    @cached_property
    def hash(self) -> bytes:
        return sha256(VALIDATORS_DOMAIN + canonical.packb(list(self.keys))).digest()

    def leader(self, epoch: int, view: int) -> NodeId:
        """Who proposes in this view: each in turn."""
        return self.keys[(epoch + view) % self.n]

    def bits(self, authors: Iterable[NodeId]) -> bytes:
        """The bitmap of these validators."""
        number = sum(1 << self.index[author] for author in authors)
        return number.to_bytes(-(-self.n // 8), "little")

    def of_bits(self, bitmap: bytes) -> list[NodeId]:
        """Who a bitmap names. Raises Reject if it is not one of this many validators."""
        number = int.from_bytes(bitmap, "little")
        if len(bitmap) != -(-self.n // 8) or number >> self.n:
            raise Reject("validators", f"expected a bitmap of {self.n} validators")
        return [key for i, key in enumerate(self.keys) if number >> i & 1]


@dataclass(frozen=True)
class Vote:
    """One validator's signed vote. `parse` does not check the signature."""

    kind: Kind
    epoch: int
    view: int
    block: bytes
    author: NodeId
    signature: bytes = field(repr=False)

    @cached_property
    def raw(self) -> bytes:
        f = [VERSION, int(self.kind), self.epoch, self.view, self.block, self.author, self.signature]
        return canonical.packb(f)

    def is_signed(self, net: bytes) -> bool:
        return verify(self.author, vote_text(net, self.kind, self.epoch, self.view, self.block), self.signature)

    @property
    def name(self) -> str:
        return f"{self.kind.name.lower()} {short(self.block)} by {short(self.author)} in {self.epoch}/{self.view}"


@dataclass(frozen=True)
class Certificate:
    """A quorum's votes of one kind for one block. `check` before anything follows from it."""

    kind: Kind
    epoch: int
    view: int
    block: bytes
    bitmap: bytes = field(repr=False)
    signatures: bytes = field(repr=False)

    @cached_property
    def raw(self) -> bytes:
        f = [VERSION, int(self.kind), self.epoch, self.view, self.block, self.bitmap, self.signatures]
        return canonical.packb(f)

    def votes(self, validators: Validators) -> list[Vote]:
        """The votes it is made of. Raises Reject if it is not of as many validators."""
        authors = validators.of_bits(self.bitmap)
        if len(self.signatures) != SIGNATURE_BYTES * len(authors):
            raise Reject("malformed", f"certificate: expected a signature for each of {len(authors)} votes")
        cuts = range(0, len(self.signatures), SIGNATURE_BYTES)
        signatures = [self.signatures[at : at + SIGNATURE_BYTES] for at in cuts]
        place = (self.kind, self.epoch, self.view, self.block)
        return [Vote(*place, author, signature) for author, signature in zip(authors, signatures, strict=True)]

    def check(self, net: bytes, validators: Validators, quorum_: int, known: Collection[Vote] = ()) -> None:
        """Raises Reject unless a quorum of `validators` signed it. Votes in `known` are not verified again."""
        votes = self.votes(validators)
        if len(votes) < quorum_:
            raise Reject("quorum", f"certificate: expected {quorum_} of {validators.n} votes, got {len(votes)}")
        for vote in votes:
            if vote not in known and not vote.is_signed(net):
                raise Reject("signature", f"certificate: not signed: {vote.name}")


def vote_text(net: bytes, kind: Kind, epoch: int, view: int, block: bytes) -> bytes:
    return DOMAIN + canonical.packb([net, int(kind), epoch, view, block])


def sign_vote(signer: Signs, net: bytes, kind: Kind, epoch: int, view: int, block: bytes) -> Vote:
    return Vote(kind, epoch, view, block, signer.node, signer.sign(vote_text(net, kind, epoch, view, block)))


def certify(votes: Collection[Vote], validators: Validators) -> Certificate:
    """The certificate of these votes, all for the same, each of another validator."""
    ordered = sorted(votes, key=lambda vote: vote.author)
    first = ordered[0]
    bitmap = validators.bits(vote.author for vote in ordered)
    signatures = b"".join(vote.signature for vote in ordered)
    return Certificate(first.kind, first.epoch, first.view, first.block, bitmap, signatures)


def parse_vote(raw: Buffer) -> Vote:
    """Raises Reject."""
    value = canonical.unpackb(raw, VOTE_BYTES_MAX)
    kind, epoch, view, block, author, signature = _versioned(value, "vote")
    return Vote(
        *_place(kind, epoch, view, block),
        NodeId(fields.digest(author, "author")),
        fields.exactly(signature, "signature", SIGNATURE_BYTES),
    )


def parse_certificate(raw: Buffer) -> Certificate:
    """Raises Reject."""
    value = canonical.unpackb(raw, CERTIFICATE_BYTES_MAX)
    kind, epoch, view, block, bitmap, signatures = _versioned(value, "certificate")
    return Certificate(
        *_place(kind, epoch, view, block),
        fields.blob(bitmap, "bitmap", VALIDATORS_MAX // 8),
        fields.blob(signatures, "signatures", SIGNATURE_BYTES * VALIDATORS_MAX),
    )


def _versioned(value: object, name: str) -> list[object]:
    if not isinstance(value, list) or not value:
        raise Reject("malformed", f"a {name} begins with its version")
    fields.version(value[0], name, VERSION)
    return fields.array(value, name, 7)[1:]


def _place(kind: object, epoch: object, view: object, block: object) -> tuple[Kind, int, int, bytes]:
    which = Kind(fields.whole(kind, "kind", max(Kind)))
    hash_ = fields.digest(block, "block")
    if (which is Kind.NULLIFY) != (hash_ == NOTHING):
        raise Reject("malformed", "block: expected zeros in a nullify vote, and a hash in others")
    view_ = fields.whole(view, "view")
    if view_ == 0:
        raise Reject("malformed", "view: expected 1 or later")
    return which, fields.whole(epoch, "epoch"), view_, hash_
