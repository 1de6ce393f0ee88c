"""The chair of one cell, sans IO: statements in, one sheet a step out. Knows who has spoken; opens and decides nothing.

It waits for everybody who may still speak, or until the caller says that the time is up; then the sheet is made, once.
Who comes later is given the sheet it is not in.
"""

from collections.abc import Iterable

from p2pfl.core.ids import NodeId
from p2pfl.errors import Ignore, Reject
from p2pfl.secagg.cell import Cell
from p2pfl.secagg.sheet import Notary, Sheet, make_sheet
from p2pfl.secagg.statements import Statement, Step


class Chair:
    """`own` is called first in every step, with the chair's own statement."""

    def __init__(self, cell: Cell, notary: Notary) -> None:
        self.cell, self.notary = cell, notary
        self.sheets: dict[Step, tuple[Sheet, bytes]] = {}
        self._own: dict[Step, tuple[object, ...]] = {}
        self._said: dict[Step, dict[NodeId, Statement]] = {}

    def own(self, step: Step, payload: tuple[object, ...]) -> None:
        self._own[step] = payload

    def heard(self, statement: Statement) -> None:
        """A member's statement, signature checked; a repeat changes nothing. Raises Reject, Ignore."""
        message, author = statement.message, statement.author
        if message.cell != self.cell.id or author not in self.cell.members or author == self.cell.chair:
            raise Reject("another-cell", "expected a member of this cell")
        if message.step not in (Step.KEYS, Step.SHARES, Step.HELD, Step.ANSWERS):
            raise Reject("not-for-the-chair", f"{message.step.name} is no statement to a chair")
        if Step(message.step + 1) in self.sheets:
            return
        before = self._said.setdefault(message.step, {}).setdefault(author, statement)
        if before.message.payload != message.payload:
            raise Ignore("said", "you have said something else in this step")

    def waits_for(self, step: Step) -> frozenset[NodeId]:
        """Who may still speak in this step and has not; the chair too until it has."""
        if step == Step.KEYS:
            expected: Iterable[NodeId] = self.cell.members
        else:
            before = self.sheets.get(Step(step - 1))
            expected = before[0].authors if before else self.cell.members
        spoken = set(self._said.get(step, ())) | ({self.cell.chair} if step in self._own else set())
        return frozenset(expected) - spoken

    def close(self, step: Step) -> tuple[Sheet, bytes]:
        """The step's sheet and its body, from now on always the same. The chair must have spoken."""
        name = Step(step + 1)
        if name not in self.sheets:
            self.sheets[name] = make_sheet(self.cell, name, self._own[step], self._said.get(step, {}), self.notary)
        return self.sheets[name]
