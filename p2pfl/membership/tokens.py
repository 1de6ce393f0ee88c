"""Join tokens: who may enter, said by those the network trusts with that. Knows signatures and epochs; no clock.

An authority of the network signs a token for one key: to join, or to sign tokens for others in its turn (a delegate),
at most CHAIN_MAX of them in a row. A token ends with an epoch: a counter that the authorities advance, and that spreads
among the members; or with a height of the ledger. No machine's clock is asked. A token is worth nothing to any other
key than its subject's, so its text is no secret. Layout and vectors: docs/formats/member.md.

    token = canonical msgpack [1, network, subject, right, serial, last epoch, last height, issuer, parent, signature]
"""

from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any, Literal

from p2pfl.core.ids import NodeId
from p2pfl.errors import ConfigError, Reject
from p2pfl.membership.bounds import CHAIN_MAX, COUNT_MAX, TOKEN_BYTES_MAX
from p2pfl.wire import canonical
from p2pfl.wire.envelope import Signs
from p2pfl.wire.fields import blob, exactly, node_id, whole
from p2pfl.wire.keyfile import verify

VERSION = 1
DOMAIN = b"p2pfl/v1/member.token\0"
PREFIX = "p2pfl-token-v1 "
RIGHTS = ("join", "issue")
Right = Literal["join", "issue"]


@dataclass(frozen=True, slots=True)
class Token:
    """last_epoch, last_height: it counts up to and with these; 0 stands for no end. parent: what gives the issuer the
    right to issue, None if it is an authority's."""

    network: bytes
    subject: NodeId
    right: Right
    serial: int
    last_epoch: int
    last_height: int
    issuer: NodeId
    parent: "Token | None" = None
    raw: bytes = field(default=b"", repr=False)

    @property
    def id(self) -> bytes:
        """32 bytes: what a revocation names."""
        return sha256(self.raw).digest()

    @property
    def chain(self) -> "tuple[Token, ...]":
        """This token and what it rests on, up to an authority's."""
        return (self, *(self.parent.chain if self.parent is not None else ()))

    def text(self) -> str:
        """One line, as it stands in a file."""
        return f"{PREFIX}{self.raw.hex()}\n"


def issue(
    signer: Signs,
    network: bytes,
    subject: NodeId,
    right: Right,
    serial: int,
    last_epoch: int = 0,
    last_height: int = 0,
    parent: Token | None = None,
) -> Token:
    """A token by `signer`. Raises ConfigError if `parent` does not let it, or the chain is too long."""
    if parent is not None and (parent.subject, parent.right) != (signer.node, "issue"):
        raise ConfigError("expected a token that lets this key issue others")
    fields = _fields(network, subject, right, serial, last_epoch, last_height, signer.node, parent)
    raw = canonical.packb([VERSION, *fields, signer.sign(DOMAIN + canonical.packb(fields))])
    try:
        return parse_token(raw)
    except Reject as reject:
        raise ConfigError(f"cannot issue that token: {reject}") from None


def parse_token(raw: bytes, depth: int = CHAIN_MAX) -> Token:
    """The token of these bytes; its signatures and the links of its chain are verified, not who is an authority.

    Raises Reject.
    """
    if depth == 0:
        raise Reject("token", f"a chain of more than {CHAIN_MAX} tokens")
    value = canonical.unpackb(raw, TOKEN_BYTES_MAX)
    if not isinstance(value, list) or len(value) != 10:
        raise Reject("token", "not a join token")
    if type(value[0]) is not int or value[0] != VERSION:
        raise Reject("version", f"expected token version {VERSION}, got {str(value[0])[:20]}")
    fields = value[1:9]
    right = whole(fields[2], "right", len(RIGHTS) - 1)
    above = blob(fields[7], "parent", TOKEN_BYTES_MAX)
    parent = parse_token(above, depth - 1) if above else None
    token = Token(
        exactly(fields[0], "network", 32),
        node_id(fields[1], "subject"),
        "join" if right == 0 else "issue",
        whole(fields[3], "serial", COUNT_MAX),
        whole(fields[4], "last epoch", COUNT_MAX),
        whole(fields[5], "last height", COUNT_MAX),
        node_id(fields[6], "issuer"),
        parent,
        raw,
    )
    if parent is not None and (parent.subject, parent.right) != (token.issuer, "issue"):
        raise Reject("token", "issued by a key that may not issue")
    if not verify(token.issuer, DOMAIN + canonical.packb(fields), exactly(value[9], "signature", 64)):
        raise Reject("signature", "a token that its issuer has not signed")
    return token


def parse_text(line: str) -> Token:
    """The token in a file's text. Raises ConfigError."""
    text = line.strip()
    try:
        if not text.startswith(PREFIX):
            raise Reject("token", f"expected a line {PREFIX.strip()!r} and hex digits")
        return parse_token(bytes.fromhex(text.removeprefix(PREFIX)))
    except (Reject, ValueError) as error:
        raise ConfigError(f"not a join token: {error}") from None


def _fields(
    network: bytes,
    subject: NodeId,
    right: Right,
    serial: int,
    last_epoch: int,
    last_height: int,
    issuer: NodeId,
    parent: Token | None,
) -> list[Any]:
    above = parent.raw if parent is not None else b""
    return [network, subject, RIGHTS.index(right), serial, last_epoch, last_height, issuer, above]
