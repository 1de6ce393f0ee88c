"""Neighbourhood exchange without a barrier: rounds of one's own pace, rows of bounded age. Knows rounds and rows;
tensors are the work's, waiting is `row_clock`'s, what waits to be said `outbox`'s.

Theory of operation
-------------------
Every node counts its own exchange rounds. It trains, says its row with the round's number to its neighbours, and mixes
as soon as every neighbour that is waited for has said a row of that round or of a later one, or its time is over. Then
it goes on; there is no barrier, and nobody is asked twice for a row that is past.

- A row of one of the next rounds is held for its turn, `HELD_MAX` of one neighbour at most, the newest ones.
- A row that comes after its round counts in the next mix, once, if it is no older than `staleness` rounds: with
  `FADING` to the power of its age. Mass that was pushed (push-sum) never fades, and is taken at any age: it would be
  lost.
- A node that finds more than half of its neighbours in a later round than its own goes on from theirs: what it has
  learned since is said there. So a machine eight times slower takes part in every eighth round, with a fresh row.

The rounds it left out count as done, for the learning rate and for the end of the run: all end together.
"""

from collections.abc import Callable
from statistics import median_low
from typing import Any, ClassVar

from torch import Tensor

from p2pfl.core.ids import NodeId
from p2pfl.core.limits import CONTROL_BYTES_MAX, HEADER_BYTES_MAX
from p2pfl.core.noise import Key, derive
from p2pfl.core.party import Take, Verdict
from p2pfl.errors import Reject
from p2pfl.horizontal.model.algorithm import idle_phase, notes_of
from p2pfl.horizontal.model.local import Local
from p2pfl.horizontal.model.work import Decode, EncodedRow, EncodeRow, MixedRow, MixRows, body_bytes_max, body_digest
from p2pfl.horizontal.pace.desk import Desk, Procedure
from p2pfl.horizontal.pace.exchange import Exchange
from p2pfl.horizontal.pace.outbox import Outbox
from p2pfl.horizontal.pace.patience import Patience
from p2pfl.horizontal.pace.probes import Probes
from p2pfl.horizontal.records.journal import Journal
from p2pfl.horizontal.rows.clock import RowClock
from p2pfl.horizontal.rows.words import HeardRow, RowSetting, check_row
from p2pfl.horizontal.terms.averages import Stated
from p2pfl.horizontal.terms.neighbourhood import Neighbourhood, Turn
from p2pfl.ledger.feeds.kinds import Reveal
from p2pfl.mixing.rows import Phase
from p2pfl.wire.messages import Edge as EdgeState
from p2pfl.wire.messages import Row
from p2pfl.wire.post import Answer, Heard, Knock, Post, Refuse, Whole

HELD_MAX = 3
FADING = 0.5


