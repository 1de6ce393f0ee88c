"""A round of a secure cell in the gossip job: train, sum with the cell, move to its mean. Knows rounds, retries and
times; the protocol is secagg's (member.py), the arithmetic cells_work's.

Who is in whose cell follows from a value that all draw together, a window of rounds ahead (cells_beacon.py,
secagg/partition.py). A node that is in none this round trains on. A
round that cannot be finished (too few members, a liar, a dead chair) ends without a move: nobody learned anything, and
the next round's cells are drawn anew. Statements go to the cell's chair, as requests that it answers with the step's
sheet; words go from member to member.

| waiting for        | until                                                      | then                              |
|--------------------|------------------------------------------------------------|-----------------------------------|
| the cells' value   | everybody's statements, or `cells_beacon.WAITS`            | the round opens                   |
| a sheet            | four attempts unanswered (a chair that waits says so)  | over                              |
| the same           | `MEMBER_WAITS`                                             | over                              |
| slices             | `HELD_WAITS` after mine are masked                         | HELD with what there is           |
| totals             | `MEMBER_WAITS`                                             | over                              |
"""

from collections.abc import Callable, Mapping
from functools import partial
from statistics import median_low
from typing import Any, ClassVar

from torch import Tensor

from p2pfl.core.ids import NodeId, short
from p2pfl.core.limits import CONTROL_BYTES_MAX, HEADER_BYTES_MAX, ROUNDS_AHEAD_MAX
from p2pfl.core.noise import Key, derive
from p2pfl.core.party import Restored, Verdict
from p2pfl.errors import Reject
from p2pfl.horizontal.cells.beacon import Drawing
from p2pfl.horizontal.cells.chair import Chairing
from p2pfl.horizontal.cells.codec import positions_of
from p2pfl.horizontal.cells.deeds import CellDeeds, Sum
from p2pfl.horizontal.cells.notary import WireNotary, statement_of
from p2pfl.horizontal.cells.posts import STATEMENTS, Posts
from p2pfl.horizontal.cells.sitting import CellSetting, Sitting
from p2pfl.horizontal.cells.words import Words
from p2pfl.horizontal.cells.work import Part, Summand, mask, move, unmask
from p2pfl.horizontal.model.algorithm import idle_phase
from p2pfl.horizontal.model.local import Local
from p2pfl.horizontal.model.work import Calculate, body_digest
from p2pfl.horizontal.pace.desk import Desk, Procedure
from p2pfl.horizontal.pace.exchange import Exchange
from p2pfl.horizontal.records.journal import Journal
from p2pfl.horizontal.terms.averages import Stated
from p2pfl.ledger.feeds.kinds import Reveal
from p2pfl.secagg.beacon import context_of
from p2pfl.secagg.blame import Blame, SecAggAbort
from p2pfl.secagg.cell import Cell
from p2pfl.secagg.member import Lifting, Member
from p2pfl.secagg.onetime import SeenKeys
from p2pfl.secagg.partition import cells_of
from p2pfl.secagg.rounding import Grid
from p2pfl.secagg.salt import SaltMessage
from p2pfl.secagg.sheet import SHEET_BYTES_MAX, Sheet, open_sheet
from p2pfl.secagg.statements import CellMessage, Slice, Step
from p2pfl.wire.post import Gone, Heard, Knock, Post, Refuse, Whole

MEMBER_WAITS = {Step.ROSTER: 12.0, Step.DEALT: 3.0, Step.SURVIVORS: 4.0, Step.OPENED: 3.0, Step.TOTAL: 2.0}
"""In time-outs. The chair's own waits (cells_chair.py) are shorter."""
HELD_WAITS = 1.0


