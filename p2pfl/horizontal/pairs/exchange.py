"""Pairwise exchange over the edges of the graph: both ends say one vector, and both apply both halves.

Knows positions and who may say what when; whose turn it is is `turns`', new starting points are `epochs`', tensors are
the work's. A node serves every request at once, also while it waits for an answer; in lockstep it holds one back until
its own steps are done.

An attempt that fails is repeated with the same bytes, however old they have become when its turn comes again: the size
check bounds what they can do, and giving them up could break the sum of the drift corrections (see edge.py).
"""

from collections.abc import Callable, Mapping
from math import inf
from typing import Any, ClassVar

import torch
from torch import Tensor

from p2pfl.core.ids import NodeId, short
from p2pfl.core.noise import derive
from p2pfl.core.party import Buffer, ReplyToken, Restored, Take, Verdict
from p2pfl.errors import Reject
from p2pfl.horizontal.model.local import Local
from p2pfl.horizontal.model.work import Applied, Apply, Encode, Encoded, body_digest, check_sections
from p2pfl.horizontal.pace.desk import Desk, Procedure
from p2pfl.horizontal.pace.exchange import Exchange
from p2pfl.horizontal.pace.patience import ATTEMPTS
from p2pfl.horizontal.pace.probes import Probes
from p2pfl.horizontal.pairs.deeds import Deeds
from p2pfl.horizontal.pairs.epochs import NEW, OUTGROWN, Epochs
from p2pfl.horizontal.pairs.setting import Setting
from p2pfl.horizontal.pairs.turns import Turns
from p2pfl.horizontal.records.edge import Edge, Place, Position, Saying, said_of
from p2pfl.horizontal.records.journal import Journal, add_drift, take_off
from p2pfl.horizontal.terms.averages import Stated
from p2pfl.horizontal.terms.neighbourhood import Neighbourhood
from p2pfl.mixing.pairwise import radius_of
from p2pfl.mixing.reference import Reference, outgrown
from p2pfl.wire.envelope import Head
from p2pfl.wire.messages import PHASE_MIN, Message, Snapshot, Update
from p2pfl.wire.messages import Edge as EdgeState
from p2pfl.wire.post import Answer, Gone, Heard, Knock, Post, Refuse, Whole

KEPT_ROUNDS = 10
HELD_MAX = 16
"""Former neighbours of whom is known what their exchanges have added to the drift correction: one vector each."""
OBSERVED = 4
"""Neighbours that a newcomer exchanges with before it trains."""


