"""The feature holder of a split training: answers the label holder step by step. Knows turns; no tensor, no socket.

| phase   | event                               | next | effects                                              |
|---------|-------------------------------------|------|------------------------------------------------------|
| READY   | Knock(step = next), Whole           | WORK | Compute(Embed)                                       |
| READY   | Knock(step answered last)           | same | the same answer again                                |
| WORK    | Knock                               | same | Refuse(BUSY)                                         |
| WORK    | Computed(Embed)                     | READY| Persist(part, answer), Answer                        |
| WORK    | Computed(Malformed)                 | END  | Refuse(REJECT); the others are told; Stop(2)         |
| READY   | bye                                 | END  | Persist, Answer, Stop(0)                             |
| any     | blame                               | END  | Answer, Stop(2)                                      |
| any     | the label holder silent too long    | END  | Stop(2)                                              |
"""

from typing import Any

from p2pfl.core.ids import NodeId, short
from p2pfl.core.noise import Key, derive
from p2pfl.core.party import (
    Asked,
    Buffer,
    Compute,
    Computed,
    Failed,
    Persist,
    Put,
    ReplyToken,
    Restored,
    SendFailed,
    SetTimer,
    Started,
    Stop,
    Stopping,
    Take,
    TimerFired,
    Verdict,
)
from p2pfl.vertical.split.messages import ALIGNED, BLAME, BYE, STEP, Cut, size_of
from p2pfl.vertical.split.nets import pack_part, unpack_part
from p2pfl.vertical.split.parties import Ending, Farewell, Voice
from p2pfl.vertical.split.plan import SPACE, Plan
from p2pfl.vertical.split.work import Embed, FeatureWork, Malformed
from p2pfl.wire.post import Append, Gone, Heard, JobEffect, JobEvent, Knock, Whole

STATE, ANSWER, DONE = b"part", b"answer", b"done"