class Cells(Exchange):
    """The exchange of the rule "cell"."""

    gives_models: ClassVar[bool] = False

    def __init__(self, setting: CellSetting, desk: Desk, local: Local, journal: Journal, proceed: Callable[[], None]):
        super().__init__(desk, local, proceed)
        self.setting, self.journal = setting, journal
        self.seed = Key(setting.recipe.digest)
        context = context_of(setting.recipe.digest, setting.ground)
        self.drawing = None if context is None else Drawing(setting, context, desk, self._drawn)
        self.notary = WireNotary(setting.network, setting.recipe.digest)
        self.seen = SeenKeys()
        self.round = 0
        self.sitting: Sitting | None = None
        self.held: Tensor | None = None  # the model with an update that no sum has hidden yet
        self.chairs: dict[int, Chairing] = {}  # of this round and the next ones, where I am the chair
        self.ahead: dict[NodeId, int] = {}
        self.missed: dict[NodeId, int] = {}  # rounds in a row that others were not in the roster
        self.words = Words(desk, journal)
        self.opened = 0  # cells so far: their secrets are derived by this number, so none is used twice
        self.sums = 0
        self.failed_sums = 0
        self.deeds: CellDeeds | None = None  # of a network that values what cells do

    # -------------------------------------------------------------------------------------------- rounds

    @property
    def num_reachable(self) -> int:
        """Members of this round's cell that are not known to be gone."""
        sitting = self.sitting
        if sitting is None:
            return len(self.setting.ground.around[self.setting.me])
        return len(sitting.cell.members) - 1 - len(sitting.posts.silent)

    def start(self, restored: Restored) -> None:
        if self.drawing is not None:
            self.drawing.start(restored)

    def is_drawn(self, round_: int) -> bool:
        """Whether the cells of a round are known."""
        return self.drawing is None or self.drawing.drawn(self._window(round_)) is not None

    def cell_of(self, round_: int) -> Cell | None:
        """None: no cell has me in it. The round's cells must be drawn."""
        members = self._cells_of(round_).get(self.setting.me)
        return None if members is None else self._cell(members, round_)

    def _cells_of(self, round_: int) -> Mapping[NodeId, tuple[NodeId, ...]]:
        ground, seed = self.setting.ground, self.seed
        if self.drawing is not None:
            found = self.drawing.drawn(self._window(round_))
            assert found is not None
            ground, seed = self.drawing.ground(self._window(round_)), found.value
        return cells_of(ground, seed, round_)

    def _cell(self, members: tuple[NodeId, ...], round_: int) -> Cell:
        return Cell(members, self.setting.recipe.digest, round_, self.setting.rule.whole)

    def _weighs(self, round_: int) -> bool:
        """Whether the sum of this round has the members' work in it, too: the last one of each window that trains."""
        every = self.setting.rule.window
        return self.deeds is not None and round_ % every == every - 1 and round_ < self.setting.recipe.rounds

    def _window(self, round_: int) -> int:
        return round_ // self.setting.rule.window

    def trained(self) -> bool:
        """A local phase has ended: the round's sum begins, and the next phase after it. True: nobody to sum with."""
        self.round = self.local.round - 1 + self.local.extra
        if self.drawing is not None and not self.drawing.want(self._window(self.round)):
            return False
        return self._meet()

    def _drawn(self) -> None:
        """What the round waited for is known."""
        if self._meet():
            self.proceed()

    def _meet(self) -> bool:
        cell = self.cell_of(self.round)
        if self.deeds is not None and self._weighs(self.round):
            drawn = set(self._cells_of(self.round).values())
            self.deeds.drawn({self._cell(members, self.round).id: members for members in drawn})
        if cell is None:
            self.local.phase = self.held = None
            self.desk.emit("alone", round=self.round)
            return True
        self._open(cell)
        return False

    def settle(self) -> bool:
        """Whether nothing of mine is on its way."""
        return self.desk.idle and self.sitting is None

    def skip(self) -> int:
        """Rounds to leave out because those I meet are further; more than half of the neighbours must be."""
        seen = sorted(self.ahead.get(peer, 0) for peer in self.setting.ground.around[self.setting.me])
        behind = median_low(seen) - self.local.round - ROUNDS_AHEAD_MAX if seen else 0
        return max(behind, 0)

    def _open(self, cell: Cell) -> None:
        setting, local = self.setting, self.local
        self.opened += 1
        secret = derive(self.desk.key, "cell", cell.id, self.opened)
        stated = local.averages.stated()
        member = Member(cell, setting.me, secret, self.notary, stated.stop_at, self.seen)
        positions = positions_of(setting.codec, setting.schema, derive(self.seed, "positions", cell.id))
        x = local.x if self.held is None else self.held
        grid = Grid(setting.rule.reach, len(cell.members), setting.rule.bits)
        size = x.numel() if positions is None else positions.numel()
        work = self.deeds.due() if self.deeds is not None and self._weighs(cell.round) else None
        summand = Summand(x, positions, stated, grid, self._noise(cell, grid, size), work)
        posts = Posts(self.desk, setting.timeout_s)
        self.sitting = Sitting(cell, member, summand, local.phase or idle_phase(local.x), posts)
        self._wait(Step.ROSTER)
        self._say(Step.KEYS, member.keys.payload())

    def _noise(self, cell: Cell, grid: Grid, size: int) -> float:
        """What everybody adds while somebody may train, whether it has trained itself or not."""
        shared = self.setting.noise
        if shared is None or cell.round >= self.setting.recipe.rounds:
            return 0.0
        return shared.deviation(len(cell.members), cell.threshold, grid.unit, size)

    def landed(self, before: Tensor) -> None:
        """A local phase that began at `before` has landed. Where its noise is the cell's, it is no part of the model
        until the sum is there: what is kept, or goes into another sum, must not have it."""
        if self.setting.noise is not None:
            self.held, self.local.x = self.local.x, before

    def _over(self, why: Exception | None = None) -> None:
        """The round ends, with a move or without."""
        sitting = self.sitting
        if sitting is None:
            return
        if why is None:
            self.sums += 1
            survivors = len(sitting.member.survivors)
            self.desk.emit("cell", round=self.round, members=len(sitting.cell.members), survivors=survivors)
        else:
            self.failed_sums += 1
            if isinstance(why, Blame):
                self.desk.emit("blamed", peer=short(why.member), code=why.code, round=self.round)
            self.desk.emit("cell_failed", round=self.round, reason=str(why))
        self.words.dismiss(sitting)
        self.local.phase = None
        self.sitting = self.held = None
        self.chairs = {
            round_: chairing for round_, chairing in self.chairs.items() if not self._ended(round_, chairing)
        }
        self.round += 1
        self.proceed()

    def _ended(self, round_: int, chairing: Chairing) -> bool:
        if round_ <= self.round:
            chairing.dismiss()
        return round_ <= self.round

    def _wait(self, step: Step) -> None:
        assert self.sitting is not None
        self.sitting.waits = step
        seconds = MEMBER_WAITS[step] * self.setting.timeout_s
        self.desk.timer(("patience", (self.round, "member", int(step))), seconds)

    def overdue(self, what: Any) -> None:
        sitting = self.sitting
        match what:
            case (number, "beacon", halvings) if self.drawing is not None:
                self.drawing.overdue(number, halvings)
            case (round_, "chair", step, halvings) if round_ in self.chairs:
                self._guarded(lambda: self.chairs[round_].overdue(Step(step), halvings))
            case (round_, "poll", step, author) if round_ in self.chairs:
                self.chairs[round_].poll(Step(step), author)
            case (round_, "member", step) if sitting is not None and round_ == self.round and step == sitting.waits:
                self._over(SecAggAbort(f"{Step(step).name} did not come in time"))
            case (round_, "held", _) if sitting is not None and round_ == self.round:
                self._say_held()

    def _guarded(self, act: Callable[[], None]) -> None:
        """What a member of the cell did wrong ends the round, and nothing else."""
        try:
            act()
        except (Blame, SecAggAbort) as over:
            self._over(over)
        except Reject as refusal:
            self._over(SecAggAbort(str(refusal)))

    # -------------------------------------------------------------------------------------------- statements

    def _chairing(self, cell: Cell) -> Chairing:
        if cell.round not in self.chairs:
            made = lambda sheet: self._sheet(cell, sheet)  # noqa: E731
            self.chairs[cell.round] = Chairing(
                cell, self.setting.recipe.digest, self.notary, self.desk, made, self.setting.timeout_s, self.missed
            )
        return self.chairs[cell.round]

    def _say(self, step: Step, payload: tuple[Any, ...]) -> None:
        sitting = self.sitting
        assert sitting is not None
        self.desk.persist()
        if sitting.cell.chair == self.setting.me:
            self._chairing(sitting.cell).own(step, payload)
            return
        limit = HEADER_BYTES_MAX + CONTROL_BYTES_MAX + SHEET_BYTES_MAX
        self._post(sitting.cell.chair, step, 0, payload, Part(b"", b""), limit)

    def _post(self, to: NodeId, step: Step, number: int, payload: tuple[Any, ...], part: Part, limit: int) -> None:
        sitting = self.sitting
        assert sitting is not None
        key = ("cell", step, to, number, self.round)
        message: Any = CellMessage(self.setting.recipe.digest, to, sitting.cell.id, self.round, step, payload)
        body = (part.body,) if len(part.body) else ()
        sitting.posts.add(Post(key, to, message, body, part.chunks, limit))

    def heard(self, event: Heard) -> None:
        key: Any = event.key
        if key[0] == "beacon":
            assert self.drawing is not None
            self.drawing.heard(event, key[1])
            return
        sitting = self.sitting
        if sitting is None or key not in sitting.posts.failures:
            return
        step = key[1]
        if event.verdict is Verdict.BUSY and step in STATEMENTS:
            sitting.posts.waits(key)
            return
        if event.verdict in (Verdict.BUSY, Verdict.REJECT):  # nobody has signed that: the way may have damaged it
            self.failed(key, event.code)
            return
        if event.head is not None and self.notary.chunks(event.body) != event.head.chunks:
            self.failed(key, "damaged on the way")
            return
        sitting.posts.taken(key)
        if step in STATEMENTS:
            self._guarded(lambda: self._heard_sheet(sitting, step, event))
            return
        if event.verdict is Verdict.ACCEPT and step is Step.SLICE:
            part = sitting.parts[key[3]]
            row = Reveal(key[2], 0, self.round, body_digest(part.chunks), len(part.body), self.journal.codec_name)
            self.journal.reveals.append(row)
        if step is Step.SLICE:
            self._maybe_held()
        self._maybe_move()

    def _heard_sheet(self, sitting: Sitting, step: Step, event: Heard) -> None:
        message, head = event.message, event.head
        if event.verdict is not Verdict.ACCEPT or head is None or not isinstance(message, CellMessage):
            raise SecAggAbort(
                f"the chair {short(sitting.cell.chair)}.. answered {step.name} with {event.code or 'less'}"
            )
        sent = statement_of(head, message)
        self._sheet(sitting.cell, open_sheet(sitting.cell, Step(step + 1), sent, event.body, self.notary))

    def failed(self, key: Any, reason: str) -> None:
        """One attempt came to nothing."""
        if key[0] == "beacon":
            assert self.drawing is not None
            self.drawing.failed(key[1])
            return
        sitting = self.sitting
        if sitting is None or key not in sitting.posts.failures:
            return
        gone = sitting.posts.failed(key, reason)
        if gone and key[1] in STATEMENTS:
            self._over(SecAggAbort(f"the chair {short(key[2])}.. does not answer"))
        elif gone:
            self._maybe_move()

    def retry(self, key: Any) -> None:
        if key[0] == "beacon":
            assert self.drawing is not None
            self.drawing.retry(key[1])
        elif self.sitting is not None:
            self.sitting.posts.send(key)

    # -------------------------------------------------------------------------------------------- sheets

    def _sheet(self, cell: Cell, sheet: Sheet) -> None:
        sitting = self.sitting
        if sitting is None or sitting.cell.id != cell.id or sitting.waits != sheet.step:
            return
        self._guarded(lambda: self._step(sitting, sheet))

    def _step(self, sitting: Sitting, sheet: Sheet) -> None:
        member = sitting.member
        match sheet.step:
            case Step.ROSTER:
                for peer in sitting.cell.members:
                    self.missed[peer] = 0 if peer in sheet.payloads else self.missed.get(peer, 0) + 1
                deal = member.deal(sheet)
                self._wait(Step.DEALT)
                self._say(Step.SHARES, deal.payload())
            case Step.DEALT:
                cover = member.cover(sheet)
                self._report(sitting)
                self._wait(Step.SURVIVORS)
                key = derive(self.desk.key, "rounding", sitting.cell.id)
                self.desk.enqueue(lambda: self._masking(sitting, lambda: mask(sitting.summand, cover, key), sheet))
            case Step.SURVIVORS:
                answers = member.answers(sheet)
                self._wait(Step.OPENED)
                self._pass_on(sitting)
                self.words.admit_early(sitting)
                self._say(Step.ANSWERS, answers.payload())
            case Step.OPENED:
                sitting.lifting = member.lift(sheet)
                self._report(sitting)
                self._wait(Step.TOTAL)
                self._maybe_lift()

    def _report(self, sitting: Sitting) -> None:
        """Members that were found out while the sum goes on."""
        for blame in sitting.member.blames[sitting.named :]:
            self.desk.emit("blamed", peer=short(blame.member), code=blame.code, round=self.round)
        sitting.named = len(sitting.member.blames)

    # -------------------------------------------------------------------------------------------- slices

    def _masking(self, sitting: Sitting, run: Callable[[], list[Part]], sheet: Sheet) -> Procedure:
        if self.sitting is not sitting:
            return
        sitting.parts = yield Calculate(None, run)
        if self.sitting is not sitting:
            return
        for number, dealer in enumerate(sitting.member.deals):
            self._give(sitting, dealer, number, sheet.digest)
        self.desk.timer(("patience", (self.round, "held", 0)), HELD_WAITS * self.setting.timeout_s)
        self.words.admit_early(sitting)
        self._maybe_held()

    def _give(self, sitting: Sitting, to: NodeId, number: int, digest: bytes) -> None:
        part = sitting.parts[number]
        if to == self.setting.me:
            sitting.slices[number, to] = bytes(part.body)
        elif len(part.body):
            self._post(to, Step.SLICE, number, Slice(digest, number).payload(), part, CONTROL_BYTES_MAX * 2)

    def _pass_on(self, sitting: Sitting) -> None:
        """Slices whose summer is gone go to its heir."""
        member, digest = sitting.member, sitting.member.digest_of(Step.DEALT)
        dealers = tuple(member.deals)
        if self.setting.me not in member.survivors:
            return
        for heir, numbers in member.heirs.items():
            for number in numbers:
                if dealers[number] != heir:
                    self._give(sitting, heir, number, digest)

    def _maybe_held(self) -> None:
        """HELD as soon as every dealer's slice is here and mine are out."""
        sitting = self.sitting
        if sitting is None or not sitting.parts:
            return
        if not sitting.posts.open(Step.SLICE) and len(sitting.holders_of_mine()) == len(sitting.member.deals):
            self._say_held()

    def _say_held(self) -> None:
        sitting = self.sitting
        if sitting is None or not sitting.parts or sitting.waits is not Step.SURVIVORS or sitting.said_held:
            return
        sitting.said_held = True
        self._guarded(lambda: self._say(Step.HELD, sitting.member.held(sitting.holders_of_mine()).payload()))

    # -------------------------------------------------------------------------------------------- totals

    def _maybe_lift(self) -> None:
        """When all survivors' words of the slices that I sum are here."""
        sitting = self.sitting
        if sitting is None or sitting.lifting is None or sitting.lifted:
            return
        mine = sitting.member.heirs.get(self.setting.me, ())
        lifting = sitting.lifting
        if all(sitting.has(number, dealer) for number in mine for dealer in lifting.survivors):
            sitting.lifted = True
            self.desk.enqueue(lambda: self._lift(sitting, lifting, mine))

    def _lift(self, sitting: Sitting, lifting: Lifting, mine: tuple[int, ...]) -> Procedure:
        width = sitting.summand.grid.width
        for number in mine:
            if self.sitting is not sitting:
                return
            parts = [sitting.slices.get((number, dealer), b"") for dealer in lifting.survivors]
            total: Part | Reject = yield Calculate(None, partial(unmask, parts, lifting, sitting.places[number], width))
            if self.sitting is not sitting:
                return
            if isinstance(total, Reject):
                self._over(SecAggAbort(str(total)))
                return
            sitting.totals[number] = bytes(total.body)
            payload = Slice(sitting.member.digest_of(Step.SURVIVORS), number).payload()
            for peer in sitting.member.present:
                if peer != self.setting.me and len(total.body):
                    self._post(peer, Step.TOTAL, number, payload, total, CONTROL_BYTES_MAX * 2)
        self._maybe_move()

    def _maybe_move(self) -> None:
        """When all slices' sums are here and mine are with the others."""
        sitting = self.sitting
        if sitting is None or not sitting.lifted or sitting.waits is not Step.TOTAL:
            return
        numbers, out = range(len(sitting.places)), not sitting.posts.open(Step.TOTAL, but_silent=True)
        if out and all(number in sitting.totals or not len(sitting.places[number]) for number in numbers):
            sitting.waits = Step.KEYS  # nothing is waited for any more
            self.desk.enqueue(lambda: self._move(sitting, [sitting.totals.get(number, b"") for number in numbers]))

    def _move(self, sitting: Sitting, totals: list[bytes]) -> Procedure:
        survivors = sitting.member.survivors
        if self.sitting is not sitting:
            return
        if self.setting.me not in survivors:
            self._over(SecAggAbort("my words were not with everybody in time: the sum is the others'"))
            return
        local, rule = self.local, self.setting.rule
        state = local.rows
        found = yield Calculate(None, lambda: move(rule, state, sitting.phase, sitting.summand, totals, len(survivors)))
        if isinstance(found, Reject):
            self._over(SecAggAbort(str(found)))
            return
        mixed, stated, work = found
        if self.deeds is not None:
            self._weighed(sitting, work, local.x, mixed.x)
        local.x, local.rows = mixed.x, mixed.state
        stop_at = min(keys.note for keys in sitting.member.roster.values())
        other = Stated(stated.progress, stated.samples, stated.score, stop_at)
        local.settle(local.averages.met(sitting.summand.stated, other, local.rounds, 1.0))
        self._over()

    def _weighed(self, sitting: Sitting, work: Tensor | None, before: Tensor, after: Tensor) -> None:
        """What valuing may take is a share of what was said to others; the work of a weighed round can be shown."""
        assert self.deeds is not None
        said = sum(len(part.body) for part in sitting.parts)
        if work is None:
            self.deeds.bytes_said += said
        else:
            cell = sitting.cell
            self.deeds.summed(Sum(cell.id, cell.round, len(cell.members), before, after, work), said)

    # -------------------------------------------------------------------------------------------- being told

    def knock(self, event: Knock) -> None:
        message: Any = event.message
        token, author = event.token, event.head.author
        if isinstance(message, SaltMessage) and self.drawing is not None:
            self.drawing.knock(event, message)
            return
        if not isinstance(message, CellMessage):
            kind = message.KIND
            self.desk.do(Refuse(token, Verdict.REJECT, "kind", f"a {kind} has no meaning under this rule"))
            return
        self.ahead[author] = max(self.ahead.get(author, 0), message.round)
        if message.round < self.round:
            self.desk.do(Refuse(token, Verdict.IGNORE, "late"))
            return
        if message.round > self.local.round + self.local.extra + ROUNDS_AHEAD_MAX:
            self.desk.do(Refuse(token, Verdict.BUSY, "ahead"))
            return
        if not self.is_drawn(message.round):
            self.desk.do(Refuse(token, Verdict.BUSY, "not-drawn"))
            return
        cell = self.cell_of(message.round)
        if cell is None or message.cell != cell.id or author not in cell.members:
            self.desk.do(Refuse(token, Verdict.REJECT, "another-cell", "my cell of that round is another"))
        elif message.step in STATEMENTS:
            self._statement(event, message, cell)
        elif self.sitting is None or message.round != self.round:
            self.desk.do(Refuse(token, Verdict.BUSY, "ahead"))
        else:
            self.words.knock(self.sitting, event, message)

    def _statement(self, event: Knock, message: CellMessage, cell: Cell) -> None:
        if cell.chair != self.setting.me or event.head.body_len:
            self.desk.do(Refuse(event.token, Verdict.REJECT, "not-the-chair", "statements are short, and the chair's"))
            return
        chairing = self._chairing(cell)
        self._guarded(lambda: chairing.knock(event.token, statement_of(event.head, message)))

    def whole(self, event: Whole) -> None:
        message: Any = event.message
        sitting = self.sitting
        if isinstance(message, SaltMessage) and self.drawing is not None:
            self.drawing.whole(event, message)
            return
        if not isinstance(message, CellMessage) or sitting is None or message.round != self.round:
            self.desk.do(Refuse(event.token, Verdict.IGNORE, "late"))
            return
        self.words.whole(sitting, event, message)
        self._maybe_held()
        self._maybe_lift()
        self._maybe_move()

    def gone(self, event: Gone) -> None:
        for chairing in self.chairs.values():
            chairing.gone(event.token)
        if self.sitting is not None:
            self.words.gone(self.sitting, event.token)
