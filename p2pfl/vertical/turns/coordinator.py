"""The label holder of a coordinated job: asks, gathers, works, asks again. Knows turns; no cipher, no socket.

| phase | event                        | next | effects                                                   |
|-------|------------------------------|------|-----------------------------------------------------------|
| ASK   | Started                      | ASK  | Post(turn) to each party that is asked                    |
| ASK   | Heard, not the last          | ASK  |                                                           |
| ASK   | Heard, the last              | WORK | Compute(Move)                                             |
| ASK   | unheard                      | ASK  | the same again after a pause; too long: END               |
| WORK  | Computed(Moved), more to ask | ASK  | Persist(state, requests), Post(next turn)                 |
| WORK  | Computed(Moved), nothing     | BYE  | Append(scores), Persist, Post(bye)                        |
| WORK  | Computed(Fault)              | END  | all are told who sent what; Stop(2)                       |
| BYE   | all have heard it            | END  | Stop(0)                                                   |
| any   | blame, or a place lost       | END  | Stop(2)                                                   |

Turns are counted for each party apart. State and requests are written down before a request leaves, so a coordinator
that was killed asks for the same turn again, byte for byte.
"""

from collections.abc import Mapping
from typing import Any

import msgpack

from p2pfl.core.ids import NodeId
from p2pfl.core.noise import Key, derive
from p2pfl.core.party import (
    Asked,
    Compute,
    Computed,
    Failed,
    Persist,
    Put,
    Restored,
    SendFailed,
    Started,
    Stop,
    Stopping,
    TimerFired,
    Verdict,
)
from p2pfl.vertical.split.messages import BLAME, BYE, STEP, Cut
from p2pfl.vertical.split.parties import FAREWELL_ATTEMPTS, Ending, Farewell, Voice
from p2pfl.vertical.split.plan import SPACE
from p2pfl.vertical.turns.messages import BODY_MAX, Accord, AskWork, Fault, Move, Moved, Request, pack_request
from p2pfl.wire.envelope import chunk_digests
from p2pfl.wire.post import Append, Gone, Heard, JobEffect, JobEvent, Knock, Whole

STATE = b"asking"
MICRO = 1_000_000
"""Metrics are whole millionths in the feed, which holds no floats."""


