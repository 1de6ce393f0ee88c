"""The other parties' half of a job of turns: answers one request after another. Knows order and patience; no work.

| phase | event                                | next  | effects                                              |
|-------|--------------------------------------|-------|------------------------------------------------------|
| READY | Knock(next), Whole                   | WORK  | Take, then the job's own Compute                     |
| READY | Knock(answered last)                 | same  | the same answer again                                |
| WORK  | Knock                                | same  | Refuse(BUSY)                                         |
| WORK  | Computed                             | READY | the job's: Persist(state, answer), Answer            |
| any   | a request past the next              | END   | my memory is gone: all are told, Stop(2)             |
| any   | blame                                | END   | Answer, Stop(2)                                      |
| any   | the label holder silent too long     | END   | Stop(2)                                              |
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

from p2pfl.core.ids import NodeId, short
from p2pfl.core.noise import Key
from p2pfl.core.party import (
    Asked,
    Computed,
    Failed,
    ReplyToken,
    Restored,
    Scalar,
    SendFailed,
    SetTimer,
    Started,
    Stop,
    Stopping,
    TimerFired,
    Verdict,
)
from p2pfl.vertical.split.messages import ALIGNED, BLAME, BYE, STEP, Cut
from p2pfl.vertical.split.parties import Circle, Ending, Farewell, Voice
from p2pfl.wire.post import Gone, Heard, JobEffect, JobEvent, Knock, Whole


class Answering(ABC):
    """A Job (core.party) of one of the parties that are asked. `done` once the label holder has said bye."""

    UNIT: ClassVar[str] = "step"
    """What a request is called in what is said to people."""

    def __init__(self, circle: Circle, me: NodeId) -> None:
        self.circle, self.me, self.asker = circle, me, circle.parties[0][1]
        self.voice = Voice(circle, me)
        self.farewell = Farewell(self.voice)
        self.answered = b""  # to the request before
        self.done = False
        self._token: ReplyToken | None = None  # of the request that is being worked on
        self._working = False
        self._heard_at = 0.0

    # ------------------------------------------------------------------------------------------ what a job says

    @abstractmethod
    def _start(self, entropy: bytes, restored: Restored) -> None:
        """What a life before had written down. `voice.key` is set; then comes `_be_patient`, unless `done`."""

    @property
    @abstractmethod
    def _next(self) -> int:
        """The number of the request to answer next."""

    @abstractmethod
    def _request(self, event: Knock, cut: Cut) -> None:
        """A step or goodbye of this job by the label holder, on its header alone."""

    @abstractmethod
    def _work(self, body: bytes) -> None:
        """The whole body of the next request."""

    @abstractmethod
    def _computed(self, token: ReplyToken | None, result: Any) -> None:
        """The task of the next request is done; `token` is None if nobody waits for its answer any more."""

    def _place(self) -> Mapping[str, Scalar]:
        """Where the job is, for the report of a failure."""
        return {}

    def _silent(self, silent_s: float) -> None:
        """The label holder has said nothing for so long, which is still within its patience."""
        return

    # ------------------------------------------------------------------------------------------------- events

    def handle(self, event: JobEvent, now: float) -> list[JobEffect]:
        self.voice.now = now
        match event:
            case Started():
                self._started(event)
            case Stopping():
                self.done = True
                self.voice.do(Stop(0, event.reason))
            case Asked():
                pass
            case Knock():
                self._knock(event)
            case Whole():
                self._whole(event)
            case Gone():
                self._token = None if self._token == event.token else self._token
            case Computed():
                self._finished(event.result)
            case Failed():
                self._failed(event.error)
            case Heard() | SendFailed() if self.farewell.over:
                self.farewell.settled(event)
            case TimerFired(key=("again", bytes(to))):
                self.voice.say(NodeId(to))
            case TimerFired(key=("patience",)):
                self._overdue()
        return self.voice.take()

    def _started(self, event: Started) -> None:
        self.voice.key = Key(event.entropy)
        self._heard_at = self.voice.now
        self._start(event.entropy, event.restored)
        if not self.done:
            self._be_patient()

    def _knock(self, event: Knock) -> None:
        cut, voice, token = event.message, self.voice, event.token
        assert isinstance(cut, Cut)
        if cut.stage == BLAME:
            return self.farewell.told(token, event.head.author, cut)
        if cut.stage == ALIGNED:  # said again, or by a label holder that only aligned: it needs to be heard, no more
            return voice.answer(token, Cut(cut.recipe, event.head.author, ALIGNED, 0))
        if cut.recipe != self.circle.digest or cut.stage not in (STEP, BYE):
            detail = f"expected {self.UNIT}s of job {short(self.circle.digest)}, got {short(cut.recipe)}"
            return voice.refuse(token, Verdict.REJECT, "job", detail)
        if self.farewell.over or (self.done and cut.stage != BYE):
            return voice.refuse(token, Verdict.BUSY, "leaving")
        if event.head.author != self.asker:
            return voice.refuse(token, Verdict.REJECT, "role", "only the label holder asks")
        self._heard_at = voice.now
        return self._request(event, cut)

    def _repeats(self, token: ReplyToken, cut: Cut) -> bool:
        """Whether this is no new request, and is dealt with: one meanwhile, one before, or one that comes too early."""
        if self._token is not None or self._working:
            self.voice.refuse(token, Verdict.BUSY, "working")
        elif cut.stage == STEP and cut.step == self._next - 1:
            self.voice.answer(token, self._reply(STEP, cut.step), self.answered)
        elif cut.step < self._next:
            self.voice.refuse(token, Verdict.REJECT, "late", f"{self.UNIT} {self._next} is next")
        elif cut.step > self._next:
            self._lost(token, cut.step)
        else:
            return False
        return True

    def _whole(self, event: Whole) -> None:
        if self.farewell.over or self.done:
            return self.voice.refuse(event.token, Verdict.BUSY, "leaving")
        self._working = True
        return self._work(bytes(event.body))

    def _finished(self, result: Any) -> None:
        token, self._token, self._working = self._token, None, False
        if not self.farewell.over and not self.done:
            self._computed(token, result)
        elif token is not None:
            self.voice.refuse(token, Verdict.BUSY, "leaving")

    def _reply(self, stage: int, step: int) -> Cut:
        return Cut(self.circle.digest, self.asker, stage, step)

    # ------------------------------------------------------------------------------------------------ endings

    def _lost(self, token: ReplyToken, step: int) -> None:
        """The label holder has heard answers from me that I know nothing of: my memory is gone."""
        self.voice.refuse(token, Verdict.REJECT, "lost-place", f"expected {self.UNIT} {self._next}, got {step}")
        reason = f"lost its place: at {self.UNIT} {self._next}, asked for {step}"
        self.farewell.begin(Ending(self.me, reason), tell=True)

    def _malformed(self, token: ReplyToken | None, accused: NodeId, code: str, detail: str) -> None:
        if token is not None:
            self.voice.refuse(token, Verdict.REJECT, code, detail)
        self.farewell.begin(Ending(accused, f"{code}: {detail}"), tell=True)

    def _failed(self, error: str) -> None:
        if self._token is not None:
            self.voice.refuse(self._token, Verdict.BUSY, "failed")
        self._token, self._working = None, False
        self.voice.emit("failed", reason=error, **self._place())
        self.farewell.begin(Ending(self.me, "its own work failed"), tell=True)

    def _overdue(self) -> None:
        if self.done or self.farewell.over:
            return None
        silent_s = self.voice.now - self._heard_at
        if not self._working and silent_s >= self.circle.patience_s:
            reason = f"the label holder has been silent for {silent_s:.0f} s"
            return self.farewell.begin(Ending(self.asker, reason), tell=False)
        self._silent(silent_s)
        return self._be_patient()

    def _be_patient(self) -> None:
        self.voice.do(SetTimer(("patience",), self.voice.now + self.circle.patience_s / 4))
