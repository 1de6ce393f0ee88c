"""The watch over the members inside a Peer: seals what it says, opens what it hears. Knows envelopes; judges nobody.

Its messages go to members that may not be neighbours, so they have a door of their own, and bytes that are counted
apart. A question is remembered by the digest of its header: an answer names it.
"""

from collections.abc import Hashable
from typing import Any

from p2pfl.core.ids import NodeId
from p2pfl.core.limits import HEADER_BYTES_MAX, HTTP_REPLY_BYTES, HTTP_REQUEST_BYTES
from p2pfl.core.party import (
    Answered,
    Effect,
    Emit,
    Locate,
    Persist,
    Reply,
    ReplyToken,
    Send,
    SendFailed,
    SetTimer,
    Started,
    Verdict,
)
from p2pfl.errors import Reject, RemoteError
from p2pfl.membership.effects import Drained, Halt, Parted, Respond, Say, Tick, View, WatchEffect
from p2pfl.membership.watch import Charter, Watch
from p2pfl.peer.door import Door, refusal_bytes, refusal_words
from p2pfl.peer.order import Order
from p2pfl.peer.traffic import Traffic
from p2pfl.wire.envelope import HEAD_FIXED_BYTES, Head, Signs, head_digest, seal
from p2pfl.wire.messages import MemberTalk

WORD_BYTES_MAX = HEADER_BYTES_MAX + HEAD_FIXED_BYTES
DENIALS = (Verdict.IGNORE,)

Enrolled = Effect | View | Halt | Drained | Parted
"""What the Peer passes on to the host, and what it looks after itself."""


class Registrar:
    """See the module's head. `start` comes first, once."""

    def __init__(self, charter: Charter, signer: Signs) -> None:
        self.signer, self.network = signer, charter.network
        self.watch = Watch(charter, signer)
        self.traffic = Traffic()
        self._asked: dict[Hashable, tuple[NodeId, bytes]] = {}
        self._askers: dict[ReplyToken, NodeId] = {}

    def start(self, event: Started, now: float) -> list[Enrolled]:
        return self._out(self.watch.start(event.restored, now, event.entropy), now)

    def fired(self, tick: Tick, now: float) -> list[Enrolled]:
        return self._out(self.watch.fired(tick, now), now)

    def heard(self, token: ReplyToken, head: Head, talk: MemberTalk, now: float) -> list[Enrolled]:
        """A request that the door let in."""
        self.traffic.received += len(head.header) + HEAD_FIXED_BYTES + HTTP_REQUEST_BYTES
        self._askers[token] = head.author
        return self._out(self.watch.asked(token, head.author, head.digest, talk.line, now), now)

    def answered(self, event: Answered, door: Door, now: float) -> list[Enrolled]:
        to, digest = self._asked.pop(event.key, (NodeId(b""), b""))
        self.traffic.received += memoryview(event.data).nbytes + HTTP_REPLY_BYTES
        if event.verdict is not Verdict.ACCEPT:
            code, detail = refusal_words(event.data)
            return self._out(self.watch.failed(event.key, code, detail, event.verdict in DENIALS, now), now)
        try:
            head, talk = door.admit_word(to, event.data)
        except Reject as refusal:
            door.refusals[refusal.code] += 1
            return self._out(self.watch.failed(event.key, "", str(refusal), False, now), now)
        return self._out(self.watch.answered(event.key, digest, talk.line, head.raw, now), now)

    def failed(self, event: SendFailed, now: float) -> list[Enrolled]:
        self._asked.pop(event.key, None)
        return self._out(self.watch.failed(event.key, "", event.reason, False, now), now)

    def at_height(self, height: int, now: float) -> list[Enrolled]:
        """The ledger is final up to here: tokens may end with it."""
        return self._out(self.watch.at_height(height, now), now)

    def part(self, now: float) -> list[Enrolled]:
        return self._out(self.watch.part(now), now)

    def ordered(self, order: Order, now: float) -> list[Enrolled]:
        """What the operator wants."""
        watch = self.watch
        match order.what:
            case "kick":
                return self._out(watch.kick(order.node, float(order.number), now), now)
            case "ban" | "unban":
                return self._out(watch.ban(order.node, order.what == "ban", now), now)
            case "drain":
                return self._out(watch.drain(now), now)
            case "say":
                return self._out(self._said(order, now), now)
            case "pause" | "resume":
                raise ValueError(f"not about members: {order.what}")

    def _said(self, order: Order, now: float) -> list[WatchEffect]:
        try:
            return self.watch.say(order.text, now)
        except RemoteError as error:
            return [Emit("order.refused", {"order": order.name, "why": str(error)})]

    def status(self) -> dict[str, Any]:
        return {**self.watch.status(), "bytes_sent": self.traffic.sent, "bytes_received": self.traffic.received}

    # -------------------------------------------------------------------------------------------- out

    def _out(self, effects: list[WatchEffect], now: float) -> list[Enrolled]:
        return [self._one(effect, now) for effect in effects]

    def _one(self, effect: WatchEffect, now: float) -> Enrolled:
        match effect:
            case Say():
                return self._say(effect, now)
            case Respond():
                return self._respond(effect)
            case Persist() | SetTimer() | Emit() | Locate() | View() | Halt() | Drained() | Parted():
                return effect

    def _say(self, say: Say, now: float) -> Send:
        parts = seal(self.signer, self.network, MemberTalk.KIND, MemberTalk(say.to, say.line).to_fields())
        self.traffic.out(parts, HTTP_REQUEST_BYTES)
        self._asked[say.key] = (say.to, head_digest(parts[0]))
        return Send(say.key, say.to, "gossip", parts, WORD_BYTES_MAX, now + say.within_s)

    def _respond(self, respond: Respond) -> Reply:
        to = self._askers.pop(respond.token)
        if respond.verdict is Verdict.ACCEPT:
            talk = MemberTalk(to, respond.line)
            parts = seal(self.signer, self.network, MemberTalk.KIND, talk.to_fields())
        else:
            parts = (refusal_bytes(respond.code, respond.detail),)
        self.traffic.out(parts, HTTP_REPLY_BYTES)
        return Reply(respond.token, respond.verdict, parts)
