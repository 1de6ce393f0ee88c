"""Neighbourhood exchange in rounds: say one's model to every neighbour, mix when every row is in. Knows rounds and
retries; tensors are the work's.

A row of a round that is over is ignored as late; a row of one of the next `ROUNDS_AHEAD_MAX` rounds is kept for its
turn. A neighbour whose row is not in after four time-outs is left out of that round: its weight stays with oneself,
and the round report says so. A node that finds its neighbours further ahead than that (it was away) skips to them.
"""

from collections.abc import Callable
from statistics import median_low
from typing import Any

from torch import Tensor

from p2pfl.core.ids import NodeId, short
from p2pfl.core.limits import CONTROL_BYTES_MAX, HEADER_BYTES_MAX, ROUNDS_AHEAD_MAX, SEND_ATTEMPTS_LOG2_MAX
from p2pfl.core.noise import Key, derive
from p2pfl.core.party import Take, Verdict
from p2pfl.errors import Reject
from p2pfl.horizontal.model.algorithm import idle_phase, notes_of
from p2pfl.horizontal.model.local import Local
from p2pfl.horizontal.model.work import Decode, EncodedRow, EncodeRow, MixedRow, MixRows, body_digest
from p2pfl.horizontal.pace.desk import Desk, Procedure
from p2pfl.horizontal.pace.exchange import Exchange
from p2pfl.horizontal.pace.patience import asked_for
from p2pfl.horizontal.records.journal import Journal
from p2pfl.horizontal.rows.words import HeardRow, RowSetting, check_row
from p2pfl.horizontal.terms.averages import Stated
from p2pfl.horizontal.terms.neighbourhood import Turn
from p2pfl.ledger.feeds.kinds import Reveal
from p2pfl.mixing.rows import Phase
from p2pfl.wire.messages import Edge as EdgeState
from p2pfl.wire.messages import Row
from p2pfl.wire.post import Answer, Heard, Knock, Post, Refuse, Whole

PAUSE_S = 0.05


