"""The Party of one machine: routes messages to its job, signs what it says, owns its feed. Knows no socket or tensor.

Between the host and the job it keeps three promises: nothing unauthentic reaches the job; nothing leaves that is not
signed; and all that one handle writes (feed entries and records, next to each other) is one commit.
"""

import json
from collections.abc import Hashable, Iterable
from dataclasses import dataclass
from typing import Any, Protocol

from p2pfl.core.ids import NodeId, short
from p2pfl.core.limits import HTTP_REPLY_BYTES, HTTP_REQUEST_BYTES
from p2pfl.core.party import (
    Answered,
    Asked,
    Dropped,
    Effect,
    Emit,
    Event,
    Offered,
    Parts,
    Persist,
    Put,
    Received,
    Reply,
    ReplyToken,
    Send,
    SendFailed,
    Started,
    Stop,
    Take,
    Verdict,
)
from p2pfl.errors import Ignore, LedgerError, Reject, RemoteError
from p2pfl.ledger import feed as feeds
from p2pfl.ledger.kinds import FORMAT, KINDS, Opening
from p2pfl.ledger.records import ENTRY, put_entry, restore
from p2pfl.peer.door import Door, refusal_bytes, refusal_code
from p2pfl.wire.envelope import Head, Signs, seal_digested
from p2pfl.wire.messages import Message
from p2pfl.wire.post import Answer, Append, Gone, Heard, JobEffect, JobEvent, Knock, Post, Refuse, Whole


class RunsHere(Protocol):
    """The job as the Peer sees it."""

    def handle(self, event: JobEvent, now: float) -> list[JobEffect]: ...

    def status(self) -> dict[str, Any]: ...


@dataclass(eq=False)
class Traffic:
    """Bytes on the wire as this node sent and got them, HTTP headers counted at their usual length."""

    sent: int = 0
    received: int = 0
    bodies_sent: int = 0
    body_bytes_sent: int = 0

    def out(self, parts: Parts, overhead: int) -> None:
        sizes = [memoryview(part).nbytes for part in parts]
        self.sent += sum(sizes) + overhead
        if len(sizes) > 1:
            self.bodies_sent += 1
            self.body_bytes_sent += sum(sizes[1:])


