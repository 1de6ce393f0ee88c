"""A node's part in valuing, window by window: it commits, shows, judges and reveals. Knows windows, draws and messages;
what work is worth is appraisal's, what it was is deeds'.

Theory of operation
-------------------
The ledger's windows are the only clock (ledger/outcome/scores.py has the table). When window w opens:

| of window | what this node does                                                                        |
|-----------|--------------------------------------------------------------------------------------------|
| w         | commits to the work done in w - 1, if valuing may take the bytes that this will cost        |
| w - 1     | shows its salt                                                                             |
| w - 2     | the draw is known: a subject shows its work to the evaluators, an evaluator waits for it    |
| w - 3     | reveals the scores that it committed to                                                    |

An evaluator judges when all subjects have shown their work, or half of the window is over. What is shown before this
node knows that the window has opened is kept.

A commit is a promise to show something later, so what it takes is durable before the entry leaves (memory.py), and a
node that was killed in between goes on: at the first height after its return it says what its feed does not hold yet,
shows its work again, and judges what it has not committed to. What it was shown is durable before it is answered.

Bytes: a node commits only if what it will show, to all evaluators, keeps what valuing costs within `share` of the
bodies that it will have said to its neighbours when the run ends, going by what it has said so far: the first windows
are those in which most is learned. An audit is counted with each commit, by twice its chance: who happens to be audited
need not stay away from later windows for it, and over many commits it takes less than that. Of a window without a
commit the work is not valued.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from p2pfl.core.ids import NodeId, short
from p2pfl.core.noise import Key, derive
from p2pfl.core.party import Compute, Restored, Take, Verdict
from p2pfl.horizontal.cells.deeds import CellDeeds, Together
from p2pfl.horizontal.model.local import Local
from p2pfl.horizontal.model.work import Calculate, GossipWork, body_bytes_max, decode_sections
from p2pfl.horizontal.pace.desk import Desk
from p2pfl.horizontal.pairs.deeds import Deed, Deeds
from p2pfl.horizontal.valuing.appraisal import Appraisal, Appraised, Subject, appraise, newest
from p2pfl.horizontal.valuing.making import expected_bytes, make_cell_work, make_work
from p2pfl.horizontal.valuing.manner import Manner
from p2pfl.horizontal.valuing.memory import (
    Memory,
    Record,
    Row,
    hidden_record,
    judged_record,
    lately,
    model_record,
    shown_record,
    spent_record,
    work_records,
)
from p2pfl.horizontal.valuing.receipts import Receipts
from p2pfl.horizontal.valuing.showing import Showing
from p2pfl.horizontal.valuing.shown import Shown, Work, unpack
from p2pfl.horizontal.valuing.together import appraise_cells
from p2pfl.learn.data import SplitName
from p2pfl.ledger.feeds.kinds import UNOPENED, UNREVEALED, ScoreReveal, freeze
from p2pfl.ledger.outcome.draw import Draw, draw_of, salt_digest
from p2pfl.ledger.outcome.scores import score_commitment
from p2pfl.ledger.outcome.state import State, key_of
from p2pfl.valuation import Account, sketch_of
from p2pfl.wire.messages import Edge
from p2pfl.wire.post import Answer, Append, Final, Knock, Refuse, Whole

WINDOWS_KEPT = 4


@dataclass(frozen=True)
class Valued:
    """How a network values. share: of the bytes said to neighbours. heights: of one accounting window. gtg: the
    estimator for many subjects. keep: windows that can be judged again later."""

    me: NodeId
    recipe: bytes
    members: tuple[NodeId, ...]
    heights: int
    share: float
    split: SplitName
    gtg: bool = False
    manner: Manner = field(default_factory=Manner)
    keep: int = 0


@dataclass(eq=False)
class Hearing:
    """A window that this node evaluates."""

    drawn: Draw
    state: State
    judging: bool = False
    subjects: tuple[Subject, ...] = ()


class Valuing:
    """Of one node and run. `due_bytes`: what its commits cost on average, whatever was drawn."""

    def __init__(self, valued: Valued, desk: Desk, local: Local, work: GossipWork, deeds: Deeds) -> None:
        self.valued, self.desk, self.local, self.work, self.deeds = valued, desk, local, work, deeds
        self.memory = Memory()
        self.said: frozenset[tuple[str, Any]] = frozenset()  # by this node's feed, when it came back
        self.back = False  # from a restart, and no height since
        self.window = 0
        self.showing = Showing(valued.me, valued.recipe, valued.manner, desk)
        self.due_bytes = 0
        self.judged_s = 0.0
        self.evaluations = 0
        self._due = True
        self._works: dict[int, Work] = {}
        self._models: dict[int, Tensor] = {0: local.x}
        self._hearings: dict[int, Hearing] = {}
        self._shown: dict[tuple[int, NodeId], tuple[Shown, bytes]] = {}
        self._seen: dict[int, dict[NodeId, Tensor]] = {}
        self._hidden: dict[int, ScoreReveal] = {}
        self._receipts = Receipts()
        self._since: dict[int, float] = {}

    def restore(self, restored: Restored) -> None:
        """Take up what an earlier start left; the model must be back. Raises BrokenChain."""
        found = self.memory.recall(restored, self.work)
        self.deeds.restart(self.local.x, self.local.round)
        self.showing.spent_bytes, self.deeds.bytes_said = found.spent
        if not found.models and not found.works:
            return
        self.window, self.back = max((*found.models, *found.works)), True
        since = self.window - WINDOWS_KEPT
        self._works = {window: work for window, work in found.works.items() if window > since}
        self._models |= {window: x.to(self.local.x.dtype) for window, x in found.models.items() if window >= since}
        self._shown = {place: shown for place, shown in found.shown.items() if place[0] > since}
        self._hidden = found.hidden
        self._seen = seen_in(self._shown, found.judged, self.work)
        self.said = lately(restored, self.valued.me)

    # -------------------------------------------------------------------------------------------- the ledger's clock

    def final(self, event: Final) -> None:
        """A height is final."""
        state: State = event.state
        number, first = _open_window(state)
        self._receipts.take(event.entries, number)
        if number > self.window or self.back:
            self._turn(number, state)
        late = event.height - first + 1 >= max(self.valued.heights // 2, 1)
        for window in list(self._hearings):
            self._maybe_judge(window, late)
        self._maybe_commit()

    def _turn(self, window: int, state: State) -> None:
        if window > self.window:
            self.deeds.turn(self.local.round)
            self.showing.turned(window, self.deeds.pulled)
            self._models[window] = x = self.local.x
            self._keep(lambda: (model_record(window, x),))
        self.window, self._due = window, window > self.window
        if self.back:
            self._say_again(window)
        self._show_salt(window - 1, state)
        drawn = draw_of(state, window - 2)
        if drawn is not None:
            self._drawn(window - 2, drawn, state)
        self._reveal(window - 3)
        self._forget(window - WINDOWS_KEPT)

    def _say_again(self, window: int) -> None:
        """What was durable before it was killed, and may be in nobody's feed yet."""
        self.back = False
        if window in self._works:
            self._commit(self._works[window])
        if window - 2 in self._hidden:
            self._hide(self._hidden[window - 2])

    def _forget(self, last: int) -> None:
        for kept in (self._works, self._models, self._hearings, self._seen, self._hidden):
            for window in [window for window in kept if window <= last]:
                del kept[window]
        self._shown = {key: value for key, value in self._shown.items() if key[0] > last}
        self.showing.forget(last)
        old = self.memory.forget(last, last - self.valued.keep)
        self.desk.persist(*old, *self.memory.put(spent_record(self.showing.spent_bytes, self.deeds.bytes_said)))

    def _append(self, kind: str, payload: list[Any]) -> None:
        """Once: what the feed of a node that is back holds already is not said again."""
        if (kind, payload[0]) not in self.said:
            self.desk.persist(entries=(Append(kind, self.local.round, payload),))

    def _keep(self, records: Callable[[], tuple[Record, ...]]) -> None:
        """Durable soon, packed off the event loop; nothing that leaves hangs on it."""
        self.desk.do(Compute(Calculate(("valuing", "keep"), records)))

    # -------------------------------------------------------------------------------------------- my own work

    def _maybe_commit(self) -> None:
        deed = self.deeds.look()
        cost = self._cost()
        if not self._due or deed is None or self.due_bytes + cost > self.valued.share * self._expected():
            return
        self._due = False
        self.due_bytes += cost
        self.deeds.take()
        window, salts = self.window, [derive(self.desk.key, name, self.window) for name in ("salt", "opening")]
        others = [update for seen in self._seen.values() for update in seen.values()]
        update = self.valued.manner.update(deed.update, deed.after - deed.before, others)
        me, work = self.valued.me, self.work

        def build() -> tuple[Work, tuple[Record, ...]]:
            make = make_cell_work if isinstance(deed, Together) else make_work
            made = make(deed, update, me, salts[0], salts[1], work)
            return made, work_records(window, made)

        self.desk.do(Compute(Calculate(("valuing", "commit", window), build)))

    def _expected(self) -> float:
        """Bytes of messages of the whole run, if it goes on as it has."""
        return self.deeds.bytes_said * max(self.local.last_round / max(self.local.progress, 1.0), 1.0)

    def _cost(self) -> int:
        others = max(len(self.valued.members) - 1, 1)
        return expected_bytes(others, len(self.deeds.pulled), self._update_bytes(), self.work.schema)

    def _update_bytes(self) -> int:
        """Of the newest update, as coded; of one that is not coded yet the codec's bound says too much by far."""
        if self._works:
            return len(self._works[max(self._works)].update)
        told = self.deeds.look()
        return (
            len(told.told.saying.body) if isinstance(told, Deed) else body_bytes_max(self.work.codec, self.work.schema)
        )

    def _committed(self, window: int, work: Work, records: tuple[Record, ...]) -> None:
        self._works[window] = work
        self.desk.persist(*self.memory.put(*records))
        self._commit(work)

    def _commit(self, work: Work) -> None:
        opening = work.opening
        self._append("update.commit", [opening.commitment, salt_digest(work.salt), opening.first, opening.last])

    def _show_salt(self, window: int, state: State) -> None:
        work = self._works.get(window)
        commit = state.get("commit", window, self.valued.me)
        if work is None or commit is None or commit[0] != work.opening.commitment:
            return
        if self.valued.manner.shows_salt(window):
            self._append("draw.salt", [window, work.salt])

    # -------------------------------------------------------------------------------------------- others' work

    def _drawn(self, window: int, drawn: Draw, state: State) -> None:
        if self.valued.me in drawn.evaluators:
            self._hearings[window] = Hearing(drawn, state)
        self.showing.drawn(window, drawn, seed_at(state, window), self._works.get(window))

    def knock(self, event: Knock) -> None:
        """Somebody has work to show: taken if it is of a window that is, or may soon be, drawn here."""
        message: Any = event.message
        where = (message.window, event.head.author)
        expected = message.body_len(self.work.schema.size)
        most = body_bytes_max(self.work.codec, self.work.schema) * 2 + 8 * self.work.schema.size
        if event.head.author not in self.valued.members:
            self.desk.do(Refuse(event.token, Verdict.REJECT, "stranger", "not a member of this network"))
        elif event.head.body_len != expected or expected > most:
            self.desk.do(Refuse(event.token, Verdict.REJECT, "size", f"expected {expected} bytes, at most {most}"))
        elif where in self._shown:
            self._answer(event)
        elif not self.window - 3 < message.window < self.window:
            self.desk.do(Refuse(event.token, Verdict.REJECT, "window", f"this is window {self.window}"))
        else:
            self.desk.do(Take(event.token))

    def whole(self, event: Whole) -> None:
        message: Any = event.message
        where = (message.window, event.head.author)
        if where not in self._shown:
            self._shown[where] = (message, bytes(event.body))
            self.desk.persist(*self.memory.put(shown_record(message, event.head.author, self._shown[where][1])))
        self._answer(event)
        self._maybe_judge(message.window, late=False)

    def _answer(self, event: Knock | Whole) -> None:
        have = Edge(self.valued.recipe, event.head.author, "have", 0, 0)
        self.desk.do(Answer(event.token, have))

    def _maybe_judge(self, window: int, late: bool) -> None:
        hearing = self._hearings.get(window)
        if hearing is None or hearing.judging or window in self._hidden or window != self.window - 2:
            return
        others = [node for node in hearing.drawn.subjects if node != self.valued.me]
        if not others or not (late or all((window, node) in self._shown for node in others)):
            return
        hearing.judging = True
        task, work = self._appraisal(window, hearing, others), self.work
        self._since[window] = self.desk.now
        cells = dict(self.deeds.cells) if isinstance(self.deeds, CellDeeds) else None

        def judge() -> Appraised:
            return appraise(task, work) if cells is None else appraise_cells(task, cells, work)

        self.desk.do(Compute(Calculate(("valuing", "judge", window), judge, "train")))

    def _appraisal(self, window: int, hearing: Hearing, others: list[NodeId]) -> Appraisal:
        seed = seed_at(hearing.state, window)
        key = derive(Key(seed), "orders", self.valued.me)
        x = self._models.get(window - 1, self._models[min(self._models)])
        subjects = tuple(self._subject(window, hearing, node) for node in others)
        hearing.subjects = subjects
        earlier = newest(list(self._seen.values()))
        after, receipts = self._models.get(window, self.local.x), self._receipts.digests()
        return Appraisal(x, after, subjects, earlier, receipts, key, self.valued.split, self.valued.gtg, seed)

    def _subject(self, window: int, hearing: Hearing, node: NodeId) -> Subject:
        cell = hearing.state.cell(key_of("commit", window, node))
        assert cell is not None
        shown, body = self._shown.get((window, node), (None, b""))
        audited = self.valued.me in hearing.drawn.audits.get(node, ()) and not isinstance(self.deeds, CellDeeds)
        listens = self.valued.me in hearing.drawn.listeners.get(node, ())
        told = self._accounts(window, node) if listens else {}
        missing = len(self._receipts.neighbours(node, window - 1) - told.keys()) if listens else 0
        parts = tuple(map(sketch_of, told.values()))
        return Subject(node, cell.value[0], cell.touched, shown, body, audited, parts, missing)  # type: ignore[arg-type]

    def _accounts(self, window: int, subject: NodeId) -> dict[NodeId, Account]:
        """What its neighbours say that they did to its model, this node if it is one too."""
        of_window = {author: shown.accounts for (of, author), (shown, _) in self._shown.items() if of == window}
        of_window[self.valued.me] = self.showing.accounts.get(window, {})
        return {author: told[subject] for author, told in of_window.items() if subject in told and author != subject}

    def _appraised(self, window: int, found: Appraised) -> None:
        hearing = self._hearings.get(window)
        if hearing is None:  # its window is long over
            return
        self.judged_s += self.desk.now - self._since.pop(window, self.desk.now)
        self.evaluations += found.evaluations
        self._seen[window] = dict(found.seen)
        rows = self.valued.manner.scores(found.rows)
        salt = derive(self.desk.key, "scores", window)
        said = ScoreReveal(window, salt, found.model, found.estimator, found.evaluations, found.samples, rows)
        self._hidden[window] = said
        order = {subject.node: subject.order for subject in hearing.subjects}
        judged = judged_record(window, tuple((row[0], order[row[0]], row[2]) for row in found.rows))  # type: ignore[index,misc]
        self.desk.persist(*self.memory.put(judged, hidden_record(said)))
        self._hide(said)
        self._emit(window, found)

    def _hide(self, said: ScoreReveal) -> None:
        told = tuple(freeze(value) for value in said[2:])
        self._append("score.commit", [said.window, score_commitment(self.valued.me, said.window, said.salt, told)])

    def _reveal(self, window: int) -> None:
        said = self._hidden.pop(window, None)
        if said is not None and self.valued.manner.reveals_scores(window):
            self._append("score.reveal", [*said[:-1], [list(row) for row in said.scores]])  # type: ignore[arg-type]

    # -------------------------------------------------------------------------------------------- what was computed

    def computed(self, task: Calculate, result: Any) -> None:
        """A task of `op` ("valuing", what, window) is done."""
        op: Any = task.op
        if op[1] == "commit" and isinstance(result, tuple):
            self._committed(op[2], *result)
        elif op[1] == "account" and isinstance(result, dict):
            self.showing.accounted(op[2], result)
        elif op[1] == "keep":
            self.desk.persist(*self.memory.put(*result))
        elif op[1] == "judge" and isinstance(result, Appraised):
            self._appraised(op[2], result)

    def _emit(self, window: int, found: Appraised) -> None:
        odd = sorted(short(row[0]) for row in found.rows if row[2])
        fields: dict[str, Any] = {
            "window": window,
            "subjects": len(found.rows),
            "odd": " ".join(odd),
            "estimator": found.estimator,
        }
        self.desk.emit("valued", **fields, evaluations=found.evaluations)

    def told(self) -> dict[str, Any]:
        """What valuing took, for the report at the end."""
        said = max(self.deeds.bytes_said, 1)
        return {
            "valuation_bytes": self.showing.spent_bytes,
            "valuation_share": round(self.showing.spent_bytes / said, 4),
            "valuation_models": self.evaluations,
            "valuation_s": round(self.judged_s, 3),
        }


def seen_in(
    shown: Mapping[tuple[int, NodeId], tuple[Shown, bytes]], judged: Mapping[int, tuple[Row, ...]], work: GossipWork
) -> dict[int, dict[NodeId, Tensor]]:
    """The updates of windows that were judged, as they were shown: what `Appraised.seen` said of them."""
    seen: dict[int, dict[NodeId, Tensor]] = {}
    for (window, author), (message, body) in shown.items():
        rows = {node: finding for node, _, finding in judged.get(window, ())}
        if rows.get(author, UNOPENED) not in (UNOPENED, UNREVEALED):
            parts = unpack(message, body, work.schema.size)
            update = decode_sections(work.codec, message.sections, parts.update, work.schema)
            seen.setdefault(window, {})[author] = update
    return seen


def seed_at(state: State, window: int) -> bytes:
    """Of the draw of a window, which is known."""
    value = state.get("draw", window)
    assert value is not None
    assert isinstance(value[1], bytes)
    return value[1]


def _open_window(state: State) -> tuple[int, int]:
    number, first = state.get("window") or (0, 1)
    assert isinstance(number, int)
    assert isinstance(first, int)
    return number, first
