"""Pairwise exchange over the edges of the graph. Knows positions, retries and whose turn it is; tensors are the work's.

Async pace: nobody waits. A node asks the neighbour it exchanged with longest ago when its own steps are done and
nothing of its own is in flight; it serves every request at once, also while waiting. With three neighbours or more,
steps are counted since the last exchange in any role ("lazy"), with fewer since its own last start. Where the graph
changes with time, "longest ago" is in units of how seldom the schedule has the edge: no round numbers agree there.

Lockstep pace: in round t the edges of step t of the schedule (a colour of the graph, or a phase of a changing one)
exchange, the end with the smaller id asks, the other holds the request back until its own steps are done. The result
does not depend on timing; used to compare hosts and engines.

A node whose own request is out does not train on for more than `LEAD` phases without an exchange, and for no more than
`LEAD_FAILED` once an attempt has failed: past that, local steps are worth less than waiting (docs/log.md). The wait
ends with the answer, or when the attempts are used up.

An attempt that fails is repeated with the same bytes after a growing pause. After `ATTEMPTS` failures the node turns
to other neighbours and comes back to this edge later, with the same bytes again, however old they have become: the size
check bounds what they can do, and giving them up could break the sum of the drift corrections (see edge.py).
"""

from collections.abc import Callable
from dataclasses import dataclass
from math import inf
from typing import Any

import torch

from p2pfl.compress import Codec
from p2pfl.core.ids import NodeId, short
from p2pfl.core.noise import derive
from p2pfl.core.party import Buffer, ReplyToken, Take, Verdict
from p2pfl.core.vectors import ParamSchema
from p2pfl.errors import Reject
from p2pfl.horizontal.averages import Stated
from p2pfl.horizontal.desk import Desk, Procedure
from p2pfl.horizontal.edge import Edge, Opening, Place, Position, Saying, has_next, next_epoch, said_of
from p2pfl.horizontal.journal import Journal
from p2pfl.horizontal.local import Local
from p2pfl.horizontal.neighbourhood import Neighbourhood
from p2pfl.horizontal.patience import ATTEMPTS, Patience
from p2pfl.horizontal.recipe import Recipe
from p2pfl.horizontal.work import (
    Applied,
    Apply,
    Begin,
    Begun,
    Encode,
    Encoded,
    Install,
    body_bytes_max,
    body_digest,
    check_sections,
)
from p2pfl.mixing.pairwise import Pairwise, radius_of
from p2pfl.mixing.reference import Reference, outgrown
from p2pfl.wire.envelope import HEAD_BYTES_MAX, Head
from p2pfl.wire.messages import PHASE_MIN, Message, Snapshot, Update
from p2pfl.wire.messages import Edge as EdgeState
from p2pfl.wire.post import Answer, Gone, Heard, Knock, Post, Refuse, Whole

LEAD = 3
LEAD_FAILED = 1

MISSED_LOG2_MAX = 3
"""Each time in a row that a lockstep partner does not come it is awaited half as long, so many times."""


@dataclass(frozen=True)
class Setting:
    """What the exchange needs of the job's recipe and wiring."""

    recipe: Recipe
    nb: Neighbourhood
    rule: Pairwise
    codec: Codec
    snapshot_codec: Codec
    schema: ParamSchema
    lr_at: Callable[[int], float]
    timeout_s: float