class Peer:
    """A Party (core.party). `recipe` is written into the feed's first entry."""

    def __init__(
        self, signer: Signs, network: bytes, recipe: bytes, neighbours: Iterable[NodeId], job: RunsHere, name: str
    ):
        self.signer, self.network, self.recipe, self.job, self.name = signer, network, recipe, job, name
        self.door = Door(signer.node, network, frozenset(neighbours))
        self.feed = feeds.Feed(network, signer.node)
        self.traffic = Traffic()
        self._admitted: dict[ReplyToken, tuple[Head, Message]] = {}
        self._asked: dict[Hashable, NodeId] = {}

    def handle(self, event: Event, now: float) -> list[Effect]:
        try:
            match event:
                case Started():
                    first = self._open_feed(event)
                    return self._merge([*first, *self._job(event, now)])
                case Asked():
                    return [Reply(event.token, Verdict.ACCEPT, (json.dumps(self.status()).encode(),))]
                case Offered():
                    return self._offered(event, now)
                case Received():
                    head, message = self._admitted[event.token]
                    self.traffic.received += head.body_len
                    return self._job(Whole(event.token, head, message, event.body), now)
                case Dropped():
                    self.door.release(event.token)
                    self._admitted.pop(event.token, None)
                    self.door.refusals[event.reason] += 1
                    return self._job(Gone(event.token), now)
                case Answered():
                    return self._answered(event, now)
                case SendFailed():
                    self._asked.pop(event.key, None)
                    return self._job(event, now)
                case _:
                    return self._job(event, now)
        except LedgerError as error:  # our own disk, not a peer
            return [Stop(2, str(error))]

    def status(self) -> dict[str, Any]:
        """What `GET /v1/status` tells."""
        return {
            "name": self.name,
            "node": self.signer.node.hex(),
            "network": self.network.hex(),
            "feed": {"seq": self.feed.next_seq, "head": self.feed.head.hex()},
            "bytes_sent": self.traffic.sent,
            "bytes_received": self.traffic.received,
            "refused": dict(self.door.refusals),
            **self.job.status(),
        }

    # -------------------------------------------------------------------------------------------- in

    def _open_feed(self, event: Started) -> list[Effect]:
        self.feed, entries = restore(event.restored.get(ENTRY, {}), self.feed)
        if entries:
            recipe = entries[0].payload[1]
            if recipe != self.recipe:
                raise LedgerError(
                    f"the folder holds a run of recipe {_short(recipe)}, and this one is {short(self.recipe)}: "
                    "choose another folder, or the network document of that run"
                )
            return []
        return [Persist(self._append(Append("feed.open", 0, list(Opening(FORMAT, self.recipe)))))]

    def _offered(self, event: Offered, now: float) -> list[Effect]:
        self.traffic.received += len(event.head) + HTTP_REQUEST_BYTES
        try:
            head, message = self.door.admit(event.token, event.head)
        except Ignore as busy:
            return [self._reply(event.token, Verdict.BUSY, (refusal_bytes(busy.code, busy.detail),))]
        except Reject as refusal:
            return [*self._count(refusal), self._refusal(event.token, refusal)]
        self._admitted[event.token] = (head, message)
        return self._job(Knock(event.token, head, message), now)

    def _answered(self, event: Answered, now: float) -> list[Effect]:
        to = self._asked.pop(event.key, None)
        if to is None:
            return []
        self.traffic.received += memoryview(event.data).nbytes + HTTP_REPLY_BYTES
        if event.verdict is not Verdict.ACCEPT:
            return self._job(Heard(event.key, event.verdict, code=refusal_code(event.data)), now)
        try:
            head, message, body = self.door.admit_reply(to, event.data)
        except Reject as refusal:
            failed = SendFailed(event.key, f"the reply was refused ({refusal})")
            return [*self._count(refusal), *self._job(failed, now)]
        return self._job(Heard(event.key, event.verdict, head, message, body), now)

    def _count(self, refusal: RemoteError) -> list[Effect]:
        self.door.refusals[refusal.code] += 1
        return [Emit("refused", {"code": refusal.code, "detail": refusal.detail})]

    # -------------------------------------------------------------------------------------------- out

    def _job(self, event: JobEvent, now: float) -> list[Effect]:
        return self._translate(self.job.handle(event, now))

    def _translate(self, effects: list[JobEffect]) -> list[Effect]:
        return self._merge([self._out(effect) for effect in effects])

    def _out(self, effect: JobEffect) -> Effect:
        match effect:
            case Post():
                return self._send(effect)
            case Answer():
                parts = self._seal(effect.message, effect.body, effect.chunks)
                return self._reply(effect.token, Verdict.ACCEPT, parts)
            case Refuse():
                if effect.verdict is Verdict.REJECT:
                    self.door.refusals[effect.code] += 1
                return self._reply(effect.token, effect.verdict, (refusal_bytes(effect.code, effect.detail),))
            case Append():
                return Persist(self._append(effect))
            case Take():
                self.door.take(effect.token)
                return effect
            case Emit() if effect.name in ("round", "finished"):
                return Emit(effect.name, {**effect.fields, **self._traffic_fields()})
            case _:
                return effect

    def _send(self, post: Post) -> Send:
        parts = self._seal(post.message, post.body, post.chunks)
        self.traffic.out(parts, HTTP_REQUEST_BYTES)
        self._asked[post.key] = post.to
        path = "exchange" if post.body else "gossip"
        return Send(post.key, post.to, path, parts, post.reply_limit, post.deadline)  # type: ignore[arg-type]

    def _seal(self, message: Message, body: Parts, chunks: bytes) -> Parts:
        return seal_digested(self.signer, self.network, message.KIND, message.to_fields(), body, chunks)

    def _refusal(self, token: ReplyToken, refusal: Reject) -> Effect:
        return self._reply(token, Verdict.REJECT, (refusal_bytes(refusal.code, refusal.detail),))

    def _reply(self, token: ReplyToken, verdict: Verdict, parts: Parts) -> Reply:
        self.door.release(token)
        self._admitted.pop(token, None)
        self.traffic.out(parts, HTTP_REPLY_BYTES)
        return Reply(token, verdict, parts)

    def _append(self, effect: Append) -> tuple[Put, ...]:
        if KINDS[effect.kind].many:
            self.feed, entries = feeds.append_rows(self.feed, self.signer, effect.round, effect.kind, effect.payload)
        else:
            self.feed, entry = feeds.append(self.feed, self.signer, effect.round, effect.kind, effect.payload)
            entries = [entry]
        return tuple(put_entry(entry) for entry in entries)

    def _traffic_fields(self) -> dict[str, int]:
        t = self.traffic
        return {
            "bytes_sent": t.sent,
            "bytes_received": t.received,
            "bodies_sent": t.bodies_sent,
            "body_bytes_sent": t.body_bytes_sent,
        }

    @staticmethod
    def _merge(effects: list[Effect]) -> list[Effect]:
        """Persists that stand next to each other become one commit."""
        merged: list[Effect] = []
        for effect in effects:
            if isinstance(effect, Persist) and merged and isinstance(merged[-1], Persist):
                merged[-1] = Persist(merged[-1].puts + effect.puts)
            else:
                merged.append(effect)
        return merged


def _short(value: object) -> str:
    return short(value) if isinstance(value, bytes) else "unknown"
