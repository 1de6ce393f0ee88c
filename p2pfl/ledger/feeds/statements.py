"""What others sign so that an author may put it into an entry: a new key's consent, and the acknowledgement of a head.
And the seal of a bid.

Knows texts, signatures and hashes; knows no feed and no state. Each text begins with a domain of its own, so none of
these signatures is one of an entry, a message or a vote.
"""

from hashlib import sha256

from p2pfl.core.ids import NodeId
from p2pfl.wire import canonical
from p2pfl.wire.envelope import Signs
from p2pfl.wire.keyfile import verify

ROTATION_DOMAIN = b"p2pfl/rotation/v1\0"
HEAD_DOMAIN = b"p2pfl/head/v1\0"
BID_DOMAIN = b"p2pfl/bid/v1\0"


def seal(net: bytes, task: bytes, bidder: bytes, units: int, ask: int, salt: bytes) -> bytes:
    """What "bid.commit" says of a bid: SHA-256, with a salt of 32 bytes so that nobody tries all bids.

    It names the bidder, so that a seal that was copied opens nothing.
    """
    return sha256(BID_DOMAIN + canonical.packb([net, task, bidder, units, ask, salt])).digest()


def consent(new: Signs, net: bytes, old: NodeId) -> bytes:
    """The new key's signature for "key.rotate": it takes over what `old` is and has."""
    return new.sign(_rotation(net, old, new.node))


def is_consent(net: bytes, old: bytes, new: bytes, signature: bytes) -> bool:
    return verify(new, _rotation(net, old, new), signature)


def acknowledge(validator: Signs, net: bytes, author: bytes, incarnation: int, seq: int, head: bytes) -> bytes:
    """A validator's signature for "resume": it holds this feed up to (seq, head), and nothing after it."""
    return validator.sign(_head(net, author, incarnation, seq, head))


def is_acknowledged(
    validator: bytes, signature: bytes, net: bytes, author: bytes, incarnation: int, seq: int, head: bytes
) -> bool:
    return verify(validator, _head(net, author, incarnation, seq, head), signature)


def _rotation(net: bytes, old: bytes, new: bytes) -> bytes:
    return ROTATION_DOMAIN + canonical.packb([net, old, new])


def _head(net: bytes, author: bytes, incarnation: int, seq: int, head: bytes) -> bytes:
    return HEAD_DOMAIN + canonical.packb([net, author, incarnation, seq, head])