class Rows(Exchange):
    """The exchange of a `needs = "rows"` rule. A round is over when it has been mixed."""

    def __init__(self, setting: RowSetting, desk: Desk, local: Local, journal: Journal, proceed: Callable[[], None]):
        super().__init__(desk, local, proceed)
        self.setting, self.journal = setting, journal
        self.seed = Key(setting.recipe.digest)  # whom everybody draws follows from what all agreed on
        self.inbox: dict[int, dict[NodeId, HeardRow]] = {}
        self.stated = Stated(0.0, 1.0, 0.0, 0)
        self.own: EncodedRow | None = None  # what I say in the round that is open
        self.notes: tuple[float, ...] = ()  # beside it
        self.phase: Phase | None = None  # of the round that is open
        self.round = 0  # the round whose rows are being gathered, or will be next
        self.unsaid: dict[NodeId, int] = {}  # neighbours that have not taken my row, and failed attempts
        self.ahead: dict[NodeId, int] = {}  # the latest round that each neighbour spoke of

    @property
    def num_reachable(self) -> int:
        """Neighbours that took this round's row, or have not failed to for long."""
        return sum(self.unsaid.get(peer, 0) < 3 for peer in self.setting.nb.neighbours)

    def trained(self) -> bool:
        """A local phase has ended: its round opens. The next phase begins after the mix."""
        if not self.setting.nb.neighbours:
            return True
        self.round = self.local.round - 1 + self.local.extra
        self.desk.enqueue(self._open)
        return False

    def _turn(self, round_: int) -> Turn:
        rule = self.setting.rule
        return self.setting.nb.turn(round_, rule.weighting, rule.fanout, self.seed)

    def settle(self) -> bool:
        """Whether nothing of mine is on its way."""
        return self.desk.idle and self.own is None

    def skip(self) -> int:
        """Rounds the node is to leave out because its neighbours are further; 0 normally.

        More than half of them must be, so that one of several does not end a run by one message.
        """
        seen = sorted(self.ahead.get(peer, 0) for peer in self.setting.nb.neighbours)
        behind = median_low(seen) - self.local.round - ROUNDS_AHEAD_MAX if seen else 0
        return max(behind, 0)

    def _open(self) -> Procedure:
        key, local = derive(self.desk.key, "codec", "row", self.round), self.local
        self.phase = local.phase or idle_phase(local.x)
        self.notes = tuple(notes_of(self.setting.rule, local.rows).tolist())
        self.own = yield EncodeRow(None, local.x, local.rows, self.phase, key)
        self.stated = self.local.averages.stated()
        to = self._turn(self.round).to
        self.unsaid = dict.fromkeys(to, 0)
        self.desk.persist()
        for peer in to:
            self._post(peer)
        self.desk.timer(("patience", self.round), 4 * self.setting.timeout_s)
        yield from self._maybe_mix()

    def _post(self, peer: NodeId) -> None:
        assert self.own is not None
        own = self.setting.said_to(peer, self.own)
        message = Row(self.setting.recipe.digest, peer, self.round, self.stated, own.sections, self.notes)
        deadline = self.desk.now + self.setting.timeout_s
        limit = HEADER_BYTES_MAX + CONTROL_BYTES_MAX
        self.desk.do(Post(("row", peer, self.round), peer, message, (own.body,), own.chunks, limit, deadline))

    # -------------------------------------------------------------------------------------------- what came back

    def heard(self, event: Heard) -> None:
        key: Any = event.key
        match key:
            case ("row", peer, round_) if round_ == self.round and peer in self.unsaid:
                if event.verdict in (Verdict.ACCEPT, Verdict.IGNORE):
                    self._taken(peer, event.verdict is Verdict.ACCEPT)
                else:
                    if event.verdict is Verdict.REJECT:
                        self.desk.report.refused(peer, f"by it: {event.code}")
                    self._again(peer, event.code, event.after_s)

    def failed(self, key: Any, reason: str) -> None:
        match key:
            case ("row", peer, round_) if round_ == self.round and peer in self.unsaid:
                self._again(peer, reason)

    def _taken(self, peer: NodeId, accepted: bool) -> None:
        del self.unsaid[peer]
        if accepted and self.own is not None:
            own = self.setting.said_to(peer, self.own)
            digest, size = body_digest(own.chunks), memoryview(own.body).nbytes
            self.journal.reveals.append(Reveal(peer, 0, self.round, digest, size, self.journal.codec_name))
        if not self.unsaid:
            self.desk.enqueue(self._maybe_mix)

    def _again(self, peer: NodeId, reason: str, after_s: float = 0.0) -> None:
        self.unsaid[peer] += 1
        count = self.unsaid[peer]
        if count == 3:
            self.desk.emit("unreachable", peer=short(peer), reason=reason, attempts=count)
        pause = PAUSE_S * 2 ** min(count, SEND_ATTEMPTS_LOG2_MAX) * self.desk.jitter(peer, self.round, count)
        self.desk.timer(("retry", peer), max(pause, asked_for(after_s)))

    def retry(self, peer: NodeId) -> None:
        if peer in self.unsaid and self.own is not None:
            self._post(peer)

    # -------------------------------------------------------------------------------------------- being told

    def knock(self, event: Knock) -> None:
        row, token = event.message, event.token
        if not isinstance(row, Row):
            self.desk.do(Refuse(token, Verdict.REJECT, "kind", f"a {row.KIND} has no meaning under this rule"))
            return
        try:
            self.check(row, event.head.author, event.head.body_len)
        except Reject as refusal:
            self.desk.do(Refuse(token, Verdict.REJECT, refusal.code, refusal.detail))
            return
        self.ahead[event.head.author] = max(self.ahead.get(event.head.author, 0), row.round)
        if row.round < self.round or event.head.author in self.inbox.get(row.round, {}):
            self.desk.do(Refuse(token, Verdict.IGNORE, "late"))
        elif row.round > self.local.round + self.local.extra + ROUNDS_AHEAD_MAX:
            self.desk.do(Refuse(token, Verdict.BUSY, "ahead"))
        else:
            self.desk.do(Take(token))

    def check(self, row: Row, author: NodeId, body_len: int) -> None:
        """On the header alone. Raises Reject."""
        check_row(self.setting, row, author, body_len, author in self._turn(row.round).rows)

    def whole(self, event: Whole) -> None:
        self.desk.enqueue(lambda: self._store(event))

    def _store(self, event: Whole) -> Procedure:
        row, peer = event.message, event.head.author
        assert isinstance(row, Row)
        if row.round < self.round or peer in self.inbox.get(row.round, {}):
            self.desk.do(Refuse(event.token, Verdict.IGNORE, "late"))
            return
        q: Tensor | Reject = yield Decode(None, self.setting.schema_of(peer), row.sections, event.body)
        if isinstance(q, Reject):
            self.desk.report.refused(peer, q.code)
            self.desk.do(Refuse(event.token, Verdict.REJECT, q.code, q.detail))
            return
        self.inbox.setdefault(row.round, {})[peer] = HeardRow(q, Stated(*row.averages), row.notes)
        self.journal.received(peer, 0, row.round, body_digest(event.head.chunks), event.head.body_len)
        self.desk.do(Answer(event.token, EdgeState(self.setting.recipe.digest, peer, "have", 0, row.round)))
        yield from self._maybe_mix()

    # -------------------------------------------------------------------------------------------- mixing

    def overdue(self, round_: int) -> None:
        if self.own is not None and round_ == self.round:
            self.desk.enqueue(lambda: self._maybe_mix(anyway=True))

    def _maybe_mix(self, anyway: bool = False) -> Procedure:
        rows, turn = self.inbox.get(self.round, {}), self._turn(self.round)
        complete = len(rows) == len(turn.rows) and not self.unsaid
        if self.own is None or not (complete or anyway):
            return
        for peer in turn.rows:
            if peer not in rows:
                self.desk.emit("late", peer=short(peer), round=self.round)
                self.desk.report.late(peer)
            else:
                self.desk.report.mixed(peer)
        assert self.phase is not None
        weights = {peer: turn.rows[peer] for peer in sorted(rows)}
        heard, local = [rows[peer] for peer in weights], self.local
        mixed: MixedRow = yield MixRows(
            None,
            local.x,
            local.rows,
            self.phase,
            self.own.q,
            tuple(row.q for row in heard),
            tuple(weights.values()),
            turn.given,
            tuple(row.notes for row in heard),
        )
        local.x, local.rows, local.phase = mixed.x, mixed.state, None
        local.similarity = dict(zip(weights, mixed.similarity, strict=False))
        others = [row.stated for row in heard]
        local.settle(local.averages.gathered(self.stated, others, tuple(weights.values()), local.rounds))
        self.inbox = {round_: kept for round_, kept in self.inbox.items() if round_ > self.round}
        self._close()

    def _close(self) -> None:
        self.own, self.unsaid = None, {}
        self.round += 1
        self.proceed()
