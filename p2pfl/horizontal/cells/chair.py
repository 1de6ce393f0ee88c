"""The chair's desk of one cell: holds the members' requests until a step's sheet is made, and answers with it. Knows
tokens and times; what a sheet says is secagg's.

A request that has waited for a while is answered "waiting", and is asked again: so a member can tell a chair that waits
from one that is gone. In the first step others may still be training, and everybody is waited for: four time-outs, but
half as long for each time in a row that a member did not come; once more as long where too few are there for a sum, who
may come from a cell that waited for somebody who is gone.
"""

from collections.abc import Callable, Mapping

from p2pfl.core.ids import NodeId
from p2pfl.core.party import ReplyToken, Verdict
from p2pfl.errors import Ignore, Reject
from p2pfl.horizontal.pace.desk import Desk
from p2pfl.secagg.cell import Cell
from p2pfl.secagg.chair import Chair
from p2pfl.secagg.sheet import Notary, Sheet
from p2pfl.secagg.statements import CellMessage, Statement, Step
from p2pfl.wire.post import Answer, Refuse

WAITS = {Step.KEYS: 4.0, Step.SHARES: 1.5, Step.HELD: 2.0, Step.ANSWERS: 1.5}
"""How many time-outs the chair waits for the others' statements of a step, at most. The first is the longest: a cell
that has lost a member in a later step comes to the next round so much later than the others."""
MISSED_LOG2_MAX = 3
POLL = 0.25
"""Of a time-out: how long a request is held before it is answered "waiting"."""
WAITING = "waiting"


class Chairing:
    """`made` is called with each sheet, once: the chair is a member too. missed: by member, rounds in a row in which it
    was not in the roster."""

    def __init__(
        self,
        cell: Cell,
        recipe: bytes,
        notary: Notary,
        desk: Desk,
        made: Callable[[Sheet], None],
        timeout_s: float,
        missed: Mapping[NodeId, int],
    ) -> None:
        self.cell, self.recipe, self.notary, self.desk, self.made = cell, recipe, notary, desk, made
        self.timeout_s, self.missed = timeout_s, missed
        self.chair = Chair(cell, notary)
        self._parked: dict[tuple[Step, NodeId], ReplyToken] = {}
        self._payloads: dict[Step, tuple[object, ...]] = {}
        self._again = False  # the time for KEYS was over once, with too few there

    def own(self, step: Step, payload: tuple[object, ...]) -> None:
        """My statement in this step; from now on the others are waited for, for a time."""
        self._payloads[step] = payload
        self.chair.own(step, payload)
        halvings = range(MISSED_LOG2_MAX + 1) if step is Step.KEYS else (0,)
        for k in halvings:
            key = ("patience", (self.cell.round, "chair", int(step), k))
            self.desk.timer(key, WAITS[step] * self.timeout_s / 2**k)
        self._maybe_close(step)

    def knock(self, token: ReplyToken, statement: Statement) -> None:
        """A member's statement; it is answered when the sheet is there."""
        step, author = statement.message.step, statement.author
        try:
            self.chair.heard(statement)
        except Ignore as late:
            self.desk.do(Refuse(token, Verdict.IGNORE, late.code, late.detail))
            return
        except Reject as refusal:
            self.desk.do(Refuse(token, Verdict.REJECT, refusal.code, refusal.detail))
            return
        before = self._parked.pop((step, author), None)
        if before is not None:  # it asks again: nobody waits for the first answer
            self.desk.do(Refuse(before, Verdict.BUSY, "asked-again"))
        self._parked[step, author] = token
        self.desk.timer(("patience", (self.cell.round, "poll", int(step), author)), POLL * self.timeout_s)
        if Step(step + 1) in self.chair.sheets:
            self._answer(step)
        else:
            self._maybe_close(step)

    def gone(self, token: ReplyToken) -> None:
        """Whoever asked waits no more."""
        self._parked = {key: kept for key, kept in self._parked.items() if kept != token}

    def overdue(self, step: Step, halvings: int) -> None:
        """So much of the time is over that those who have missed so many rounds are waited for no more."""
        if step not in self._payloads or Step(step + 1) in self.chair.sheets:
            return
        absent = self.chair.waits_for(step)
        if any(self.missed.get(member, 0) < halvings for member in absent):
            return
        if len(self.cell.members) - len(absent) < self.cell.threshold and step is Step.KEYS and not self._again:
            self._again = True
            key = ("patience", (self.cell.round, "chair", int(step), halvings))
            self.desk.timer(key, WAITS[step] * self.timeout_s)
            return
        self._close(step)

    def poll(self, step: Step, author: NodeId) -> None:
        """This request has waited for a while."""
        token = self._parked.pop((step, author), None)
        if token is not None:
            self.desk.do(Refuse(token, Verdict.BUSY, WAITING))

    def dismiss(self) -> None:
        """The cell is over."""
        for token in self._parked.values():
            self.desk.do(Refuse(token, Verdict.IGNORE, "over"))
        self._parked = {}

    def _maybe_close(self, step: Step) -> None:
        if step in self._payloads and not self.chair.waits_for(step):
            self._close(step)

    def _close(self, step: Step) -> None:
        sheet, _ = self.chair.close(step)
        self._answer(step)
        self.made(sheet)

    def _answer(self, step: Step) -> None:
        _, body = self.chair.close(step)
        chunks = self.notary.chunks(body)
        for key in sorted(key for key in self._parked if key[0] == step):
            token, cell = self._parked.pop(key), self.cell
            message = CellMessage(self.recipe, key[1], cell.id, cell.round, Step(step + 1), self._payloads[step])
            self.desk.do(Answer(token, message, (body,), chunks))  # type: ignore[arg-type]
