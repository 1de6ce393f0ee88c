"""The Party of one machine: routes messages to its job, signs what it says, owns its feed. Knows no socket or tensor.

Between the host and the job it keeps three promises: nothing unauthentic reaches the job; nothing leaves that is not
signed; and all that one handle writes (feed entries and records, next to each other) is one commit.

With a Keeper it keeps a ledger too: parcels go to the Keeper and never to the job, what is appended to the feed is told
to it in the same handle, and the job's Stop waits until the Keeper says Leave (a node that is asked to stop does not
wait). Bytes of the ledger are counted apart from those of learning.

With a Registrar it is a member of a network that watches itself: what is said about the members goes there, the job is
told who is there (Members), and a Stop waits until the farewell is said.
"""

import json
from collections.abc import Hashable, Iterable
from dataclasses import dataclass
from math import inf
from typing import Any, Protocol

from p2pfl.core.ids import NodeId, short
from p2pfl.core.limits import CONTROL_BYTES_MAX, HTTP_REPLY_BYTES, HTTP_REQUEST_BYTES
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
    Restored,
    Send,
    SendFailed,
    Started,
    Stop,
    Stopping,
    Take,
    TimerFired,
    Verdict,
)
from p2pfl.errors import Ignore, LedgerError, Reject, RemoteError
from p2pfl.ledger.feeds import feed as feeds
from p2pfl.ledger.feeds.entry import Entry
from p2pfl.ledger.feeds.kinds import FORMAT, Opening
from p2pfl.ledger.feeds.records import ENTRY, ENTRY_KEY_BYTES, put_entry, restore
from p2pfl.ledger.feeds.shapes import KINDS
from p2pfl.membership.effects import Drained, Halt, Parted, Question, Tick, View
from p2pfl.peer.door import Door, read_refusal, refusal_bytes
from p2pfl.peer.keeper import Bell, Finalized, Keeper, KeeperEffect, Leave, Letter, Write
from p2pfl.peer.order import ABOUT_WORK, Order
from p2pfl.peer.outbox import PARCEL_BYTES_MAX
from p2pfl.peer.recovery import RECOVER
from p2pfl.peer.registrar import Enrolled, Registrar
from p2pfl.peer.request import REQUESTS_MAX, Request
from p2pfl.peer.traffic import Traffic
from p2pfl.wire.envelope import Head, Signs, chunk_digests, seal_digested
from p2pfl.wire.messages import MemberTalk, Message, Parcel
from p2pfl.wire.post import (
    Answer,
    Append,
    Final,
    Gone,
    Heard,
    JobEffect,
    JobEvent,
    Knock,
    Meet,
    Members,
    Pause,
    Post,
    Refuse,
    Whole,
)


@dataclass(frozen=True, slots=True)
class Carrying:
    """The key of a parcel under way to this neighbour."""

    to: NodeId


class RunsHere(Protocol):
    """The job as the Peer sees it."""

    def handle(self, event: JobEvent, now: float) -> list[JobEffect]: ...

    def status(self) -> dict[str, Any]: ...