class SemiSync(Exchange):
    """The exchange of a `needs = "rows"` rule at this pace. A round is over when it has been mixed."""

    follows: ClassVar[bool] = True

    def __init__(
        self, setting: RowSetting, desk: Desk, local: Local, journal: Journal, proceed: Callable[[], None]
    ) -> None:
        super().__init__(desk, local, proceed)
        self.setting, self.journal = setting, journal
        self.seed = Key(setting.recipe.digest)  # whom everybody draws follows from what all agreed on
        self.round = 0  # that is open, or will be next
        self.begun = False
        self.own: EncodedRow | None = None  # what I say in the round that is open
        self.stated = Stated(0.0, 1.0, 0.0, 0)
        self.phase: Phase | None = None  # of the round that is open
        self.held: dict[NodeId, dict[int, HeardRow]] = {}  # rows that are not mixed yet
        self.newest: dict[NodeId, int] = {}  # the latest round of which each neighbour's row is here
        self.spoken: dict[NodeId, int] = {}  # the latest round that each neighbour spoke of
        self.mixed: dict[NodeId, int] = {}  # up to which round its rows have been mixed
        self.gone_home: set[NodeId] = set()
        self.clock = RowClock(setting.timeout_s)
        patience = Patience(setting.timeout_s, body_bytes_max(setting.codec, setting.schema) * setting.rule.vectors)
        self.outbox: Outbox[tuple[int, Row, EncodedRow]] = Outbox(setting.recipe.digest, desk, patience, self._post)

    @property
    def num_reachable(self) -> int:
        """Neighbours that are waited for, or take what is said to them."""
        return sum(self.clock.awaits(p) and self.outbox.patience.reachable(p) for p in self.setting.nb.neighbours)

    @property
    def pushes(self) -> bool:
        return self.setting.rule.weighting == "push"

    def meet(self, nb: Neighbourhood, at_work: bool) -> None:
        """The members have changed, and with them this node's place."""
        gone = set(self.setting.nb.neighbours) - set(nb.neighbours)
        self.setting.nb = nb
        for peer in gone:
            self.outbox.drop(peer)
            self.clock.forget(peer)
            for kept in (self.held, self.newest, self.spoken, self.mixed):
                kept.pop(peer, None)
        self.desk.enqueue(self._maybe_mix)

    def trained(self) -> bool:
        """A local phase has ended: its round opens. The next phase begins after the mix."""
        if not self.setting.nb.neighbours:
            return True
        if not self.begun:  # perhaps it has been here before
            self.begun, self.round = True, max(self.round, self.local.round - 1)
        self.clock.phase_s = max(self.desk.now - self.local.phase_from, 0.0)
        behind = self._behind()
        if behind > 0:
            self.desk.report.skipped(behind)
            self.round += behind
            self.local.advance(behind)
        self.desk.enqueue(self._open)
        return False

    @property
    def is_led(self) -> bool:
        """Whether a neighbour has spoken of the round that would open next: what a node at rest waits for."""
        return max((self.spoken.get(peer, -1) for peer in self.setting.nb.neighbours), default=-1) >= self.round

    def _behind(self) -> int:
        """Rounds by which more than half of the neighbours are further: one alone leads nobody astray."""
        seen = sorted(self.spoken.get(peer, 0) for peer in self.setting.nb.neighbours if self.clock.awaits(peer))
        return median_low(seen) - self.round if seen else 0

    def settle(self) -> bool:
        """Whether nothing of mine is on its way to a neighbour that can be reached."""
        return self.desk.idle and self.own is None and self.outbox.is_idle

    @property
    def probes(self) -> Probes:
        return self.outbox.probes

    def left(self, peer: NodeId) -> None:
        self.gone_home.add(peer)
        self.desk.enqueue(self._maybe_mix)

    def _turn(self, round_: int) -> Turn:
        rule = self.setting.rule
        return self.setting.nb.turn(round_, rule.weighting, rule.fanout, self.seed)

    # -------------------------------------------------------------------------------------------- saying

    def _open(self) -> Procedure:
        key, local = derive(self.desk.key, "codec", "row", self.round), self.local
        self.phase = local.phase or idle_phase(local.x)
        notes = tuple(notes_of(self.setting.rule, local.rows).tolist())
        self.own = own = yield EncodeRow(None, local.x, local.rows, self.phase, key)
        self.stated = local.averages.stated()
        self.clock.opened(self.round, self.desk.now)
        self.desk.persist()
        for peer in self._turn(self.round).to:
            said = self.setting.said_to(peer, own)
            row = Row(self.setting.recipe.digest, peer, self.round, self.stated, said.sections, notes)
            self.outbox.put(peer, (self.round, row, said))
        yield from self._maybe_mix()

    def _post(self, peer: NodeId, what: tuple[int, Row, EncodedRow], deadline: float) -> None:
        round_, row, own = what
        limit = HEADER_BYTES_MAX + CONTROL_BYTES_MAX
        self.desk.do(Post(("row", peer, round_), peer, row, (own.body,), own.chunks, limit, deadline))

    def heard(self, event: Heard) -> None:
        key: Any = event.key
        match key:
            case ("probe", peer):
                self.outbox.probes.probed(peer, event.verdict is Verdict.ACCEPT)
            case ("row", peer, _) if event.verdict in (Verdict.ACCEPT, Verdict.IGNORE):
                taken = self.outbox.taken(peer)
                if taken is not None and event.verdict is Verdict.ACCEPT:
                    round_, _, own = taken
                    row = Reveal(
                        peer, 0, round_, body_digest(own.chunks), memoryview(own.body).nbytes, self.journal.codec_name
                    )
                    self.journal.reveals.append(row)
            case ("row", peer, _):
                if event.verdict is Verdict.REJECT:
                    self.desk.report.refused(peer, f"by it: {event.code}")
                self.outbox.failed(peer, event.code, event.after_s)

    def failed(self, key: Any, reason: str) -> None:
        match key:
            case ("probe", peer):
                self.outbox.probes.probed(peer, False)
            case ("row", peer, _):
                self.outbox.failed(peer, reason)

    def retry(self, peer: NodeId) -> None:
        self.outbox.retry(peer)

    # -------------------------------------------------------------------------------------------- being told

    def knock(self, event: Knock) -> None:
        row, token, peer = event.message, event.token, event.head.author
        self.outbox.probes.seen(peer)
        if not isinstance(row, Row):
            self.desk.do(Refuse(token, Verdict.REJECT, "kind", f"a {row.KIND} has no meaning under this rule"))
            return
        try:
            check_row(self.setting, row, peer, event.head.body_len, peer in self._turn(row.round).rows)
        except Reject as refusal:
            self.desk.report.refused(peer, refusal.code)
            self.desk.do(Refuse(token, Verdict.REJECT, refusal.code, refusal.detail))
            return
        self.spoken[peer] = max(self.spoken.get(peer, 0), row.round)
        if self._is_late(peer, row.round):
            self.clock.arrived(peer, row.round, self.desk.now)
            self.desk.do(Refuse(token, Verdict.IGNORE, "late"))
        else:
            self.desk.do(Take(token))

    def _is_late(self, peer: NodeId, round_: int) -> bool:
        """Whether a row is past use: mixed or held already, or too old."""
        if round_ <= self.mixed.get(peer, -1) or round_ in self.held.get(peer, {}):
            return True
        return round_ < self.round - self.setting.staleness and not self.pushes

    def whole(self, event: Whole) -> None:
        self.desk.enqueue(lambda: self._store(event))

    def _store(self, event: Whole) -> Procedure:
        row, peer = event.message, event.head.author
        assert isinstance(row, Row)
        if self._is_late(peer, row.round):
            self.desk.do(Refuse(event.token, Verdict.IGNORE, "late"))
            return
        q: Tensor | Reject = yield Decode(None, self.setting.schema_of(peer), row.sections, event.body)
        if isinstance(q, Reject):
            self.desk.report.refused(peer, q.code)
            self.desk.do(Refuse(event.token, Verdict.REJECT, q.code, q.detail))
            return
        held = self.held.setdefault(peer, {})
        held[row.round] = HeardRow(q, Stated(*row.averages), row.notes)
        while len(held) > HELD_MAX:
            del held[min(held)]
        self.newest[peer] = max(self.newest.get(peer, -1), row.round)
        self.clock.arrived(peer, row.round, self.desk.now)
        self.journal.received(peer, 0, row.round, body_digest(event.head.chunks), event.head.body_len)
        self.desk.do(Answer(event.token, EdgeState(self.setting.recipe.digest, peer, "have", 0, row.round)))
        yield from self._maybe_mix()

    # -------------------------------------------------------------------------------------------- mixing

    def overdue(self, round_: int) -> None:
        """Somebody's time is over."""
        if self.own is not None and round_ == self.round:
            self.desk.enqueue(self._maybe_mix)

    def _missing(self, turn: Turn) -> list[NodeId]:
        """Who has said no row of this round yet, and is not known to be past it."""
        return [p for p in turn.rows if self.newest.get(p, -1) < self.round and p not in self.gone_home]

    def _maybe_mix(self) -> Procedure:
        if self.own is None:
            return
        turn = self._turn(self.round)
        missing = self._missing(turn)
        awaited = [peer for peer in missing if self.clock.awaits(peer)]
        due = self.clock.until(self.round, awaited)
        if awaited and self.desk.now < due:
            self.desk.timer(("patience", self.round), due - self.desk.now)
            return
        for peer in missing:
            if self.clock.awaits(peer):
                self.desk.report.late(peer)
            self.clock.missed(peer)
        yield from self._mix(turn)

    def _chosen(self) -> list[tuple[NodeId, HeardRow, float]]:
        """The rows to mix now, with their weights; they are held no longer."""
        chosen = []
        for peer, held in sorted(self.held.items()):
            ripe = sorted(round_ for round_ in held if round_ <= self.round)
            rows = {round_: held.pop(round_) for round_ in ripe}
            for round_ in ripe if self.pushes else ripe[-1:]:
                age = self.round - round_
                if self.pushes or age <= self.setting.staleness:
                    fading = 1.0 if self.pushes else FADING**age
                    chosen.append((peer, rows[round_], fading * self._turn(round_).rows.get(peer, 0.0)))
            if ripe:
                self.mixed[peer] = ripe[-1]
        return chosen

    def _mix(self, turn: Turn) -> Procedure:
        assert self.own is not None
        assert self.phase is not None
        chosen, local = self._chosen(), self.local
        total = sum(weight for _, _, weight in chosen)
        share = 1.0 / total if total > 1 and not self.pushes else 1.0
        weights = tuple(weight * share for _, _, weight in chosen)
        own, self.own = self.own, None  # rows that come while this is computed belong to the next mix
        mixed: MixedRow = yield MixRows(
            None,
            local.x,
            local.rows,
            self.phase,
            own.q,
            tuple(row.q for _, row, _ in chosen),
            weights,
            turn.given,
            tuple(row.notes for _, row, _ in chosen),
        )
        local.x, local.rows, local.phase = mixed.x, mixed.state, None
        local.similarity = dict(zip((peer for peer, _, _ in chosen), mixed.similarity, strict=False))
        others = [row.stated for _, row, _ in chosen]
        local.settle(local.averages.gathered(self.stated, others, weights, local.rounds))
        for peer, _, _ in chosen:
            self.desk.report.mixed(peer)
        self.round += 1
        self.proceed()
