"""The end of a job that only aligns: the label holder tells all that they are done. Knows turns; no row, no point."""

from typing import Any

from p2pfl.core.ids import NodeId
from p2pfl.core.noise import Key
from p2pfl.core.party import Asked, SendFailed, SetTimer, Started, Stop, Stopping, TimerFired, Verdict
from p2pfl.vertical.job.agreement import Agreement
from p2pfl.vertical.split.messages import ALIGNED, BLAME, Cut
from p2pfl.vertical.split.parties import FAREWELL_ATTEMPTS, Ending, Farewell, Voice
from p2pfl.wire.post import Heard, JobEffect, JobEvent, Knock, Whole

DONE = "all have their common rows"


class AlignedOnly:
    """A Job (core.party). The label holder says ALIGNED until all have heard it; the others wait for that."""

    def __init__(self, agreement: Agreement, me: NodeId) -> None:
        self.agreement, self.me = agreement, me
        self.voice = Voice(agreement, me)
        self.farewell = Farewell(self.voice)
        self.done = False

    def handle(self, event: JobEvent, now: float) -> list[JobEffect]:
        self.voice.now = now
        match event:
            case Started():
                self._start(event.entropy)
            case Stopping():
                self.voice.do(Stop(0, event.reason))
            case Knock():
                self._knock(event)
            case Heard() | SendFailed() if self.farewell.over:
                self.farewell.settled(event)
            case Heard() | SendFailed():
                self._settled(event)
            case TimerFired(key=("again", bytes(to))):
                self.voice.say(NodeId(to))
            case TimerFired(key=("patience",)) if not self.done and not self.farewell.over:
                reason = f"no word for {self.agreement.patience_s:.0f} s that all have aligned"
                self.farewell.begin(Ending(self.agreement.label_holder, reason), tell=False)
            case Asked() | Whole():
                pass
        return self.voice.take()

    def status(self) -> dict[str, Any]:
        return {"aligned": True, "done": self.done}

    def _start(self, entropy: bytes) -> None:
        self.voice.key = Key(entropy)
        if self.me != self.agreement.label_holder:
            return self.voice.do(SetTimer(("patience",), self.voice.now + self.agreement.patience_s))
        for node in self.agreement.feature_holders:
            self.voice.ask(node, Cut(self.agreement.digest, node, ALIGNED, 0), b"", 0)
        return None

    def _knock(self, event: Knock) -> None:
        cut = event.message
        assert isinstance(cut, Cut)
        author = event.head.author
        if cut.stage == BLAME:
            return self.farewell.told(event.token, author, cut)
        if cut.stage != ALIGNED or author != self.agreement.label_holder:
            return self.voice.refuse(event.token, Verdict.BUSY, "aligns-only", "this party aligns and does not train")
        self.voice.answer(event.token, Cut(self.agreement.digest, author, ALIGNED, 0))
        if not self.done:
            self.done = True
            self.voice.do(Stop(0, DONE))
        return None

    def _settled(self, event: Heard | SendFailed) -> None:
        to = self.voice.said(event.key)
        if to is None:
            return
        if isinstance(event, Heard) and event.verdict is Verdict.ACCEPT:
            self.voice.heard(to)
        elif self.voice.failures(to) + 1 >= FAREWELL_ATTEMPTS:
            self.voice.heard(to)  # it has said that it knows its rows, and is gone
        else:
            self.voice.unheard(to, event.code if isinstance(event, Heard) else event.reason)
        if self.voice.idle and not self.done:
            self.done = True
            self.voice.do(Stop(0, DONE))