class Peer:
    """A Party (core.party). `recipe` is written into the feed's first entry; without a `keeper` it has feeds only.
    `door`: for a job whose messages are of other kinds than the gossip's. Without a `registrar` nobody is watched.
    `follows`: the job hears of final heights."""

    def __init__(
        self,
        signer: Signs,
        network: bytes,
        recipe: bytes,
        neighbours: Iterable[NodeId],
        job: RunsHere,
        name: str,
        keeper: Keeper | None = None,
        door: Door | None = None,
        registrar: Registrar | None = None,
        *,
        follows: bool = False,
    ):
        self.signer, self.network, self.recipe, self.job, self.name = signer, network, recipe, job, name
        self.door = door or Door(signer.node, network, frozenset(neighbours))
        self.feed = feeds.Feed(network, signer.node)
        self.keeper, self.follows = keeper, follows
        self.registrar = registrar
        if registrar is not None:
            self.door.kinds = {**self.door.kinds, MemberTalk.KIND: MemberTalk.from_fields}
        self.traffic, self.ledger_traffic = Traffic(), Traffic()
        self._admitted: dict[ReplyToken, tuple[Head, Message]] = {}
        self._parcels: dict[ReplyToken, Head] = {}
        self._asked: dict[Hashable, NodeId] = {}
        self._written: list[Entry] = []  # to one's own feed, in this handle
        self._stop: Stop | None = None  # the job's, that waits for the ledger
        self._last: Stop | None = None  # the one that waits for the farewell
        self._drained = False
        self._view: Members | None = None  # the job has not seen it
        self._requests: dict[str, Request] = {}  # all of this run; those from `_num_written` on wait
        self._num_written = 0
        self._begun: Started | None = None  # the job has not seen it: this node may not write yet

    def handle(self, event: Event, now: float) -> list[Effect]:
        self.door.now = now
        try:
            effects = self._before_stop(self._handle(event, now), self.door.quarantine.effects())
            if begun := self._begin(now):
                effects = self._merge([*effects, *begun])
            while self.keeper is not None and self._written:
                entries, self._written = self._written, []
                effects = self._before_stop(effects, self._kept(self.keeper.wrote(entries, now), now))
            if self.keeper is not None:
                effects = self._held_back(event, effects, now)
            return self._with_members(event, effects, now) if self.registrar is not None else effects
        except LedgerError as error:  # our own disk, not a peer
            return [Stop(2, str(error))]

    def _handle(self, event: Event, now: float) -> list[Effect]:
        match event:
            case Started():
                self._begun = event
                if self.keeper is None:
                    return []
                return self._kept(self.keeper.start(event.restored, now, event.entropy), now)
            case TimerFired(key=Request() as request):
                return self._requested(request)
            case TimerFired(key=Order() as order):
                return self._ordered(order, now)
            case TimerFired(key=Tick() as tick):
                return self._enrolled(self.registrar.fired(tick, now), now) if self.registrar is not None else []
            case Answered(key=Question()) | SendFailed(key=Question()):
                return self._about_members(event, now)
            case TimerFired(key=Bell(key=name)):
                return self._kept(self.keeper.fired(name, now), now) if self.keeper is not None else []
            case Answered(key=Carrying(to=to)) | SendFailed(key=Carrying(to=to)):
                return self._carried(event, to, now)
            case Received() if event.token in self._parcels:
                return self._parcel(event, now)
            case Dropped() if self._parcels.pop(event.token, None) is not None:
                self.door.release(event.token)
                self.door.refusals[event.reason] += 1
                return []
            case Asked():
                return [Reply(event.token, Verdict.ACCEPT, (json.dumps(self.status()).encode(),))]
            case Offered():
                return self._offered(event, now)
            case Stopping() if self._begun is not None:
                return [Stop(0, event.reason)]
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
            "quarantined": self.door.quarantine.status(self.door.now),
            **self.job.status(),
            **self._ledger_status(),
            **({"membership": self.registrar.status()} if self.registrar is not None else {}),
        }

    def _ledger_status(self) -> dict[str, Any]:
        if self.keeper is None:
            return {}
        traffic = self.ledger_traffic
        return {
            "ledger": self.keeper.status(),
            "ledger_bytes_sent": traffic.sent,
            "ledger_bytes_received": traffic.received,
        }

    # -------------------------------------------------------------------------------------------- in

    def _begin(self, now: float) -> list[Effect]:
        """The feed and the job, as soon as this node may write: at once without a ledger, or if it is new."""
        event = self._begun
        if event is None or (self.keeper is not None and not self.keeper.may_write):
            return []
        self._begun = None
        return self._merge([*self._open_feed(event), *self._job(event, now), *self._write_requests()])

    def _requested(self, request: Request) -> list[Effect]:
        """Somebody at this machine wants an entry: it is written once, and not before the feed may grow.

        One whose time has not come is forgotten: it is brought again.
        """
        if self.keeper is not None and self.keeper.is_early(request):
            return []
        if len(self._requests) < REQUESTS_MAX:
            self._requests.setdefault(request.name, request)
        return [] if self._begun is not None else self._write_requests()

    def _write_requests(self) -> list[Effect]:
        effects: list[Effect] = []
        for request in list(self._requests.values())[self._num_written :]:
            effects.append(Persist(self._write(request.kind, list(request.payload))))
            effects.append(
                Emit("requested", {"request": request.name, "kind": request.kind, "id": self.feed.head.hex()})
            )
        self._num_written = len(self._requests)
        return effects

    def _write(self, kind: str, payload: list[Any]) -> tuple[Put, ...]:
        """An entry that is not the job's, in the round of the one before."""
        return self._append(Append(kind, self.feed.last.round if self.feed.last else 0, payload))

    def _open_feed(self, event: Started) -> list[Effect]:
        self.feed, entries = restore(event.restored.get(ENTRY, {}), self._own_feed(event.restored))
        if entries:
            recipe = entries[0].payload[1]
            if recipe != self.recipe:
                raise LedgerError(
                    f"the folder holds a run of recipe {_short(recipe)}, and this one is {short(self.recipe)}: "
                    "choose another folder, or the network document of that run"
                )
            return []
        return [Persist(self._append(Append("feed.open", 0, list(Opening(FORMAT, self.recipe)))))]

    def _own_feed(self, restored: Restored) -> feeds.Feed:
        """The feed to go on with: that of the last incarnation, or of the next one if a backup was restored."""
        if self.keeper is not None:
            return feeds.Feed(self.network, self.signer.node, self.keeper.recovery.incarnation)
        mine = [key for key in restored.get(ENTRY, {}) if len(key) == ENTRY_KEY_BYTES and key[:32] == self.signer.node]
        last = max((int.from_bytes(key[32:36], "big") for key in mine), default=0)
        ended = restored.get(RECOVER, {}).get(b"")
        if ended is not None:
            last = max(last, int.from_bytes(ended, "big") + 1)
        return feeds.Feed(self.network, self.signer.node, last)

    def _offered(self, event: Offered, now: float) -> list[Effect]:
        size_bytes = len(event.head) + HTTP_REQUEST_BYTES
        self.traffic.received += size_bytes
        try:
            head, message = self.door.admit(event.token, event.head)
            if isinstance(message, MemberTalk):
                self.traffic.received -= size_bytes
                assert self.registrar is not None
                return self._enrolled(self.registrar.heard(event.token, head, message, now), now)
            if self.registrar is not None:
                self._check_member(event.token, head.author, now)
            if isinstance(message, Parcel):
                self.traffic.received -= size_bytes
                self.ledger_traffic.received += size_bytes
                return self._take_parcel(event.token, head)
            if self._begun is not None:
                raise Ignore("busy", "this node is coming back and may not write yet")
        except Ignore as busy:
            return [self._reply(event.token, Verdict.BUSY, (refusal_bytes(busy.code, busy.detail),))]
        except Reject as refusal:
            return [*self._count(refusal), self._refusal(event.token, refusal)]
        self._admitted[event.token] = (head, message)
        return self._job(Knock(event.token, head, message), now)

    def _hold_against(self, token: ReplyToken, code: str) -> None:
        """The job has rejected what a neighbour signed."""
        if token in self._admitted:
            self.door.quarantine.count(self._admitted[token][0].author, code, self.door.now)

    def _check_member(self, token: ReplyToken, author: NodeId, now: float) -> None:
        """A neighbour may have been shut out since. Raises Reject."""
        assert self.registrar is not None
        try:
            self.registrar.watch.check(author)
        except Reject:
            self.door.release(token)
            raise
        self.registrar.watch.met(author, now)

    def _about_members(self, event: Answered | SendFailed, now: float) -> list[Effect]:
        assert self.registrar is not None
        if isinstance(event, Answered):
            return self._enrolled(self.registrar.answered(event, self.door, now), now)
        return self._enrolled(self.registrar.failed(event, now), now)

    def _ordered(self, order: Order, now: float) -> list[Effect]:
        """What the operator of this machine wants of the job or the watch."""
        if order.what in ABOUT_WORK:
            return self._paused(order, now)
        if self.registrar is None:
            return [Emit("order.refused", {"order": order.name, "why": "this network does not watch its members"})]
        done = Emit("ordered", {"order": order.name, "what": order.what})
        return [*self._enrolled(self.registrar.ordered(order, now), now), done]

    def _paused(self, order: Order, now: float) -> list[Effect]:
        """One that comes before the job has begun waits: it is brought again."""
        if self._begun is not None:
            return []
        until = -inf if order.what == "resume" else now + (order.number or inf)
        done = Emit("ordered", {"order": order.name, "what": order.what})
        return [*self._job(Pause(until), now), done]

    def _enrolled(self, effects: list[Enrolled], now: float) -> list[Effect]:
        """What the Registrar wants done."""
        found: list[Effect] = []
        for effect in effects:
            match effect:
                case View():
                    self._view = Members(effect.number, effect.alive, effect.departed)
                    found += self._show_view(now)
                case Halt():
                    found.append(Stop(2, effect.reason))
                case Drained():
                    self._drained = True
                    why = Stopping("drained: the others have closed their graph over this node")
                    found += self._job(why, now) if self._begun is None else [Stop(0, why.reason)]
                case Parted():
                    found += [self._last] if self._last is not None else []
                case _:
                    found.append(effect)
        return found

    def _show_view(self, now: float) -> list[Effect]:
        """To the job, once that has begun."""
        view = self._view
        if view is None or self._begun is not None:
            return []
        self._view = None
        departed, alive = len(view.departed), len(view.alive)
        return [Emit("view", {"view": view.view, "alive": alive, "departed": departed}), *self._job(view, now)]

    def _with_members(self, event: Event, effects: list[Effect], now: float) -> list[Effect]:
        """The watch begins with the node, and a Stop waits for the farewell; one that cannot go on does not."""
        assert self.registrar is not None
        if isinstance(event, Started):
            effects = [*effects, *self._enrolled(self.registrar.start(event, now), now)]
        if self.keeper is not None and self.keeper.tip.height > self.registrar.watch.admission.height:
            effects = [*effects, *self._enrolled(self.registrar.at_height(self.keeper.tip.height, now), now)]
        effects = [*effects, *self._show_view(now)]
        stop = next((effect for effect in effects if isinstance(effect, Stop)), None)
        if stop is None or stop is self._last or stop.code != 0:
            return effects
        rest = [effect for effect in effects if effect is not stop]
        if self._last is not None:
            return rest
        self._last = stop
        return [*rest, *self._enrolled(self.registrar.part(now), now)]

    def _take_parcel(self, token: ReplyToken, head: Head) -> list[Effect]:
        """Raises Reject unless a ledger is kept here, and the parcel has a body of a sound length."""
        if self.keeper is None:
            raise Reject("no-ledger", "this node keeps no ledger")
        if not 0 < head.body_len <= PARCEL_BYTES_MAX:
            raise Reject("too-long", f"expected a parcel of 1 to {PARCEL_BYTES_MAX} bytes, got {head.body_len}")
        self._parcels[token] = head
        self.door.take(token)
        return [Take(token)]

    def _parcel(self, event: Received, now: float) -> list[Effect]:
        """The whole parcel. It is answered before what it leads to is durable: its sender is promised nothing."""
        head = self._parcels.pop(event.token)
        self.ledger_traffic.received += head.body_len
        self.door.release(event.token)
        self.ledger_traffic.out((), HTTP_REPLY_BYTES)
        assert self.keeper is not None
        try:
            kept = self.keeper.heard(head.author, event.body, now)
        except Reject as refusal:
            self.door.quarantine.count(head.author, refusal.code, now)
            return [*self._count(refusal), self._refusal(event.token, refusal)]
        return [Reply(event.token, Verdict.IGNORE), *self._kept(kept, now)]

    def _carried(self, event: Answered | SendFailed, to: NodeId, now: float) -> list[Effect]:
        assert self.keeper is not None
        if isinstance(event, Answered):
            self.ledger_traffic.received += memoryview(event.data).nbytes + HTTP_REPLY_BYTES
        good = isinstance(event, Answered) and event.verdict in (Verdict.IGNORE, Verdict.ACCEPT)
        return self._kept((self.keeper.delivered if good else self.keeper.failed)(to, now), now)

    def _answered(self, event: Answered, now: float) -> list[Effect]:
        to = self._asked.pop(event.key, None)
        if to is None:
            return []
        self.traffic.received += memoryview(event.data).nbytes + HTTP_REPLY_BYTES
        if event.verdict is not Verdict.ACCEPT:
            code, _, after_s = read_refusal(event.data)
            return self._job(Heard(event.key, event.verdict, code=code, after_s=after_s), now)
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
        found = [self._out(effect) for effect in effects]
        return self._merge([effect for effect in found if effect is not None])

    def _out(self, effect: JobEffect) -> Effect | None:
        match effect:
            case Post():
                return self._send(effect)
            case Answer():
                parts = self._seal(effect.message, effect.body, effect.chunks)
                return self._reply(effect.token, Verdict.ACCEPT, parts)
            case Refuse():
                if effect.verdict is Verdict.REJECT:
                    self.door.refusals[effect.code] += 1
                    self._hold_against(effect.token, effect.code)
                data = refusal_bytes(effect.code, effect.detail, effect.after_s)
                return self._reply(effect.token, effect.verdict, (data,))
            case Append():
                return Persist(self._append(effect))
            case Meet():
                self.door.neighbours = frozenset(effect.neighbours)
                if self.keeper is not None:
                    self.keeper.meet(effect.neighbours)
                return None
            case Take():
                self.door.take(effect.token)
                return effect
            case Emit() if effect.name in ("round", "evaluation", "finished"):
                return Emit(effect.name, {**effect.fields, **self.traffic.fields()})
            case _:
                return effect

    def _kept(self, effects: list[KeeperEffect], now: float) -> list[Effect]:
        """What the Keeper wants done."""
        found: list[Effect] = []
        for effect in effects:
            match effect:
                case Letter():
                    found.append(self._carry(effect, now))
                case Write():
                    found += [*self._begin(now), Persist(self._write(effect.kind, effect.payload))]
                case Finalized():
                    found += self._finalized(effect, now)
                case Leave():
                    assert self._stop is not None
                    found.append(self._stop)
                case Emit() if effect.name in ("ledger.final", "ledger.left"):
                    found.append(Emit(effect.name, {**effect.fields, **self._ledger_fields()}))
                case _:
                    found.append(effect)
        return found

    def _finalized(self, effect: Finalized, now: float) -> list[Effect]:
        """Told to a job that follows the ledger, once it has begun."""
        if not self.follows or self._begun is not None:
            return []
        return self._job(Final(effect.height, effect.state, effect.entries), now)

    def _carry(self, letter: Letter, now: float) -> Send:
        body = (letter.body,)
        parts = self._seal(Parcel(letter.to), body, chunk_digests(body))
        self.ledger_traffic.out(parts, HTTP_REQUEST_BYTES)
        return Send(Carrying(letter.to), letter.to, "gossip", parts, CONTROL_BYTES_MAX, now + letter.within_s)

    def _held_back(self, event: Event, effects: list[Effect], now: float) -> list[Effect]:
        """The job's Stop waits for the ledger, unless the node is asked to stop or cannot go on."""
        stop = next((effect for effect in effects if isinstance(effect, Stop)), None)
        if stop is None or stop.code != 0 or isinstance(event, Stopping) or self._drained:
            return effects
        if stop in (self._stop, self._last):
            return effects
        assert self.keeper is not None
        self._stop = stop
        rest = [effect for effect in effects if effect is not stop]
        return [*rest, *self._kept(self.keeper.leave(now), now)]

    @staticmethod
    def _before_stop(effects: list[Effect], more: list[Effect]) -> list[Effect]:
        stops = [effect for effect in effects if isinstance(effect, Stop)]
        return [*(effect for effect in effects if not isinstance(effect, Stop)), *more, *stops]

    def _send(self, post: Post) -> Send:
        parts = self._seal(post.message, post.body, post.chunks)
        self.traffic.out(parts, HTTP_REQUEST_BYTES)
        self._asked[post.key] = post.to
        path = "exchange" if post.body else "gossip"
        return Send(post.key, post.to, path, parts, post.reply_limit, post.deadline)  # type: ignore[arg-type]

    def _seal(self, message: Message | Parcel, body: Parts, chunks: bytes) -> Parts:
        return seal_digested(self.signer, self.network, message.KIND, message.to_fields(), body, chunks)

    def _refusal(self, token: ReplyToken, refusal: Reject) -> Effect:
        return self._reply(token, Verdict.REJECT, (refusal_bytes(refusal.code, refusal.detail),))

    def _reply(self, token: ReplyToken, verdict: Verdict, parts: Parts) -> Reply:
        self.door.release(token)
        self._admitted.pop(token, None)
        self.traffic.out(parts, HTTP_REPLY_BYTES)
        return Reply(token, verdict, parts)

    def _append(self, effect: Append) -> tuple[Put, ...]:
        if effect.kind in KINDS and KINDS[effect.kind].many:
            self.feed, entries = feeds.append_rows(self.feed, self.signer, effect.round, effect.kind, effect.payload)
        else:
            self.feed, entry = feeds.append(self.feed, self.signer, effect.round, effect.kind, effect.payload)
            entries = [entry]
        if self.keeper is not None:
            self._written += entries
        return tuple(put_entry(entry) for entry in entries)

    def _ledger_fields(self) -> dict[str, int]:
        return {"ledger_bytes_sent": self.ledger_traffic.sent, "ledger_bytes_received": self.ledger_traffic.received}

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