class FeatureHolder:
    """A Job (core.party). `done` once the label holder has said bye."""

    def __init__(self, plan: Plan, work: FeatureWork) -> None:
        self.plan, self.work, self.me = plan, work, work.me
        self.voice = Voice(plan, self.me)
        self.farewell = Farewell(self.voice)
        self.part = work.bottom.net.start()
        self.step = 0  # the next one to work on
        self.answered = b""  # of the step before
        self.done = False
        self._key = Key(bytes(32))
        self._token: ReplyToken | None = None  # of the request that is being worked on
        self._task: Embed | None = None
        self._heard_at = 0.0

    def handle(self, event: JobEvent, now: float) -> list[JobEffect]:
        self.voice.now = now
        match event:
            case Started():
                self._start(event.entropy, event.restored)
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
                self._computed(event.result)
            case Failed():
                self._failed(event.error)
            case Heard() | SendFailed() if self.farewell.over:
                self.farewell.settled(event)
            case TimerFired(key=("again", bytes(to))):
                self.voice.say(NodeId(to))
            case TimerFired(key=("patience",)):
                self._overdue()
        return self.voice.take()

    def status(self) -> dict[str, Any]:
        steps = self.plan.schedule.num_steps
        return {"job": self.plan.name, "role": "feature holder", "step": self.step, "steps": steps, "done": self.done}

    # ------------------------------------------------------------------------------------------------- turns

    def _start(self, entropy: bytes, restored: Restored) -> None:
        self.voice.key = Key(entropy)
        self._key = derive(entropy, "embedding-noise")
        kept = restored.get(SPACE, {})
        if STATE in kept:
            self.step = int.from_bytes(kept[STATE][:8], "big")
            self.part = unpack_part(kept[STATE][8:], self.part)
            self.answered = kept[ANSWER]
            self.voice.emit("resumed", step=self.step)
        self._heard_at = self.voice.now
        if DONE in kept:  # the label holder has said bye: it will not ask again
            self.done = True
            return self.voice.do(Stop(0, "the job is done"))
        return self._be_patient()

    def _knock(self, event: Knock) -> None:
        cut, voice, token = event.message, self.voice, event.token
        assert isinstance(cut, Cut)
        if cut.stage == BLAME:
            return self.farewell.told(token, event.head.author, cut)
        if cut.stage == ALIGNED:  # the label holder only aligned, this time
            return voice.answer(token, Cut(cut.recipe, event.head.author, ALIGNED, 0))
        if cut.recipe != self.plan.digest or cut.stage not in (STEP, BYE):
            detail = f"expected steps of job {short(self.plan.digest)}, got {short(cut.recipe)}"
            return voice.refuse(token, Verdict.REJECT, "job", detail)
        if self.farewell.over or (self.done and cut.stage != BYE):
            return voice.refuse(token, Verdict.BUSY, "leaving")
        if event.head.author != self.plan.label_holder:
            return voice.refuse(token, Verdict.REJECT, "role", "only the label holder asks")
        self._heard_at = voice.now
        if cut.stage == BYE:
            return self._bye(token, cut)
        if self._token is not None or self._task is not None:
            return voice.refuse(token, Verdict.BUSY, "working")
        if cut.step == self.step - 1:
            return voice.answer(token, self._reply(cut), self.answered)
        if cut.step < self.step:
            return voice.refuse(token, Verdict.REJECT, "late", f"step {self.step} is next")
        if cut.step > self.step or cut.step >= self.plan.schedule.num_steps:
            return self._lost(token, cut.step)
        expected = self._gradient_bytes()
        if event.head.body_len != expected:
            return self._malformed(token, "cut-size", f"expected {expected} bytes, got {event.head.body_len}")
        self._token = token
        if expected:
            return voice.do(Take(token))
        return self._work(b"")

    def _whole(self, event: Whole) -> None:
        if self.farewell.over or self.done:
            return self.voice.refuse(event.token, Verdict.BUSY, "leaving")
        return self._work(bytes(event.body))

    def _work(self, gradient: Buffer) -> None:
        self._task = Embed(self.step, self.part, gradient, derive(self._key, self.step))
        self.voice.do(Compute(self._task))

    def _computed(self, result: Any) -> None:
        token, self._token, self._task = self._token, None, None
        if self.farewell.over or self.done:
            return None if token is None else self.voice.refuse(token, Verdict.BUSY, "leaving")
        if isinstance(result, Malformed):
            return self._malformed(token, result.code, result.detail)
        self.part, self.answered = result
        self.step += 1
        state = self.step.to_bytes(8, "big") + pack_part(self.part)
        self._record()
        self.voice.do(Persist((Put(SPACE, STATE, state), Put(SPACE, ANSWER, self.answered))))
        if token is not None:
            cut = Cut(self.plan.digest, self.plan.label_holder, STEP, self.step - 1)
            self.voice.answer(token, cut, self.answered)
        self.voice.emit("step", step=self.step, steps=self.plan.schedule.num_steps)
        return None

    def _record(self) -> None:
        """An entry of the feed for every pass over the data, and for the last step."""
        s = self.plan.schedule
        if (self.step <= s.num_learning and self.step % s.per_epoch == 0) or self.step == s.num_steps:
            epoch = min(self.step // s.per_epoch, s.epochs)
            self.voice.do(Append("vertical.steps", epoch, [self.plan.digest, self.step]))

    def _bye(self, token: ReplyToken, cut: Cut) -> None:
        if self.step != self.plan.schedule.num_steps:
            return self._lost(token, cut.step)
        if not self.done:
            self.voice.do(Persist((Put(SPACE, DONE, b"\x01"),)))
        self.voice.answer(token, self._reply(cut))
        if not self.done:
            self.done = True
            self.voice.emit("finished", step=self.step)
            self.voice.do(Stop(0, "the job is done"))
        return None

    # ------------------------------------------------------------------------------------------------- endings

    def _lost(self, token: ReplyToken, step: int) -> None:
        """The label holder has heard steps from me that I know nothing of: my memory is gone."""
        self.voice.refuse(token, Verdict.REJECT, "lost-place", f"expected step {self.step}, got {step}")
        self.farewell.begin(Ending(self.me, f"lost its place: at step {self.step}, asked for {step}"), tell=True)

    def _malformed(self, token: ReplyToken | None, code: str, detail: str) -> None:
        if token is not None:
            self.voice.refuse(token, Verdict.REJECT, code, detail)
        self.farewell.begin(Ending(self.plan.label_holder, f"{code}: {detail}"), tell=True)

    def _failed(self, error: str) -> None:
        if self._token is not None:
            self.voice.refuse(self._token, Verdict.BUSY, "failed")
            self._token = None
        self.voice.emit("failed", reason=error, step=self.step)
        self.farewell.begin(Ending(self.me, "its own work failed"), tell=True)

    def _overdue(self) -> None:
        if self.done or self.farewell.over:
            return None
        silent = self.voice.now - self._heard_at
        if self._task is None and silent >= self.plan.patience_s:
            reason = f"the label holder has been silent for {silent:.0f} s"
            return self.farewell.begin(Ending(self.plan.label_holder, reason), tell=False)
        if silent >= self.plan.patience_s / 4:
            name = self.plan.name_of(self.plan.label_holder)
            self.voice.emit("waiting", peer=name, why="silent", patience_s=self.plan.patience_s)
        return self._be_patient()

    def _be_patient(self) -> None:
        self.voice.do(SetTimer(("patience",), self.voice.now + self.plan.patience_s / 4))

    def _reply(self, cut: Cut) -> Cut:
        return Cut(self.plan.digest, self.plan.label_holder, cut.stage, cut.step)

    def _gradient_bytes(self) -> int:
        """What the request of the next step carries."""
        if not 0 < self.step <= self.plan.schedule.num_learning:
            return 0
        return size_of(len(self.work.batches.rows(self.step - 1)), self.work.width)
