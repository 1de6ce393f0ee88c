"""The feature holder of a prediction: embeds the rows it is asked for. Knows turns; no tensor. See `scoring`."""

from typing import Any

from p2pfl.core.ids import NodeId
from p2pfl.core.noise import Key
from p2pfl.core.party import (
    Asked,
    Compute,
    Computed,
    Failed,
    ReplyToken,
    SendFailed,
    SetTimer,
    Started,
    Stop,
    Stopping,
    Take,
    TimerFired,
    Verdict,
)
from p2pfl.errors import Reject
from p2pfl.vertical.job.agreement import Agreement
from p2pfl.vertical.scoring.work import EmbedRows
from p2pfl.vertical.split.messages import BLAME, BYE, ROWS, ROWS_MAX, Cut, unpack_rows
from p2pfl.vertical.split.parties import Ending, Farewell, Voice
from p2pfl.wire.post import Gone, Heard, JobEffect, JobEvent, Knock, Whole


class Answerer:
    """A feature holder's Job. `rows`: how many there are. Ends at BYE; if `waits`, also when nobody asks for long."""

    def __init__(self, agreement: Agreement, me: NodeId, rows: int, waits: bool) -> None:
        self.agreement, self.me, self.num_rows, self.waits = agreement, me, rows, waits
        self.voice = Voice(agreement, me)
        self.farewell = Farewell(self.voice)
        self.answered = 0
        self.done = False
        self._token: ReplyToken | None = None
        self._working: Cut | None = None

    def handle(self, event: JobEvent, now: float) -> list[JobEffect]:
        self.voice.now = now
        match event:
            case Started():
                self.voice.key = Key(event.entropy)
                self._be_patient()
            case Stopping():
                self.voice.do(Stop(0, event.reason))
            case Knock():
                self._knock(event)
            case Whole():
                self._whole(event)
            case Gone():
                self._token = None if self._token == event.token else self._token
            case Computed():
                self._computed(event.result)
            case Failed():
                self.voice.emit("failed", reason=event.error)
                self.farewell.begin(Ending(self.me, "its own work failed"), tell=True)
            case Heard() | SendFailed() if self.farewell.over:
                self.farewell.settled(event)
            case TimerFired(key=("again", bytes(to))):
                self.voice.say(NodeId(to))
            case TimerFired(key=("patience",)) if not self.done and not self.farewell.over:
                reason = f"the label holder has asked nothing for {self.agreement.patience_s:.0f} s"
                self.farewell.begin(Ending(self.agreement.label_holder, reason), tell=False)
            case Heard() | SendFailed() | TimerFired() | Asked():
                pass
        return self.voice.take()

    def status(self) -> dict[str, Any]:
        return {"role": "feature holder", "rows": self.num_rows, "answered": self.answered, "done": self.done}

    def _knock(self, event: Knock) -> None:
        cut, voice, token, author = event.message, self.voice, event.token, event.head.author
        assert isinstance(cut, Cut)
        if cut.stage == BLAME:
            return self.farewell.told(token, author, cut)
        if author != self.agreement.label_holder or cut.stage not in (ROWS, BYE):
            return voice.refuse(token, Verdict.REJECT, "role", "only the label holder asks, and for rows only")
        self._be_patient()
        if cut.stage == BYE:
            voice.answer(token, Cut(self.agreement.digest, author, BYE, cut.step))
            if not self.done:
                self.done = True
                voice.do(Stop(0, "the job is done"))
            return None
        if self._token is not None or self._working is not None or self.farewell.over:
            return voice.refuse(token, Verdict.BUSY, "working")
        if not 1 < event.head.body_len <= 1 + 4 * ROWS_MAX:
            return self._malformed(token, "rows-size", f"expected 1 to {ROWS_MAX} row numbers")
        self._token = token
        return voice.do(Take(token))

    def _whole(self, event: Whole) -> None:
        try:
            rows = unpack_rows(event.body, self.num_rows)
        except Reject as error:
            self._token = None
            return self._malformed(event.token, error.code, error.detail)
        assert isinstance(event.message, Cut)
        self._working = event.message
        return self.voice.do(Compute(EmbedRows(rows)))

    def _computed(self, body: bytes) -> None:
        token, cut = self._token, self._working
        self._token = self._working = None
        if token is None or cut is None:
            return None
        if self.farewell.over:
            return self.voice.refuse(token, Verdict.BUSY, "leaving")
        self.answered += 1
        self.voice.answer(token, Cut(self.agreement.digest, self.agreement.label_holder, ROWS, cut.step), body)
        return self.voice.emit("answered", questions=self.answered)

    def _malformed(self, token: ReplyToken, code: str, detail: str) -> None:
        self.voice.refuse(token, Verdict.REJECT, code, detail)
        self.farewell.begin(Ending(self.agreement.label_holder, f"{code}: {detail}"), tell=True)

    def _be_patient(self) -> None:
        if self.waits:
            self.voice.do(SetTimer(("patience",), self.voice.now + self.agreement.patience_s))
