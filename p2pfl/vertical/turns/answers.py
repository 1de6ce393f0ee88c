"""A party of a coordinated job that is asked: a feature holder, or the one that holds keys. Knows turns; no cipher.

| phase | event                          | next  | effects                                                   |
|-------|--------------------------------|-------|-----------------------------------------------------------|
| READY | Knock(turn = next), Whole      | WORK  | Compute(Reply)                                            |
| READY | Knock(turn answered last)      | same  | the same answer again                                     |
| WORK  | Knock                          | same  | Refuse(BUSY)                                              |
| WORK  | Computed(Replied)              | READY | Persist(state, answer), Answer                            |
| WORK  | Computed(Fault)                | END   | Refuse(REJECT); the others are told; Stop(2)              |
| READY | bye                            | END   | Answer, Stop(0)                                           |
| any   | blame                          | END   | Answer, Stop(2)                                           |
| any   | the label holder silent        | END   | Stop(2)                                                   |
"""

from typing import Any

import msgpack

from p2pfl.core.ids import NodeId, short
from p2pfl.core.noise import Key, derive
from p2pfl.core.party import (
    Asked,
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
from p2pfl.vertical.split.messages import ALIGNED, BLAME, BYE, STEP, Cut
from p2pfl.vertical.split.parties import Ending, Farewell, Voice
from p2pfl.vertical.split.plan import SPACE
from p2pfl.vertical.turns.messages import Accord, AnswerWork, Fault, Replied, Reply
from p2pfl.wire.post import Gone, Heard, JobEffect, JobEvent, Knock, Whole

STATE, ANSWER = b"answering", b"answer"


class Answerer:
    """A Job (core.party). `me` is the party's number. `done` once the label holder has said bye."""

    def __init__(self, accord: Accord, me: int, work: AnswerWork) -> None:
        self.accord, self.work, self.me = accord, work, accord.node(me)
        self.voice = Voice(accord, self.me)
        self.farewell = Farewell(self.voice)
        self.state = work.start()
        self.turn = 0  # the next one to answer
        self.answered = b""  # in the turn before
        self.done = False
        self._role = "key holder" if me == accord.holder else "feature holder"
        self._key = Key(bytes(32))
        self._token: ReplyToken | None = None  # of the request that is being worked on
        self._working = False
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
        return {"job": self.accord.name, "role": self._role, "turn": self.turn, "done": self.done}

    # ------------------------------------------------------------------------------------------------- turns

    def _start(self, entropy: bytes, restored: Restored) -> None:
        self.voice.key = Key(entropy)
        self._key = derive(entropy, "answerer")
        kept = restored.get(SPACE, {})
        if STATE in kept:
            self.turn, state = msgpack.unpackb(kept[STATE])
            self.state, self.answered = self.work.unpack(state, kept), kept[ANSWER]
            self.voice.emit("resumed", turn=self.turn)
        self._heard_at = self.voice.now
        self._be_patient()

    def _knock(self, event: Knock) -> None:
        cut, voice, token = event.message, self.voice, event.token
        assert isinstance(cut, Cut)
        if cut.stage == BLAME:
            return self.farewell.told(token, event.head.author, cut)
        if cut.stage == ALIGNED:  # said again: the answer got lost
            return voice.answer(token, Cut(cut.recipe, event.head.author, ALIGNED, 0))
        if cut.recipe != self.accord.digest or cut.stage not in (STEP, BYE):
            detail = f"expected turns of job {short(self.accord.digest)}, got {short(cut.recipe)}"
            return voice.refuse(token, Verdict.REJECT, "job", detail)
        if self.farewell.over or (self.done and cut.stage != BYE):
            return voice.refuse(token, Verdict.BUSY, "leaving")
        if event.head.author != self.accord.node(0):
            return voice.refuse(token, Verdict.REJECT, "role", "only the label holder asks")
        self._heard_at = voice.now
        if self._token is not None or self._working:
            return voice.refuse(token, Verdict.BUSY, "working")
        if cut.stage == STEP and cut.step == self.turn - 1:
            return voice.answer(token, self._reply(STEP, cut.step), self.answered)
        if cut.step < self.turn:
            return voice.refuse(token, Verdict.REJECT, "late", f"turn {self.turn} is next")
        if cut.step > self.turn:
            return self._lost(token, cut.step)
        if cut.stage == BYE:
            return self._bye(token)
        self._token = token
        return voice.do(Take(token))

    def _whole(self, event: Whole) -> None:
        if self.farewell.over or self.done:
            return self.voice.refuse(event.token, Verdict.BUSY, "leaving")
        self._working = True
        return self.voice.do(Compute(Reply(self.state, bytes(event.body), derive(self._key, self.turn))))

    def _computed(self, result: Any) -> None:
        token, self._token, self._working = self._token, None, False
        if self.farewell.over or self.done:
            return None if token is None else self.voice.refuse(token, Verdict.BUSY, "leaving")
        if isinstance(result, Fault):
            if token is not None:
                self.voice.refuse(token, Verdict.REJECT, result.code, result.detail)
            ending = Ending(self.accord.node(result.party), f"{result.code}: {result.detail}")
            return self.farewell.begin(ending, tell=True)
        assert isinstance(result, Replied)
        self.state, self.answered = result.state, result.answer
        self.turn += 1
        puts = [Put(SPACE, key, value) for key, value in result.keep.items()]
        state = msgpack.packb([self.turn, self.work.pack(self.state)])
        self.voice.do(Persist((*puts, Put(SPACE, STATE, state), Put(SPACE, ANSWER, self.answered))))
        if token is not None:
            self.voice.answer(token, self._reply(STEP, self.turn - 1), self.answered)
        self.voice.emit("turn", turn=self.turn)
        return None

    def _bye(self, token: ReplyToken) -> None:
        self.voice.answer(token, self._reply(BYE, self.turn))
        if not self.done:
            self.done = True
            self.voice.emit("finished", turn=self.turn)
            self.voice.do(Stop(0, "the job is done"))

    # ------------------------------------------------------------------------------------------------- endings

    def _lost(self, token: ReplyToken, turn: int) -> None:
        """The label holder has heard turns from me that I know nothing of: my memory is gone."""
        self.voice.refuse(token, Verdict.REJECT, "lost-place", f"expected turn {self.turn}, got {turn}")
        self.farewell.begin(Ending(self.me, f"lost its place: at turn {self.turn}, asked for {turn}"), tell=True)

    def _failed(self, error: str) -> None:
        if self._token is not None:
            self.voice.refuse(self._token, Verdict.BUSY, "failed")
            self._token = None
        self._working = False
        self.voice.emit("failed", reason=error)
        self.farewell.begin(Ending(self.me, "its own work failed"), tell=True)

    def _overdue(self) -> None:
        if self.done or self.farewell.over:
            return None
        silent = self.voice.now - self._heard_at
        if not self._working and silent >= self.accord.patience_s:
            reason = f"the label holder has been silent for {silent:.0f} s"
            return self.farewell.begin(Ending(self.accord.node(0), reason), tell=False)
        return self._be_patient()

    def _be_patient(self) -> None:
        self.voice.do(SetTimer(("patience",), self.voice.now + self.accord.patience_s / 4))

    def _reply(self, stage: int, step: int) -> Cut:
        return Cut(self.accord.digest, self.accord.node(0), stage, step)
