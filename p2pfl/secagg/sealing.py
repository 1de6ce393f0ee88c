"""Shares for one holder's eyes, and commitments that anybody can hold a share to. Knows pairs of keys; no step.

A dealer seals both shares to a holder under a key of that pair, direction and cell (ChaCha20-Poly1305, RFC 8439); such
a key encrypts one text, so the nonce is zero. A commitment is BLAKE3 of the share, bound to cell, dealer, holder and
kind: shares are uniform 256-bit numbers, so it hides them, and nobody finds a second share that fits it.
"""

from typing import Literal

from blake3 import blake3
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from p2pfl.core.ids import NodeId
from p2pfl.errors import Reject
from p2pfl.secagg.masks import agree
from p2pfl.secagg.shares import SHARE_BYTES

Kind = Literal["self", "mask", "secret"]

_NONCE = bytes(12)


def commit(cell: bytes, dealer: NodeId, holder: NodeId, kind: Kind, value: bytes) -> bytes:
    """32 bytes. kind "secret": of the self-mask seed itself, with the dealer as holder."""
    text = b"".join([cell, dealer, holder, kind.encode(), b"\0", value])
    return blake3(text, derive_key_context="p2pfl secagg commitment v1").digest()


def seal(cell: bytes, secret: bytes, mine: bytes, other: bytes, text: bytes) -> bytes:
    """From the owner of `secret` (public key `mine`) to the owner of `other`. Raises Reject for a weak key."""
    return ChaCha20Poly1305(_key(cell, secret, mine, other, mine)).encrypt(_NONCE, text, cell)


def unseal(cell: bytes, secret: bytes, mine: bytes, other: bytes, sealed: bytes) -> tuple[bytes, bytes]:
    """Both shares that the owner of `other` sealed to me. Raises Reject."""
    try:
        text = ChaCha20Poly1305(_key(cell, secret, mine, other, other)).decrypt(_NONCE, sealed, cell)
    except InvalidTag:
        raise Reject("unreadable-share", "the sealed shares do not open") from None
    if len(text) != 2 * SHARE_BYTES:
        raise Reject("unreadable-share", f"expected two shares of {SHARE_BYTES} bytes, got {len(text)}")
    return text[:SHARE_BYTES], text[SHARE_BYTES:]


def _key(cell: bytes, secret: bytes, mine: bytes, other: bytes, sender: bytes) -> bytes:
    return agree(secret, mine, other, b"seal\0" + sender, cell)
