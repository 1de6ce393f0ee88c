"""Who may say what: the checks every message passes before a job sees it, cheapest first. Knows no job's meaning."""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from math import ceil
from typing import Any

from p2pfl.core.ids import NodeId
from p2pfl.core.limits import CONTROL_BYTES_MAX, RETRY_AFTER_S_MAX
from p2pfl.core.party import Buffer, ReplyToken
from p2pfl.errors import Ignore, Reject
from p2pfl.peer.quarantine import Quarantine
from p2pfl.wire import canonical
from p2pfl.wire.envelope import Head, open_head, split
from p2pfl.wire.messages import MemberTalk, Message, Parcel, parse

OPEN_PER_NEIGHBOUR = 4
DETAIL_CHARS_MAX = 200
AFTER_MS_MAX = int(RETRY_AFTER_S_MAX * 1000)


@dataclass(eq=False)
class Door:
    """Admission of one node. Slots: a neighbour may have one body under way, and a few requests waiting; and as many
    for the ledger, so that neither learning nor the ledger holds the other up. kinds: how to read messages of kinds
    that only some jobs have. quarantine: who has sent too much that was rejected is busy with us, for a while."""

    me: NodeId
    network: bytes
    neighbours: frozenset[NodeId]
    kinds: Mapping[str, Callable[[list[Any]], Any]] = field(default_factory=dict)
    refusals: Counter[str] = field(default_factory=Counter)
    quarantine: Quarantine = field(default_factory=Quarantine)
    now: float = 0.0
    """The time of the present event; set by whoever owns the door."""
    _waiting: dict[ReplyToken, tuple[NodeId, bool]] = field(default_factory=dict)
    _taken: dict[tuple[NodeId, bool], ReplyToken] = field(default_factory=dict)

    def admit(self, token: ReplyToken, raw: Buffer) -> tuple[Head, Message | Parcel | MemberTalk]:
        """A neighbour's authentic message for me, with a slot for it; or anybody's who speaks of the members, if that
        is looked after here: who may is not for the door to say. Raises Reject, or Ignore("busy")."""
        head = open_head(raw)
        if head.network != self.network:
            raise Reject("network", "this is another network")
        if (left_s := self.quarantine.left_s(head.author, self.now)) > 0:
            raise Ignore("quarantined", f"too many of your messages were rejected; come again in {left_s:.0f} s")
        if head.kind == MemberTalk.KIND and head.kind in self.kinds:
            return head, self._check(head)
        if head.author not in self.neighbours:
            raise Reject("stranger", "not a neighbour of mine")
        slot = (head.author, head.kind == Parcel.KIND)
        if slot in self._taken or list(self._waiting.values()).count(slot) >= OPEN_PER_NEIGHBOUR:
            raise Ignore("busy", "your last message is still being worked on")
        message = self._check(head)
        self._waiting[token] = slot
        return head, message

    def admit_reply(self, sender: NodeId, raw: Buffer) -> tuple[Head, Message, memoryview]:
        """The reply to what I sent to `sender`; the body's digests are left to whoever decodes it. Raises Reject."""
        head, body = split(raw)
        if head.network != self.network or head.author != sender:
            raise Reject("author", "the reply is not from whom I asked")
        message = self._check(head)
        if isinstance(message, Parcel | MemberTalk):
            raise Reject("kind", f"{head.kind} is not an answer")
        return head, message, body

    def admit_word(self, sender: NodeId, raw: Buffer) -> tuple[Head, MemberTalk]:
        """The reply about the members to what I asked `sender`. Raises Reject."""
        head, _ = split(raw)
        if head.network != self.network or head.author != sender or head.kind != MemberTalk.KIND:
            raise Reject("author", "the reply is not from whom I asked")
        message = self._check(head)
        assert isinstance(message, MemberTalk)
        return head, message

    def _check(self, head: Head) -> Message | Parcel | MemberTalk:
        if not head.authentic():
            raise Reject("signature", "not signed by its author")
        read = self.kinds.get(head.kind)
        message: Message | Parcel | MemberTalk
        try:
            message = read(head.fields) if read is not None else parse(head.kind, head.fields)
        except Reject as refusal:
            self.quarantine.count(head.author, refusal.code, self.now, proof=head)
            raise
        if message.to != self.me:
            raise Reject("not-for-me", "meant for another node")
        return message

    def take(self, token: ReplyToken) -> None:
        self._taken[self._waiting[token]] = token

    def release(self, token: ReplyToken) -> None:
        """The request is answered, or gone."""
        slot = self._waiting.pop(token, None)
        if slot is not None and self._taken.get(slot) == token:
            del self._taken[slot]


def refusal_bytes(code: str, detail: str, after_s: float = 0.0) -> bytes:
    """What goes back with a refusal: [code, detail], not signed; of a busy node also after how many ms to try again."""
    after_ms = min(ceil(after_s * 1000), AFTER_MS_MAX)
    return canonical.packb([code, detail[:DETAIL_CHARS_MAX], *((after_ms,) if after_ms > 0 else ())])


def refusal_code(raw: Buffer) -> str:
    """The code in a refusal; empty if there is none that can be read."""
    return read_refusal(raw)[0]


def refusal_words(raw: Buffer) -> tuple[str, str]:
    """The code and the sentence in a refusal, bounded and printable; empty if there are none that can be read."""
    return read_refusal(raw)[:2]


def read_refusal(raw: Buffer) -> tuple[str, str, float]:
    """The code, the sentence and the seconds to wait; empty and 0 if there are none that can be read."""
    try:
        match canonical.unpackb(raw, CONTROL_BYTES_MAX):
            case [str(code), str(detail)]:
                return code[:32], _printable(detail), 0.0
            case [str(code), str(detail), int(after_ms)] if 0 < after_ms <= AFTER_MS_MAX:
                return code[:32], _printable(detail), after_ms / 1000
    except Reject:
        pass
    return "", "", 0.0


def _printable(detail: str) -> str:
    return "".join(c if c.isprintable() else "?" for c in detail[:DETAIL_CHARS_MAX])
