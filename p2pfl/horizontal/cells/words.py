"""Words from other members: which are taken, which must wait, which are refused. Knows a sitting's slices and totals;
what they sum to is cells_work's.

Words may come before the sheet that they follow, since every member hears from the chair at its own time: such a
request is kept and answered when the sheet is here. The door bounds how many of one member wait.
"""

from typing import Any

from p2pfl.core.ids import short
from p2pfl.core.party import ReplyToken, Take, Verdict
from p2pfl.errors import Reject
from p2pfl.horizontal.cells.sitting import Sitting
from p2pfl.horizontal.model.work import body_digest
from p2pfl.horizontal.pace.desk import Desk
from p2pfl.horizontal.records.journal import Journal
from p2pfl.secagg.cell import CELL_MIN, slices
from p2pfl.secagg.statements import CellMessage, Slice, Step
from p2pfl.wire.messages import Edge as EdgeState
from p2pfl.wire.post import Answer, Knock, Refuse, Whole


class Words:
    """Of one node, over all its rounds."""

    def __init__(self, desk: Desk, journal: Journal) -> None:
        self.desk, self.journal = desk, journal

    def knock(self, sitting: Sitting, event: Knock, message: CellMessage) -> None:
        """A slice or a total of the round that is open; what is longer than any can be is refused unread."""
        longest = sitting.word_bytes * max(len(place) for place in slices(sitting.summand.size, CELL_MIN))
        if message.step not in (Step.SLICE, Step.TOTAL):
            self._refuse(event, Reject("step", f"{message.step.name} is not said unasked"))
        elif event.head.body_len > longest:
            self._refuse(event, Reject("size", f"expected at most {longest} bytes, got {event.head.body_len}"))
        elif not sitting.parts or (message.step is Step.TOTAL and not sitting.member.survivors):
            sitting.early.append(event)
        else:
            self._admit(sitting, event, message)

    def admit_early(self, sitting: Sitting) -> None:
        """A sheet is here: what waited for it is looked at again."""
        early, sitting.early = sitting.early, []
        for event in early:
            assert isinstance(event.message, CellMessage)
            self.knock(sitting, event, event.message)

    def dismiss(self, sitting: Sitting) -> None:
        """The round is over."""
        for event in sitting.early:
            self.desk.do(Refuse(event.token, Verdict.IGNORE, "over"))

    def gone(self, sitting: Sitting, token: ReplyToken) -> None:
        sitting.early = [event for event in sitting.early if event.token != token]

    def whole(self, sitting: Sitting, event: Whole, message: CellMessage) -> None:
        """Taken words are here; the first of a kind count. They are copied: the buffer is the host's."""
        author, number = event.head.author, Slice.parse(message.payload).number
        if message.step is Step.TOTAL:
            sitting.totals.setdefault(number, bytes(event.body))
        elif (number, author) not in sitting.slices:
            sitting.slices[number, author] = bytes(event.body)
            digest = body_digest(event.head.chunks)
            self.journal.received(author, 0, message.round, digest, event.head.body_len)
        have: Any = EdgeState(message.recipe, author, "have", 0, message.round)
        self.desk.do(Answer(event.token, have))

    def _admit(self, sitting: Sitting, event: Knock, message: CellMessage) -> None:
        try:
            _check(sitting, event, message)
        except Reject as refusal:
            self.desk.emit("blamed", peer=short(event.head.author), code=refusal.code, round=message.round)
            self._refuse(event, refusal)
        else:
            self.desk.do(Take(event.token))

    def _refuse(self, event: Knock, refusal: Reject) -> None:
        self.desk.do(Refuse(event.token, Verdict.REJECT, refusal.code, refusal.detail))


def _check(sitting: Sitting, event: Knock, message: CellMessage) -> None:
    """Raises Reject: words of another sheet (a replay), of another length, of a slice that is not the sender's."""
    said, member, places = Slice.parse(message.payload), sitting.member, sitting.places
    after = Step.DEALT if message.step is Step.SLICE else Step.SURVIVORS
    if said.sheet != member.digest_of(after):
        raise Reject("another-sheet", f"{message.step.name} follows another {after.name} than mine")
    if said.number >= len(places) or event.head.body_len != sitting.word_bytes * len(places[said.number]):
        raise Reject("size", f"a slice of {event.head.body_len} bytes is none of this sum's")
    if event.head.author not in member.deals:
        raise Reject("no-dealer", "it dealt no shares in this cell")
    if message.step is Step.TOTAL and said.number not in member.heirs.get(event.head.author, ()):
        raise Reject("not-its-slice", f"slice {said.number} is another member's to sum")