class Pairs(Exchange):
    """The exchange of a `needs = "pair"` rule."""

    follows: ClassVar[bool] = True
    listens: ClassVar[bool] = True

    def __init__(self, setting: Setting, desk: Desk, local: Local, journal: Journal, proceed: Callable[[], None]):
        super().__init__(desk, local, proceed)
        self.setting, self.journal = setting, journal
        self.turns = Turns(setting, desk, local, self._enqueue, proceed)
        self.epochs = Epochs(setting, desk, local, journal, self.turns, self._rejected)
        self.edges: dict[NodeId, Edge] = {}
        self.alive: frozenset[NodeId] = frozenset()  # the members, where they are watched
        self.leaving: dict[NodeId, int] = {}  # neighbours no more, and until which round their edge is kept
        self.held: dict[NodeId, Tensor] = {}  # what former neighbours have added to the drift correction, oldest first
        self._gone: dict[NodeId, int] = {}  # those of them that are members no more, and since which round
        self._met: dict[NodeId, tuple[int, float]] = {}  # the last exchange: the round here, and when
        self.parked: dict[NodeId, Knock] = {}  # lockstep: requests that came before their round
        self.bounded = 0
        self.refused = 0
        self.deeds: Deeds | None = None  # told of every message, if the node's work is valued
        self.closing = 0  # exchanges per edge after the last round (async)

    def begin(self, reference: Reference) -> None:
        """All edges at their first position: the common starting model, which costs no byte."""
        self.origin, self.origin_digest = reference, reference.digest()
        for peer in self.setting.nb.neighbours:
            self._open(peer)

    def _open(self, peer: NodeId) -> Edge:
        edge = self.edges[peer] = Edge(peer, self.origin, self.origin_digest)
        return edge

    def start(self, restored: Restored) -> None:
        self.epochs.blank = not restored.get("snapshot") and not restored.get("journal")

    # -------------------------------------------------------------------------------------------- who is there

    def meet(self, nb: Neighbourhood, at_work: bool) -> None:
        """The members have changed, and with them this node's place.

        A new edge begins with a new epoch, if this node has begun itself. One that is no more is asked nothing; it is
        kept, and answered, for `KEPT_ROUNDS`: views settle one after the other, and who was thought dead comes back.
        """
        self.setting.nb, self.alive = nb, frozenset(nb.members)
        self._gone = {peer: self._gone.get(peer, self.local.round) for peer in self.held if peer not in self.alive}
        for peer in nb.neighbours:
            self.leaving.pop(peer, None)
            if peer not in self.edges:
                edge = self._open(peer)
                edge.drift = self.held.pop(peer, None)
                self._gone.pop(peer, None)
                if at_work:
                    edge.born, edge.cut = self.local.steps, edge.drift is None
                    self._begin_again(edge, NEW)
        for peer in self.edges.keys() - set(nb.neighbours):
            self.leaving.setdefault(peer, self.local.round + KEPT_ROUNDS)
            self.turns.drop(peer)

    @property
    def _lost_edges(self) -> list[Edge]:
        """Edges that are to be let go: their time is over, or nothing has come over them for long."""
        round_, patience = self.local.round, self.turns.patience
        over = [self.edges[peer] for peer, until in self.leaving.items() if round_ >= until]
        return over + [
            edge
            for peer, edge in self.edges.items()
            if edge.drift is not None and patience.is_open(peer) and self._is_silent(peer)
        ]

    @property
    def _bereft(self) -> list[NodeId]:
        """Former neighbours that are members no more, for long."""
        return [peer for peer, since in self._gone.items() if self.local.round >= since + KEPT_ROUNDS]

    @property
    def lost(self) -> list[NodeId]:
        return [*(edge.peer for edge in self._lost_edges), *self._bereft]

    def _is_silent(self, peer: NodeId) -> bool:
        """For long, by the rounds that have passed here and by the clock."""
        round_, at = self._met.setdefault(peer, (self.local.round, self.desk.now))
        return self.local.round >= round_ + KEPT_ROUNDS and self.desk.now >= at + self.setting.timeout_s

    def let_go(self) -> bool:
        """What lost edges have added to the drift correction is taken off: its opposite at the other end may be gone,
        and the sum over all that remain is to be zero. Not while an exchange is being applied.

        Edges of neighbours no more are forgotten; returns whether there were any. Where both ends go on as members,
        both keep what the edge has added (`held`) until one of them leaves. The others go on with a fresh epoch if
        the other end comes back.
        """
        for peer in self._bereft:
            self.local.undo_drift(self.held.pop(peer))
            del self._gone[peer]
            self.desk.emit("let_go", peer=short(peer), round=self.local.round)
        lost = self._lost_edges
        for edge in lost:
            if edge.peer in self.leaving and edge.peer in self.alive:
                self._hold(edge)
                continue
            take_off(edge, self.local)
            edge.cut = True
            self.desk.emit("let_go", peer=short(edge.peer), round=self.local.round)
        over = [edge.peer for edge in lost if edge.peer in self.leaving]
        for peer in over:
            del self.leaving[peer], self.edges[peer]
            self._met.pop(peer, None)
            self.parked.pop(peer, None)
            self.turns.patience.forget(peer)
        return bool(over)

    def _hold(self, edge: Edge) -> None:
        if edge.drift is not None:
            self.held[edge.peer] = edge.drift
        while len(self.held) > HELD_MAX:  # right as long as that one stays
            self.held.pop(next(iter(self.held)))

    def joined(self) -> None:
        """This node has the network's model: every edge begins again from there, since its references are of old."""
        self.epochs.blank = False
        for edge in self.edges.values():
            edge.cut = True
            self._begin_again(edge, "joined")

    def _begin_again(self, edge: Edge, why: str) -> None:
        self.epochs.begin_epoch(edge, edge.epoch, None, why)

    @property
    def has_caught_up(self) -> bool:
        """Enough of the neighbours have been met since this node is here."""
        return sum(edge.exchanges > 0 for edge in self.edges.values()) >= min(OBSERVED, len(self.edges))

    @property
    def apart(self) -> float | None:
        """The mean over the edges of |D| = |x_i - x_j| / 2 at the last exchange: a look at the consensus distance from
        one node. None before the first exchange."""
        distances = [edge.distance for edge in self.edges.values() if edge.distance is not None]
        return sum(distances) / len(distances) if distances else None

    @property
    def num_reachable(self) -> int:
        return self.turns.num_reachable

    @property
    def probes(self) -> Probes:
        return self.turns.probes

    @property
    def rounds_per_exchange(self) -> int:
        return len(self.setting.nb.partners)

    def of_round(self) -> Mapping[str, Any]:
        pair = self.local.pair
        return {} if pair is None else {"damp": float(pair.damp), "bounded": self.bounded}

    def in_all(self) -> Mapping[str, Any]:
        exchanges = sum(edge.exchanges for edge in self.edges.values())
        return {"exchanges": exchanges, "bounded": self.bounded, "refused": self.refused}

    def told(self) -> list[dict[str, Any]]:
        return [
            {
                "peer": peer.hex(),
                "epoch": edge.epoch,
                "seq": edge.seq,
                "exchanges": edge.exchanges,
                "failed_attempts": self.turns.patience.failures(peer),
            }
            for peer, edge in sorted(self.edges.items())
        ]

    # -------------------------------------------------------------------------------------------- rounds

    def trained(self) -> bool:
        go_on = self.turns.trained()
        partner = self.turns.awaited
        if not go_on and partner is not None and self.setting.nb.me > partner and partner in self.parked:
            self._admit_update(self.parked.pop(partner), self.edges[partner])
        return go_on

    def overdue(self, round_: int) -> None:
        """Lockstep: the partner of that round did not come."""
        self.turns.overdue(round_)

    def retry(self, peer: NodeId) -> None:
        self.turns.retry(peer)

    def settle(self) -> bool:
        """At the end: whether nothing that I said is still unanswered by a neighbour that can be reached."""
        if self.turns.in_flight is not None or not self.desk.idle:
            return False
        owed = [
            peer
            for peer, edge in self.edges.items()
            if peer not in self.leaving
            and (edge.requested or edge.closed < self.closing)
            and self.turns.patience.failures(peer) < 4 * ATTEMPTS
        ]
        if owed:
            self.turns.ask(owed[0])
        return not owed

    # -------------------------------------------------------------------------------------------- asking

    def _enqueue(self, peer: NodeId) -> None:
        self.desk.enqueue(lambda: self._request(self.edges[peer]))

    def _request(self, edge: Edge) -> Procedure:
        if self.turns.in_flight != edge.peer:
            return
        if edge.cut:
            yield from self.epochs.renew(edge, edge.epoch, None, "cut")
            return
        if not edge.requested and (edge.due or outgrown(self.local.x, edge.reference, self.setting.schema)):
            if self.setting.nb.me > edge.peer:
                self.epochs.post_want(edge)
            elif edge.settled:
                yield from self.epochs.renew(edge, edge.epoch, None, OUTGROWN)
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
                reply_limit=self.setting.reply_bytes_max,
                deadline=self.turns.patience.ask(edge.peer, self.desk.now),
            )
        )

    def _say(self, edge: Edge, *, answer: bool, receipt: bytes) -> Procedure:
        """Encode my half for this position; the edge holds it from then on."""
        pair = self.local.pair
        assert pair is not None
        key = derive(self.desk.key, "codec", edge.peer, edge.epoch, edge.seq)
        work, damp, averages = self.local.work, float(pair.damp), self.local.averages.stated()
        said_work = max(work - self.local.work_mark, 0.0)
        x = self.local.x
        encoded: Encoded = yield Encode(edge, x, edge.reference, key, damp)
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
        saying = Saying(message, encoded.body, encoded.chunks, said_of(message, encoded.q))
        edge.say(saying)
        if self.deeds is not None:
            self.deeds.said(edge, x, key, saying)
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
            case (_, peer, *_) if peer not in self.edges:
                pass
            case ("ask", peer, epoch, seq):
                edge = self.edges[peer]
                if event.verdict is Verdict.ACCEPT and event.message is not None:
                    self.turns.patience.answered(peer, self.desk.now)
                    self._heard_answer(edge, event, (epoch, seq))
                elif self.turns.is_open(edge, (epoch, seq)):
                    self._heard_refusal(edge, event)
            case ("probe", peer):
                self.turns.probes.probed(peer, event.verdict is Verdict.ACCEPT)
            case ("want", peer):
                if isinstance(event.message, Snapshot) and event.head is not None:
                    self.epochs.install(self.edges[peer], event.message, event.head, event.body, None, None)
            case _:
                pass  # a snapshot of mine was taken or not: the next update on the edge will tell

    def _heard_answer(self, edge: Edge, event: Heard, asked: Position) -> None:
        message, head = event.message, event.head
        assert head is not None
        match message:
            case Update():
                self.desk.enqueue(lambda: self._hear(edge, message, head, event.body, asked))
            case Snapshot():
                self.epochs.install(edge, message, head, event.body, None, asked)
            # "want": it missed an epoch, or our references differ. "ahead": it stands where I have been, so I was
            # rolled back. A node that has turned to others meanwhile concludes the same.
            case EdgeState(state="want" | "afresh" | "ahead") if edge.requested and asked == (edge.epoch, edge.seq):
                self.epochs.begin_epoch(edge, message.epoch, None, message.state)
            case _ if self.turns.is_open(edge, asked):
                self.turns.again(edge, "unexpected answer")

    def _hear(self, edge: Edge, update: Update, head: Head, body: Buffer, asked: Position) -> Procedure:
        place = edge.place(update, head.chunks)
        try:
            check_sections(self.setting.codec, update.sections, len(body), self.setting.schema)
        except Reject as refusal:
            self._rejected(edge, refusal, self.turns.is_open(edge, asked))
            return
        if place is Place.APPLY and edge.requested:
            yield from self._apply(edge, update, head, body, None)
        elif place is Place.RENEW:
            yield from self.epochs.renew(edge, max(edge.epoch, update.epoch), None, "answer elsewhere")
        elif self.turns.is_open(edge, asked):  # no honest node answers so
            self.turns.again(edge, "unexpected answer")
        # else: applied already, as a request that crossed mine

    def _heard_refusal(self, edge: Edge, event: Heard) -> None:
        if event.verdict is Verdict.REJECT:
            self.desk.emit("refused_by", peer=short(edge.peer), code=event.code)
            self.desk.report.refused(edge.peer, f"by it: {event.code}")
            self.turns.patience.refused(edge.peer)
        elif event.code == "busy":
            self.turns.patience.busy(edge.peer)
        if event.verdict is Verdict.BUSY:
            self.turns.busy(edge, event.code, event.after_s)
        else:
            self.turns.again(edge, event.code)

    def failed(self, key: Any, reason: str) -> None:
        """One attempt came to nothing."""
        match key:
            case (_, peer, *_) if peer not in self.edges:
                pass
            case ("ask", peer, epoch, seq):
                edge = self.edges[peer]
                if self.turns.is_open(edge, (epoch, seq)):
                    self.turns.again(edge, reason)
            case ("probe", peer):
                self.turns.probes.probed(peer, False)

    # -------------------------------------------------------------------------------------------- being asked

    def knock(self, event: Knock) -> None:
        edge = self.edges.get(event.head.author)
        if edge is None:  # forgotten just now
            self.desk.do(Refuse(event.token, Verdict.BUSY, "stranger"))
            return
        self.turns.probes.seen(edge.peer)
        message = event.message
        try:
            match message:
                case Update():
                    check_sections(self.setting.codec, message.sections, event.head.body_len, self.setting.schema)
                    self._admit_update(event, edge)
                case Snapshot():
                    self.epochs.admit(event, edge, message)
                case EdgeState(state="want" | "afresh"):
                    self.epochs.wanted(edge, message, event.token)
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
        elif self.turns.too_early(edge.peer):
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

    def whole(self, event: Whole) -> None:
        edge, message = self.edges.get(event.head.author), event.message
        if edge is None:
            self.desk.do(Refuse(event.token, Verdict.BUSY, "stranger"))
        elif isinstance(message, Update):
            self.desk.enqueue(lambda: self._serve(edge, event))
        elif isinstance(message, Snapshot):
            self.epochs.install(edge, message, event.head, event.body, event.token, None)

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
                yield from self.epochs.renew(edge, max(edge.epoch, update.epoch), token, "request elsewhere")
            case Place.BEHIND if edge.opening is not None:
                self.epochs.send_opening(edge, token)
            case Place.BEHIND:
                self.epochs.answer_state(edge, "ahead", token)
            case _:
                self.desk.do(Refuse(token, Verdict.IGNORE, "wait"))
                if edge.requested and self.turns.may_repeat(edge.peer):  # its answer to me was lost
                    self._post(edge)

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
            edge.warmth,
        )
        if isinstance(applied, Reject):
            if not edge.requested:
                edge.pending = None  # it has not left, so it need not be kept
            if token is not None:
                self.desk.do(Refuse(token, Verdict.REJECT, applied.code, applied.detail))
            self._rejected(edge, applied, token is None)
            return
        if self.deeds is not None:
            self.deeds.landed(edge, body_digest(head.chunks), head.raw)
        crossed = edge.requested
        receipt = self.journal.receipt(edge, update, head, len(body))
        said = () if crossed else (self.journal.said(edge),)  # numbered before `done`: so they are repeated
        done = self.journal.done(edge, update, bytes(body))
        self.journal.reveal(edge)
        edge.step(applied.reference, applied.digest, body_digest(head.chunks))
        edge.answered = token is None
        edge.distance, edge.norm = float(applied.mixed.distance), mine.message.norm
        self._met[edge.peer] = self.local.round, self.desk.now
        if self.deeds is not None:
            self.deeds.moved(edge.peer, edge.drift, applied.mixed.move)
        add_drift(edge, pair, applied.mixed.state)
        self.local.move(applied.mixed.move, applied.mixed.state, edge.work_said, self.desk.now)
        self.local.settle(
            self.local.averages.met(Stated(*mine.message.averages), Stated(*update.averages), self.local.rounds)
        )
        self.bounded += bool(applied.mixed.bounded)
        self.desk.report.mixed(edge.peer)
        self.epochs.blank = False
        edge.closed += self.local.finished
        self.turns.exchanged(edge.peer)
        if token is None:
            self.desk.defer(*said, done, receipt)
        else:
            self.desk.persist(*said, done, receipt)
            if crossed:
                self.desk.do(Refuse(token, Verdict.IGNORE, "crossed"))
            else:
                self.desk.do(Answer(token, mine.message, (mine.body,), mine.chunks))
        self.turns.go_on(edge.peer)

    def _rejected(self, edge: Edge, refusal: Reject, answer: bool) -> None:
        """What the other end said is not what it must be. Its fault; counted, and nothing has changed.

        answer: it was the answer to an attempt of mine, which has come to nothing by this.
        """
        self.refused += 1
        self.desk.report.refused(edge.peer, refusal.code)
        self.desk.emit("rejected", peer=short(edge.peer), code=refusal.code)
        if answer:
            self.turns.again(edge, refusal.code)