class Coordinator:
    """A Job (core.party). `metrics` once `done`; `state` is the work's."""

    def __init__(self, accord: Accord, work: AskWork) -> None:
        self.accord, self.work, self.me = accord, work, accord.node(0)
        self.voice = Voice(accord, self.me)
        self.farewell = Farewell(self.voice)
        self.state, first = work.start()
        self.requests = {party: pack_request(request) for party, request in first.items()}
        self.turns = [0] * len(accord.parties)  # asked and answered
        self.done = False
        self.metrics: dict[str, float | None] = {}
        self._key = Key(bytes(32))
        self._answers: dict[int, bytes] = {}
        self._working = False

    def handle(self, event: JobEvent, now: float) -> list[JobEffect]:
        self.voice.now = now
        match event:
            case Started():
                self._start(event.entropy, event.restored)
            case Stopping():
                self.voice.do(Stop(0, event.reason))
            case Asked() | Gone():
                pass
            case Knock() | Whole():
                self._knock(event)
            case Heard() | SendFailed() if self.farewell.over:
                self.farewell.settled(event)
            case Heard():
                self._heard(event)
            case SendFailed():
                self._unheard(event.key, event.reason)
            case Computed() if not self.farewell.over:
                self._computed(event.result)
            case Failed():
                self.voice.emit("failed", reason=event.error)
                self.farewell.begin(Ending(self.me, "its own work failed"), tell=True)
            case TimerFired(key=("again", bytes(to))):
                self.voice.say(NodeId(to))
        return self.voice.take()

    def status(self) -> dict[str, Any]:
        step, steps = self.work.progress(self.state)
        told = {"job": self.accord.name, "role": "label holder", "step": step, "steps": steps, "done": self.done}
        return {**told, **self.metrics}

    # ------------------------------------------------------------------------------------------------- turns

    def _start(self, entropy: bytes, restored: Restored) -> None:
        self.voice.key = Key(entropy)
        self._key = derive(entropy, "coordinator")
        kept = restored.get(SPACE, {})
        if STATE in kept:
            turns, state, requests = msgpack.unpackb(kept[STATE])
            self.turns, self.requests = turns, {int(party): bytes(body) for party, body in requests}
            self.state = self.work.unpack(state, kept)
            self.voice.emit("resumed", step=self.work.progress(self.state)[0])
        self._ask()

    def _ask(self) -> None:
        if not self.requests:
            return self._finish()
        for party, body in self.requests.items():
            node = self.accord.node(party)
            self.voice.ask(node, Cut(self.accord.digest, node, STEP, self.turns[party]), body, BODY_MAX)
        return None

    def _heard(self, event: Heard) -> None:
        to = self.voice.said(event.key)
        if to is None:
            return None
        if event.code == "late":
            reason = f"lost its place: {self.accord.name_of(to)} is past its turn"
            return self.farewell.begin(Ending(self.me, reason), tell=True)
        if event.verdict is not Verdict.ACCEPT:  # unsigned, perhaps of a message damaged on its way: blame is signed
            return self._unheard(event.key, event.code or "busy")
        if event.head is None or chunk_digests((event.body,) if len(event.body) else ()) != event.head.chunks:
            return self._unheard(event.key, "the answer was damaged")
        cut, party = event.message, self.accord.number_of(to)
        asked = (self.accord.digest, BYE if self.done else STEP, self.turns[party])
        if not isinstance(cut, Cut) or (cut.recipe, cut.stage, cut.step) != asked:
            return self.farewell.begin(Ending(to, "answered something else than it was asked"), tell=True)
        self.voice.heard(to)
        if self.done:
            return self._leave()
        self._answers[party] = bytes(event.body)
        return self._go_on()

    def _go_on(self) -> None:
        if self._answers.keys() != self.requests.keys() or self._working:
            return
        self._working = True
        turn = ".".join(map(str, self.turns))
        answers: Mapping[int, bytes] = dict(sorted(self._answers.items()))
        self.voice.do(Compute(Move(self.state, answers, derive(self._key, turn))))

    def _unheard(self, key: Any, why: str) -> None:
        to = self.voice.said(key)
        if to is None:
            return None
        if self.done and self.voice.failures(to) + 1 >= FAREWELL_ATTEMPTS:
            self.voice.heard(to)  # it has answered everything, and is gone
            return self._leave()
        waited = self.voice.unheard(to, why)
        if not self.done and waited >= self.accord.patience_s:
            return self.farewell.begin(Ending(to, f"no answer for {waited:.0f} s ({why})"), tell=True)
        return None

    def _computed(self, result: Any) -> None:
        self._working = False
        if isinstance(result, Fault):
            node = self.accord.node(result.party)
            return self.farewell.begin(Ending(node, f"{result.code}: {result.detail}"), tell=True)
        assert isinstance(result, Moved)
        for party in self.requests:
            self.turns[party] += 1
        self.state, self._answers = result.state, {}
        self._take_requests(result.requests)
        self._record(result)
        packed = msgpack.packb([self.turns, self.work.pack(self.state), list(self.requests.items())])
        puts = [Put(SPACE, key, value) for key, value in result.keep.items()]
        self.voice.do(Persist((*puts, Put(SPACE, STATE, packed))))
        if result.loss is not None:
            step, steps = self.work.progress(self.state)
            self.voice.emit("step", step=step, steps=steps, loss=result.loss)
        return self._ask()

    def _take_requests(self, requests: Mapping[int, Request]) -> None:
        self.requests = {party: pack_request(request) for party, request in sorted(requests.items())}

    def _record(self, result: Moved) -> None:
        if result.epoch is not None:
            step = self.work.progress(self.state)[0]
            self.voice.do(Append("vertical.steps", result.epoch, [self.accord.digest, step]))
            self.voice.emit("epoch", epoch=result.epoch, loss=result.loss)
        if not self.requests:
            self.metrics = self.work.metrics(self.state)
            named = [[name, round(v * MICRO)] for name, v in sorted(self.metrics.items()) if v is not None]
            self.voice.do(Append("vertical.scores", 0, [self.accord.digest, 0, named]))

    # ------------------------------------------------------------------------------------------------- endings

    def _finish(self) -> None:
        self.metrics = self.work.metrics(self.state)
        self.done = True
        self.voice.emit("finished", step=self.work.progress(self.state)[0], **self.metrics)
        for party, (_, node) in enumerate(self.accord.parties):
            if party:
                self.voice.ask(node, Cut(self.accord.digest, node, BYE, self.turns[party]), b"", 0)

    def _leave(self) -> None:
        if self.voice.idle:
            self.voice.do(Stop(0, "the job is done"))

    def _knock(self, event: Knock | Whole) -> None:
        cut, author = event.message, event.head.author
        assert isinstance(cut, Cut)
        if cut.stage != BLAME:
            return self.voice.refuse(event.token, Verdict.REJECT, "role", "the label holder asks, nobody else")
        if self.done:
            return self.voice.answer(event.token, Cut(cut.recipe, author, BLAME, cut.step))
        return self.farewell.told(event.token, author, cut)
