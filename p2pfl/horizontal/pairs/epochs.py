"""New epochs of an edge: both ends begin again from one snapshot. Knows who may begin one, and what is void then.

The end with the smaller id makes the snapshot, the other asks for it. An epoch follows when the ends cannot go on from
what they hold: one missed a step, was rolled back, or its model has outgrown the reference (see edge.py).
"""

from collections.abc import Callable
from typing import Any

from p2pfl.core.ids import short
from p2pfl.core.noise import derive
from p2pfl.core.party import Buffer, ReplyToken, Take, Verdict
from p2pfl.errors import Reject
from p2pfl.horizontal.model.local import Local
from p2pfl.horizontal.model.work import Begin, Begun, Install, check_sections
from p2pfl.horizontal.pace.desk import Desk, Procedure
from p2pfl.horizontal.pairs.setting import Setting
from p2pfl.horizontal.pairs.turns import Turns
from p2pfl.horizontal.records.edge import Edge, Opening, Position, has_next, next_epoch
from p2pfl.horizontal.records.journal import Journal, take_off
from p2pfl.wire.envelope import Head
from p2pfl.wire.messages import Edge as EdgeState
from p2pfl.wire.messages import Message, Snapshot
from p2pfl.wire.post import Answer, Knock, Post, Refuse

OUTGROWN = "outgrown"
NEW = "new neighbour"
"""A drift from when it was one before is held at both ends still; an end that does not hold it asks for a fresh one."""


class Epochs:
    """`rejected(edge, refusal, answer)`: what the other end said is not what it must be."""

    def __init__(
        self,
        setting: Setting,
        desk: Desk,
        local: Local,
        journal: Journal,
        turns: Turns,
        rejected: Callable[[Edge, Reject, bool], None],
    ):
        self.setting, self.desk, self.local, self.journal = setting, desk, local, journal
        self.turns, self.rejected = turns, rejected
        self.blank = False  # nothing of this node's past is known: it takes over what its neighbours hold

    def admit(self, knock: Knock, edge: Edge, message: Snapshot) -> None:
        if edge.peer > self.setting.nb.me:
            raise Reject("not-yours", "only the end with the smaller id begins an epoch")
        check_sections(self.setting.snapshot_codec, message.sections, knock.head.body_len, self.setting.schema)
        if message.epoch > edge.epoch:
            self.desk.do(Take(knock.token))
        else:
            self.answer_state(edge, "have" if message.epoch == edge.epoch else "ahead", knock.token)

    def answer_state(self, edge: Edge, state: str, token: ReplyToken) -> None:
        message = EdgeState(self.setting.recipe.digest, edge.peer, state, edge.epoch, edge.seq)
        self.desk.do(Answer(token, message))

    def wanted(self, edge: Edge, message: EdgeState, token: ReplyToken) -> None:
        """The end with the larger id asks for a new epoch. If only the model is the reason, an exchange may come first;
        if the references differ, that exchange will tell.
        """
        if message.epoch != edge.epoch:
            self.begin_epoch(edge, message.epoch, token, "wanted")
            return
        if message.state == "afresh":
            edge.cut = True
            self.begin_epoch(edge, message.epoch, token, "cut")
            return
        edge.due = True
        self.answer_state(edge, "have", token)
        if self.turns.in_flight is None and self.setting.recipe.mode == "async":
            self.turns.ask(edge.peer)

    def begin_epoch(self, edge: Edge, known: int, token: ReplyToken | None, why: str) -> None:
        self.desk.enqueue(lambda: self.renew(edge, known, token, why))

    def renew(self, edge: Edge, known: int, token: ReplyToken | None, why: str) -> Procedure:
        """Begin an epoch later than `known` (smaller id), or ask the other end for one later than mine (larger id)."""
        if self.setting.nb.me > edge.peer:
            self._want(edge, token)
            return
        if edge.opening is None or edge.epoch <= known or edge.cut:
            if not has_next(edge.epoch, known):  # only a hostile neighbour gets there
                refusal = Reject("epoch", f"expected an epoch that has a next one, got {known}")
                if token is not None:
                    self.desk.do(Refuse(token, Verdict.REJECT, refusal.code, refusal.detail))
                self.rejected(edge, refusal, token is None)
                return
            again = (edge.born,) if edge.born else ()
            key = derive(self.desk.key, "epoch", edge.peer, edge.epoch, known, *again)
            begun: Begun = yield Begin(edge, self.local.x, key)
            epoch = next_epoch(edge.epoch, known, entropy=key)
            message = Snapshot(
                *(self.setting.recipe.digest, edge.peer, epoch, begun.reference.exponents, begun.encoded.sections),
                fresh=why != OUTGROWN and (why != NEW or edge.drift is None),
            )
            opening = Opening(message, begun.encoded.body, begun.encoded.chunks)
            given_up = edge.requested  # said, and perhaps counted at the other end alone
            self._enter(edge, message, begun, opening)
            self.desk.persist(self.journal.epoch(edge, message, opening.body, False))
            self.desk.emit("epoch", peer=short(edge.peer), epoch=epoch, why=why, given_up=given_up)
        self.turns.release(edge)
        self.send_opening(edge, token)

    def _enter(self, edge: Edge, message: Snapshot, begun: Begun, opening: Opening | None) -> None:
        if message.fresh:
            take_off(edge, self.local)
        edge.renew(message.epoch, begun.reference, begun.digest, opening, message.fresh)

    def send_opening(self, edge: Edge, token: ReplyToken | None) -> None:
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
            self.answer_state(edge, _asking(edge), token)
        else:
            self.post_want(edge)
        if self.turns.in_flight == edge.peer:
            self.turns.again(edge, "new epoch")

    def post_want(self, edge: Edge) -> None:
        message = EdgeState(self.setting.recipe.digest, edge.peer, _asking(edge), edge.epoch, edge.seq)
        self._post_control(edge, ("want", edge.peer), message, (), b"")

    def _post_control(
        self, edge: Edge, key: tuple[Any, ...], message: Message, body: tuple[Buffer, ...], chunks: bytes
    ) -> None:
        deadline = self.desk.now + self.setting.timeout_s
        self.desk.do(Post(key, edge.peer, message, body, chunks, self.setting.reply_bytes_max, deadline))

    def install(
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
            self.rejected(edge, refusal, self.turns.is_open(edge, asked))
            return
        if message.epoch > edge.epoch:
            chunks = head.chunks if token is None else None
            begun: Begun | Reject = yield Install(edge, message.exponents, message.sections, body, chunks)
            if isinstance(begun, Reject):
                if token is not None:
                    self.desk.do(Refuse(token, Verdict.REJECT, begun.code, begun.detail))
                self.rejected(edge, begun, self.turns.is_open(edge, asked))
                return
            given_up = edge.requested
            self._enter(edge, message, begun, None)
            self.desk.persist(self.journal.epoch(edge, message, begun.encoded.body, self.blank))
            if self.blank:  # nothing of mine is worth more than what the network holds
                self.local.x = begun.encoded.q.to(self.local.x.dtype)
                self.blank = False
            self.desk.emit("epoch", peer=short(edge.peer), epoch=edge.epoch, why="theirs", given_up=given_up)
            self.turns.release(edge)
        elif self.turns.is_open(edge, asked):
            self.turns.again(edge, "an old epoch")
        if token is not None:
            self.answer_state(edge, "have", token)


def _asking(edge: Edge) -> str:
    """How the end with the larger id asks for a new epoch."""
    return "afresh" if edge.cut else "want"