class Pairs:
    """The exchange of a `needs = "pair"` rule. `proceed` is called when a lockstep round's exchange is over."""

    def __init__(self, setting: Setting, desk: Desk, local: Local, journal: Journal, proceed: Callable[[], None]):
        self.setting, self.desk, self.local, self.journal = setting, desk, local, journal
        self.proceed = proceed
        self.edges: dict[NodeId, Edge] = {}
        self.in_flight: NodeId | None = None
        self.patience = Patience(setting.timeout_s, body_bytes_max(setting.codec, setting.schema))
        self.resting: set[NodeId] = set()  # whose next attempt waits for its timer
        self.last_turn: dict[NodeId, int] = {}
        self.turns = 0
        self.parked: dict[NodeId, Knock] = {}
        self.awaited: NodeId | None = None  # lockstep: whom this round's exchange is with, while it is due
        self.missed: dict[NodeId, int] = {}  # lockstep: how often in a row a partner did not come
        self.paused = False
        self.bounded = 0
        self.refused = 0
        self.closing = 0  # exchanges per edge after the last round (async)
        self.blank = False  # nothing of this node's past is known: it takes over what its neighbours hold

    def begin(self, reference: Reference) -> None:
        """All edges at their first position: the common starting model, which costs no byte."""
        digest = reference.digest()
        for peer in self.setting.nb.neighbours:
            self.edges[peer] = Edge(peer, reference, digest)

    @property
    def num_reachable(self) -> int:
        """Neighbours whose last attempts were not all in vain."""
        return sum(self.patience.reachable(peer) for peer in self.edges)

    # -------------------------------------------------------------------------------------------- when to exchange

    def trained(self) -> bool:
        """A local phase has ended. Returns whether the next one may begin at once."""
        if self.setting.recipe.mode == "async":
            self._maybe_ask()
            self.paused = self.local.since_any >= self._lead() * self.local.phase_steps
            return not self.paused
        partner = self.setting.nb.partner(self.local.round - 1 + self.local.extra)
        if partner is None:
            return True
        self.awaited = partner
        missed = min(self.missed.get(partner, 0), MISSED_LOG2_MAX)
        self.desk.timer(("patience", self.local.round), 4 * self.setting.timeout_s / 2**missed)
        if self.setting.nb.me < partner:
            self._ask(partner)
        elif partner in self.parked:
            knock = self.parked.pop(partner)
            self._admit_update(knock, self.edges[partner])
        return False

    def _lead(self) -> float:
        """How many phases without an exchange are worth training: any number, while nothing is asked."""
        if self.in_flight is None:
            return inf
        return LEAD_FAILED if self.patience.failures(self.in_flight) else LEAD

    def overdue(self, round_: int) -> None:
        """Lockstep: the partner of that round did not come."""
        if self.awaited is not None and round_ == self.local.round:
            self.missed[self.awaited] = self.missed.get(self.awaited, 0) + 1
            self.desk.emit("late", peer=short(self.awaited), round=round_)
            self._over()

    def settle(self) -> bool:
        """At the end: whether nothing that I said is still unanswered by a neighbour that can be reached."""
        if self.in_flight is not None or not self.desk.idle:
            return False
        owed = [
            peer
            for peer, edge in self.edges.items()
            if (edge.requested or edge.closed < self.closing) and self.patience.failures(peer) < 4 * ATTEMPTS
        ]
        if owed:
            self._ask(owed[0])
        return not owed

    def _maybe_ask(self) -> None:
        if self.in_flight is not None or self.local.finished:
            return
        assert self.local.pair is not None
        needed = self.setting.rule.phase_steps(self.local.pair, self.local.phase_steps)
        lazy = len(self.edges) >= 3
        since = self.local.since_any if lazy else self.local.since_own
        if since < needed:
            return
        free = [p for p in self.edges if self.patience.may_ask(p, self.desk.now)]
        if free:
            self._ask(min(free, key=lambda p: (self._due(p), derive(self.desk.key, "tie", p))))

    def _due(self, peer: NodeId) -> float:
        """The exchange, counted over all edges, by which it is this neighbour's turn again."""
        return self.last_turn.get(peer, -1) + self.setting.nb.intervals.get(peer, 0.0)

    def _turn(self, peer: NodeId) -> None:
        self.turns += 1
        self.last_turn[peer] = self.turns

    # -------------------------------------------------------------------------------------------- asking

    def _ask(self, peer: NodeId) -> None:
        self.in_flight = peer
        self.resting.discard(peer)
        self.local.since_own = 0.0
        self._turn(peer)
        self.desk.enqueue(lambda: self._request(self.edges[peer]))

    def _request(self, edge: Edge) -> Procedure:
        if self.in_flight != edge.peer:
            return
        if not edge.requested and (edge.due or outgrown(self.local.x, edge.reference, self.setting.schema)):
            if self.setting.nb.me > edge.peer:
                self._post_want(edge)
            elif edge.settled:
                yield from self._renew(edge, edge.epoch, None, "outgrown")
                return
        if edge.pending is None:
            yield from self._say(edge, answer=False, receipt=edge.last_heard)
        if not edge.requested:
            edge.requested = True
            self.desk.persist(self.journal.said(edge))
        self._post(edge)

    def _post(self, edge: Edge) -> None:
        saying = edge.pending
        assert saying is not None
        self.desk.do(
            Post(
                key=("ask", edge.peer, edge.epoch, edge.seq),
                to=edge.peer,
                message=saying.message,
                body=(saying.body,),
                chunks=saying.chunks,
                reply_limit=self._reply_limit(),
                deadline=self.patience.ask(edge.peer, self.desk.now),
            )
        )

    def _reply_limit(self) -> int:
        codecs = (self.setting.codec, self.setting.snapshot_codec)
        return HEAD_BYTES_MAX + max(body_bytes_max(codec, self.setting.schema) for codec in codecs)

    def _say(self, edge: Edge, *, answer: bool, receipt: bytes) -> Procedure:
        """Encode my half for this position; the edge holds it from then on."""
        pair = self.local.pair
        assert pair is not None
        key = derive(self.desk.key, "codec", edge.peer, edge.epoch, edge.seq)
        work, damp, averages = self.local.work, float(pair.damp), self.local.averages.stated()
        said_work = max(work - self.local.work_mark, 0.0)
        encoded: Encoded = yield Encode(edge, self.local.x, edge.reference, key, damp)
        norms = [e.norm for e in self.edges.values() if e.norm is not None]
        phase = max(self.setting.lr_at(self.local.round) * self.local.phase_steps, PHASE_MIN)
        message = Update(
            recipe=self.setting.recipe.digest,
            to=edge.peer,
            epoch=edge.epoch,
            seq=edge.seq,
            averages=averages,
            reference=edge.digest,
            answer=answer,
            receipt=receipt,
            norm=encoded.norm,
            reach=self.setting.rule.reach(encoded.norm, norms),
            work=float(said_work),
            phase=float(phase),
            tau=self._radius(),
            damp=damp,
            sections=encoded.sections,
        )
        edge.say(Saying(message, encoded.body, encoded.chunks, said_of(message, encoded.q)))
        edge.work_said = work

    def _radius(self) -> float:
        nb = self.setting.nb
        if not self.setting.rule.clips(len(nb.neighbours), nb.degree_median):
            return inf
        return radius_of([e.distance for e in self.edges.values() if e.distance is not None])

    # -------------------------------------------------------------------------------------------- what came back

    def heard(self, event: Heard) -> None:
        key: Any = event.key
        match key:
            case ("ask", peer, epoch, seq):
                edge = self.edges[peer]
                if event.verdict is Verdict.ACCEPT and event.message is not None:
                    self.patience.answered(peer, self.desk.now)
                    self._heard_answer(edge, event, (epoch, seq))
                elif self._is_open(edge, (epoch, seq)):
                    self._heard_refusal(edge, event)
            case ("want", peer):
                if isinstance(event.message, Snapshot) and event.head is not None:
                    self._install(self.edges[peer], event.message, event.head, event.body, None, None)
            case _:
                pass  # a snapshot of mine was taken or not: the next update on the edge will tell

    def _is_open(self, edge: Edge, asked: Position | None) -> bool:
        """Whether I still wait for the answer to what I asked at that position; if not, its answer tells nothing."""
        return asked == (edge.epoch, edge.seq) and edge.requested and self.in_flight == edge.peer

    def _heard_answer(self, edge: Edge, event: Heard, asked: Position) -> None:
        message, head = event.message, event.head
        assert head is not None
        match message:
            case Update():
                self.desk.enqueue(lambda: self._hear(edge, message, head, event.body, asked))
            case Snapshot():
                self._install(edge, message, head, event.body, None, asked)
            # "want": it missed an epoch, or our references differ. "ahead": it stands where I have been, so I was
            # rolled back. A node that has turned to others meanwhile concludes the same.
            case EdgeState(state="want" | "ahead") if edge.requested and asked == (edge.epoch, edge.seq):
                self._begin_epoch(edge, message.epoch, None, message.state)
            case _ if self._is_open(edge, asked):
                self._again(edge, "unexpected answer")

    def _hear(self, edge: Edge, update: Update, head: Head, body: Buffer, asked: Position) -> Procedure:
        place = edge.place(update, head.chunks)
        try:
            check_sections(self.setting.codec, update.sections, len(body), self.setting.schema)
        except Reject as refusal:
            self._rejected(edge, refusal, self._is_open(edge, asked))
            return
        if place is Place.APPLY and edge.requested:
            yield from self._apply(edge, update, head, body, None)
        elif place is Place.RENEW:
            yield from self._renew(edge, max(edge.epoch, update.epoch), None, "answer elsewhere")
        elif self._is_open(edge, asked):  # no honest node answers so
            self._again(edge, "unexpected answer")
        # else: applied already, as a request that crossed mine

    def _heard_refusal(self, edge: Edge, event: Heard) -> None:
        if event.verdict is Verdict.REJECT:
            self.desk.emit("refused_by", peer=short(edge.peer), code=event.code)
            self.patience.refused(edge.peer)
        elif event.code == "busy":
            self.patience.busy(edge.peer)
        self._again(edge, event.code)

    def failed(self, key: Any, reason: str) -> None:
        """One attempt came to nothing."""
        match key:
            case ("ask", peer, epoch, seq):
                edge = self.edges[peer]
                if self._is_open(edge, (epoch, seq)):
                    self._again(edge, reason)

    def _again(self, edge: Edge, reason: str) -> None:
        """Repeat after a pause, or turn to somebody else for a while."""
        peer = edge.peer
        if self.in_flight != peer:
            return
        count = self.patience.failed(peer)
        pause = self.patience.pause_s(peer) * self.desk.jitter(peer, edge.seq, count)
        patient = self.setting.recipe.mode == "lockstep" and self.awaited == peer
        if count % ATTEMPTS == 0 and not patient:
            self.desk.emit("unreachable", peer=short(peer), reason=reason, attempts=count)
            self.patience.leave(peer, self.desk.now + pause)
            self.in_flight = None
            self._maybe_ask()
            self._resume()
        else:
            self.resting.add(peer)
            self.desk.timer(("retry", peer), pause)

    def retry(self, peer: NodeId) -> None:
        """The pause is over, unless something else has ended it: then an attempt is under way."""
        if self.in_flight == peer and peer in self.resting:
            self.resting.discard(peer)
            self.desk.enqueue(lambda: self._request(self.edges[peer]))

    # -------------------------------------------------------------------------------------------- being asked

    def knock(self, event: Knock) -> None:
        edge = self.edges[event.head.author]
        message = event.message
        try:
            match message:
                case Update():
                    check_sections(self.setting.codec, message.sections, event.head.body_len, self.setting.schema)
                    self._admit_update(event, edge)
                case Snapshot():
                    self._admit_snapshot(event, edge, message)
                case EdgeState(state="want"):
                    self._wanted(edge, message, event.token)
                case _:
                    raise Reject("kind", f"a {message.KIND} is not a request")
        except Reject as refusal:
            self.desk.do(Refuse(event.token, Verdict.REJECT, refusal.code, refusal.detail))

    def _admit_update(self, knock: Knock, edge: Edge) -> None:
        """On the header alone: only what may be applied is read further."""
        assert isinstance(knock.message, Update)
        place = edge.place(knock.message, knock.head.chunks)
        if place is not Place.APPLY:
            self.desk.enqueue(lambda: self._late(edge, knock))
        elif self._too_early(knock):
            before = self.parked.pop(edge.peer, None)
            if before is not None:
                self.desk.do(Refuse(before.token, Verdict.IGNORE, "replaced"))
            self.parked[edge.peer] = knock
        else:
            self.desk.do(Take(knock.token))

    def _late(self, edge: Edge, knock: Knock) -> Procedure:
        """In its turn, and so looked at again: the edge may have moved since the knock."""
        assert isinstance(knock.message, Update)
        place = edge.place(knock.message, knock.head.chunks)
        if place is Place.APPLY:
            self._admit_update(knock, edge)
        else:
            yield from self._tell(edge, place, knock.message, knock.token)

    def _too_early(self, knock: Knock) -> bool:
        """Lockstep: my own steps of this round are not done, or this round is somebody else's turn."""
        if self.setting.recipe.mode == "async" or (self.local.finished and self.awaited is None):
            return False
        return self.awaited != knock.head.author

    def _admit_snapshot(self, knock: Knock, edge: Edge, message: Snapshot) -> None:
        if edge.peer > self.setting.nb.me:
            raise Reject("not-yours", "only the end with the smaller id begins an epoch")
        check_sections(self.setting.snapshot_codec, message.sections, knock.head.body_len, self.setting.schema)
        if message.epoch > edge.epoch:
            self.desk.do(Take(knock.token))
        else:
            self._answer_state(edge, "have" if message.epoch == edge.epoch else "ahead", knock.token)

    def whole(self, event: Whole) -> None:
        edge, message = self.edges[event.head.author], event.message
        if isinstance(message, Update):
            self.desk.enqueue(lambda: self._serve(edge, event))
        elif isinstance(message, Snapshot):
            self._install(edge, message, event.head, event.body, event.token, None)

    def gone(self, event: Gone) -> None:
        self.parked = {p: k for p, k in self.parked.items() if k.token != event.token}

    def _serve(self, edge: Edge, event: Whole) -> Procedure:
        update = event.message
        assert isinstance(update, Update)
        place = edge.place(update, event.head.chunks)
        if place is not Place.APPLY:
            yield from self._tell(edge, place, update, event.token)
            return
        if edge.pending is None:
            yield from self._say(edge, answer=True, receipt=body_digest(event.head.chunks))
        yield from self._apply(edge, update, event.head, event.body, event.token)

    def _tell(self, edge: Edge, place: Place, update: Message, token: ReplyToken) -> Procedure:
        """Answer an update that is not the other half of the present exchange."""
        assert isinstance(update, Update)
        match place:
            case Place.REPEAT if edge.last is not None:
                self.desk.persist()  # the step it belongs to may still be on its way to the disk
                self.desk.do(Answer(token, edge.last.message, (edge.last.body,), edge.last.chunks))
            case Place.RENEW:
                yield from self._renew(edge, max(edge.epoch, update.epoch), token, "request elsewhere")
            case Place.BEHIND if edge.opening is not None:
                self._send_opening(edge, token)
            case Place.BEHIND:
                self._answer_state(edge, "ahead", token)
            case _:
                self.desk.do(Refuse(token, Verdict.IGNORE, "wait"))

    def _answer_state(self, edge: Edge, state: str, token: ReplyToken) -> None:
        message = EdgeState(self.setting.recipe.digest, edge.peer, state, edge.epoch, edge.seq)
        self.desk.do(Answer(token, message))

    # -------------------------------------------------------------------------------------------- applying

    def _apply(self, edge: Edge, update: Update, head: Head, body: Buffer, token: ReplyToken | None) -> Procedure:
        """Both halves are here: mix, move the edge, write it down, then (and only then) answer."""
        mine, pair = edge.pending, self.local.pair
        assert mine is not None
        assert pair is not None
        applied: Applied | Reject = yield Apply(
            edge,
            self.local.x,
            pair,
            edge.reference,
            mine.said,
            said_of(update, torch.empty(0)),
            update.sections,
            body,
            head.chunks if token is None else None,
        )
        if isinstance(applied, Reject):
            if not edge.requested:
                edge.pending = None  # it has not left, so it need not be kept
            if token is not None:
                self.desk.do(Refuse(token, Verdict.REJECT, applied.code, applied.detail))
            self._rejected(edge, applied, token is None)
            return
        crossed = edge.requested
        receipt = self.journal.receipt(edge, update, head, len(body))
        said = () if crossed else (self.journal.said(edge),)  # numbered before `done`: so they are repeated
        done = self.journal.done(edge, update, bytes(body))
        self.journal.reveal(edge)
        edge.step(applied.reference, applied.digest, body_digest(head.chunks))
        edge.answered = token is None
        edge.distance, edge.norm = float(applied.mixed.distance), mine.message.norm
        self.local.move(applied.mixed.move, applied.mixed.state, edge.work_said, self.desk.now)
        self.local.settle(
            self.local.averages.met(Stated(*mine.message.averages), Stated(*update.averages), self.local.rounds)
        )
        self.bounded += bool(applied.mixed.bounded)
        self.blank = False
        edge.closed += self.local.finished
        self.missed.pop(edge.peer, None)
        self._turn(edge.peer)
        self._arrived(edge.peer)
        if token is None:
            self.desk.defer(*said, done, receipt)
        else:
            self.desk.persist(*said, done, receipt)
            if crossed:
                self.desk.do(Refuse(token, Verdict.IGNORE, "crossed"))
            else:
                self.desk.do(Answer(token, mine.message, (mine.body,), mine.chunks))
        if self.awaited == edge.peer:
            self._over()
        else:
            self._maybe_ask()
            self._resume()

    def _resume(self) -> None:
        """Train on, if training waits for an exchange."""
        if self.paused:
            self.paused = False
            self.proceed()

    def _arrived(self, peer: NodeId) -> None:
        self.patience.arrived(peer)
        if self.in_flight == peer:
            self.in_flight = None

    def _over(self) -> None:
        """Lockstep: this round's exchange is done, or given up."""
        if self.in_flight == self.awaited:
            self.in_flight = None
        self.awaited = None
        self.proceed()

    def _rejected(self, edge: Edge, refusal: Reject, answer: bool) -> None:
        """What the other end said is not what it must be. Its fault; counted, and nothing has changed.

        answer: it was the answer to an attempt of mine, which has come to nothing by this.
        """
        self.refused += 1
        self.desk.emit("rejected", peer=short(edge.peer), code=refusal.code)
        if answer:
            self._again(edge, refusal.code)

    # -------------------------------------------------------------------------------------------- new epochs

    def _wanted(self, edge: Edge, message: EdgeState, token: ReplyToken) -> None:
        """The end with the larger id asks for a new epoch. If only the model is the reason, an exchange may come first;
        if the references differ, that exchange will tell.
        """
        if message.epoch != edge.epoch:
            self._begin_epoch(edge, message.epoch, token, "wanted")
            return
        edge.due = True
        self._answer_state(edge, "have", token)
        if self.in_flight is None and self.setting.recipe.mode == "async":
            self._ask(edge.peer)

    def _begin_epoch(self, edge: Edge, known: int, token: ReplyToken | None, why: str) -> None:
        self.desk.enqueue(lambda: self._renew(edge, known, token, why))

    def _renew(self, edge: Edge, known: int, token: ReplyToken | None, why: str) -> Procedure:
        """Begin an epoch later than `known` (smaller id), or ask the other end for one later than mine (larger id)."""
        if self.setting.nb.me > edge.peer:
            self._want(edge, token)
            return
        if edge.opening is None or edge.epoch <= known:
            if not has_next(edge.epoch, known):  # only a hostile neighbour gets there
                refusal = Reject("epoch", f"expected an epoch that has a next one, got {known}")
                if token is not None:
                    self.desk.do(Refuse(token, Verdict.REJECT, refusal.code, refusal.detail))
                self._rejected(edge, refusal, token is None)
                return
            key = derive(self.desk.key, "epoch", edge.peer, edge.epoch, known)
            begun: Begun = yield Begin(edge, self.local.x, key)
            epoch = next_epoch(edge.epoch, known, entropy=key)
            message = Snapshot(
                self.setting.recipe.digest, edge.peer, epoch, begun.reference.exponents, begun.encoded.sections
            )
            opening = Opening(message, begun.encoded.body, begun.encoded.chunks)
            given_up = edge.requested  # said, and perhaps counted at the other end alone
            edge.renew(epoch, begun.reference, begun.digest, opening)
            self.desk.persist(self.journal.epoch(edge, message, opening.body, False))
            self.desk.emit("epoch", peer=short(edge.peer), epoch=epoch, why=why, given_up=given_up)
        self._release(edge)
        self._send_opening(edge, token)

    def _send_opening(self, edge: Edge, token: ReplyToken | None) -> None:
        opening = edge.opening
        assert opening is not None
        self.desk.persist()
        if token is not None:
            self.desk.do(Answer(token, opening.message, (opening.body,), opening.chunks))
        else:
            key = ("open", edge.peer, edge.epoch)
            self._post_control(edge, key, opening.message, (opening.body,), opening.chunks)

    def _want(self, edge: Edge, token: ReplyToken | None) -> None:
        if token is not None:
            self._answer_state(edge, "want", token)
        else:
            self._post_want(edge)
        if self.in_flight == edge.peer:
            self._again(edge, "new epoch")

    def _post_want(self, edge: Edge) -> None:
        message = EdgeState(self.setting.recipe.digest, edge.peer, "want", edge.epoch, edge.seq)
        self._post_control(edge, ("want", edge.peer), message, (), b"")

    def _post_control(
        self, edge: Edge, key: tuple[Any, ...], message: Message, body: tuple[Buffer, ...], chunks: bytes
    ) -> None:
        deadline = self.desk.now + self.setting.timeout_s
        self.desk.do(Post(key, edge.peer, message, body, chunks, self._reply_limit(), deadline))

    def _install(
        self,
        edge: Edge,
        message: Snapshot,
        head: Head,
        body: Buffer,
        token: ReplyToken | None,
        asked: Position | None,
    ) -> None:
        self.desk.enqueue(lambda: self._installing(edge, message, head, body, token, asked))

    def _installing(
        self,
        edge: Edge,
        message: Snapshot,
        head: Head,
        body: Buffer,
        token: ReplyToken | None,
        asked: Position | None,
    ) -> Procedure:
        try:
            if edge.peer > self.setting.nb.me:
                raise Reject("not-yours", "only the end with the smaller id begins an epoch")
            check_sections(self.setting.snapshot_codec, message.sections, len(body), self.setting.schema)
        except Reject as refusal:
            self._rejected(edge, refusal, self._is_open(edge, asked))
            return
        if message.epoch > edge.epoch:
            chunks = head.chunks if token is None else None
            begun: Begun | Reject = yield Install(edge, message.exponents, message.sections, body, chunks)
            if isinstance(begun, Reject):
                if token is not None:
                    self.desk.do(Refuse(token, Verdict.REJECT, begun.code, begun.detail))
                self._rejected(edge, begun, self._is_open(edge, asked))
                return
            given_up = edge.requested
            edge.renew(message.epoch, begun.reference, begun.digest, None)
            self.desk.persist(self.journal.epoch(edge, message, begun.encoded.body, self.blank))
            if self.blank:  # nothing of mine is worth more than what the network holds
                self.local.x = begun.encoded.q.to(self.local.x.dtype)
                self.blank = False
            self.desk.emit("epoch", peer=short(edge.peer), epoch=edge.epoch, why="theirs", given_up=given_up)
            self._release(edge)
        elif self._is_open(edge, asked):
            self._again(edge, "an old epoch")
        if token is not None:
            self._answer_state(edge, "have", token)

    def _release(self, edge: Edge) -> None:
        """What was in flight on this edge is void; whoever's turn it is may ask again.

        At once, but for the edge where one epoch follows another and nothing is exchanged: it waits like a failure.
        """
        peer = edge.peer
        if self.in_flight != peer:
            return
        if self.patience.failures(peer) >= ATTEMPTS:
            self._again(edge, "new epoch")
            return
        self.patience.failed(peer)
        self.in_flight = None
        if self.awaited == peer:
            self._ask(peer)
        else:
            self._maybe_ask()
            self._resume()
