"""Who may be a member: on the list, by token, or anybody; and who may not any more. Knows no address, clock or file.

A refusal has a code for machines and a sentence that says what its reader can do. Grows by what authorities say
(`told`): the epoch, and revocations of a key or a token, which spread like all news and are kept for good.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal

from p2pfl.core.ids import NodeId, short
from p2pfl.errors import Ignore, Reject
from p2pfl.membership.bounds import REVOCATIONS_MAX, VERSION_HIGH, VERSION_LOW
from p2pfl.membership.record import Record
from p2pfl.membership.statements import Statement, Tag
from p2pfl.membership.tokens import Token, parse_token

Mode = Literal["listed", "token", "open"]


@dataclass(eq=False)
class Admission:
    """listed: the nodes of the network's document, which need no token. banned: by this node's own operator."""

    network: bytes
    mode: Mode
    listed: frozenset[NodeId]
    authorities: frozenset[NodeId] = frozenset()
    banned: set[NodeId] = field(default_factory=set)
    kicked: set[NodeId] = field(default_factory=set)
    """As `banned`, for a while."""
    height: int = 0
    """Of the ledger, as far as it is final here."""
    epoch_said: Statement | None = None
    revoked: dict[bytes, Statement] = field(default_factory=dict)

    @property
    def epoch(self) -> int:
        return self.epoch_said.number if self.epoch_said is not None else 0

    def check(self, record: Record) -> None:
        """Raises Reject unless the record's subject may be a member now."""
        if record.network != self.network:
            raise Reject("network", "this is another network: compare the two network documents and genesis files")
        self.check_key(record.node)
        if not record.speaks():
            low, high = record.versions
            raise Reject(
                "version",
                f"it speaks the formats {low} to {high} and this node {VERSION_LOW} to {VERSION_HIGH}: "
                f"update the software of {'that' if high < VERSION_LOW else 'this'} machine",
            )
        if record.node in self.listed or self.mode == "open":
            return
        if self.mode == "listed":
            raise Reject("stranger", "not on the list: ask an operator to add the key with: p2pfl network add")
        if not record.token:
            raise Reject("no-token", "a join token is needed: an authority makes one with: p2pfl network token issue")
        self.check_token(parse_token(record.token), record.node)

    def check_key(self, node: NodeId) -> None:
        """Raises Reject if this key is shut out, whatever it brings."""
        if node in self.banned:
            raise Reject("banned", "banned by the operator of this node: ask them")
        if node in self.kicked:
            raise Reject("kicked", "sent away for a while by the operator of this node")
        if node in self.revoked:
            by = short(self.revoked[node].author)
            raise Reject("revoked", f"the key was revoked by the authority {by}: a new key and token are needed")

    def check_token(self, token: Token, bearer: NodeId) -> None:
        """Raises Reject unless the token lets its bearer in."""
        if token.network != self.network:
            raise Reject("token", "the join token is of another network")
        if token.subject != bearer:
            raise Reject("token", f"the join token is for the key {short(token.subject)}, not for this one")
        last = token.chain[-1]
        if last.issuer not in self.authorities:
            raise Reject("token", f"the join token rests on {short(last.issuer)}, which is no authority here")
        for link in token.chain:
            self._check_link(link)

    def _check_link(self, token: Token) -> None:
        if token.network != self.network:
            raise Reject("token", "the join token rests on one of another network")
        if token.id in self.revoked:
            raise Reject("revoked", f"the join token {short(token.id)} was revoked: ask an authority for a new one")
        if token.issuer in self.revoked:
            raise Reject("revoked", f"the issuer {short(token.issuer)} of the join token was revoked: ask another one")
        if token.last_epoch and self.epoch > token.last_epoch:
            when = f"it ended with epoch {token.last_epoch} and this is {self.epoch}"
            raise Reject("expired", f"the join token has expired ({when}): ask an authority for a new one")
        if token.last_height and self.height > token.last_height:
            when = f"it ended with height {token.last_height} and this is {self.height}"
            raise Reject("expired", f"the join token has expired ({when}): ask an authority for a new one")

    def told(self, statement: Statement) -> bool:
        """An authority's word. Whether it was news. Raises Reject for somebody else's, Ignore if there is no room."""
        if statement.network != self.network:
            raise Reject("network", "a statement about another network")
        if statement.author not in self.authorities:
            raise Reject("authority", f"{short(statement.author)} is no authority of this network")
        if statement.tag is Tag.EPOCH:
            if (statement.number, statement.raw) <= (self.epoch, self.epoch_said.raw if self.epoch_said else b""):
                return False
            self.epoch_said = statement
            return True
        known = self.revoked.get(statement.about)
        if known is None and len(self.revoked) >= REVOCATIONS_MAX:
            raise Ignore("full", "too many revocations are known already")
        if known is not None and known.raw <= statement.raw:
            return False
        self.revoked[statement.about] = statement
        return known is None

    def statements(self) -> list[Statement]:
        """All that the authorities said, in one order everywhere."""
        epoch = [self.epoch_said] if self.epoch_said is not None else []
        return epoch + [self.revoked[what] for what in sorted(self.revoked)]

    def lacks(self, ids: Iterable[bytes]) -> list[Statement]:
        """What somebody who knows these statements' marks does not know."""
        known = set(ids)
        return [statement for statement in self.statements() if mark(statement) not in known]


def mark(statement: Statement) -> bytes:
    """A statement's last 16 bytes, of its signature: its short name in a push-pull."""
    return statement.raw[-16:]
