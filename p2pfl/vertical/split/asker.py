"""The label holder's half of every job of turns: asks until it is heard, and ends the job for all. Knows no work.

| event                                  | what follows                                                   |
|----------------------------------------|----------------------------------------------------------------|
| Heard, as asked and whole              | `_answered`, or the next goodbye is done                       |
| Heard otherwise, SendFailed            | the same again after a pause; for too long: all are told, END  |
| an answer to something else, "late"    | all are told whose fault it is, END                            |
| Knock with blame                       | END, unless everything was `done` before                       |
| Knock or Whole with anything else      | refused: nobody else asks                                      |
| Failed                                 | all are told, END                                              |
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

from p2pfl.core.ids import NodeId
from p2pfl.core.noise import Key
from p2pfl.core.party import (
    Asked,
    Computed,
    Failed,
    Restored,
    Scalar,
    SendFailed,
    Started,
    Stop,
    Stopping,
    TimerFired,
    Verdict,
)
from p2pfl.vertical.split.messages import BLAME, Cut
from p2pfl.vertical.split.parties import FAREWELL_ATTEMPTS, Circle, Ending, Farewell, Voice, plainly
from p2pfl.wire.envelope import chunk_digests
from p2pfl.wire.post import Gone, Heard, JobEffect, JobEvent, Knock, Whole

MICRO = 1_000_000
"""Metrics are whole millionths in the feed, which holds no floats."""


class Asker(ABC):
    """A Job (core.party) of the first of the circle's parties. `done`: all is asked, and goodbyes are under way."""

    def __init__(self, circle: Circle) -> None:
        self.circle, self.me = circle, circle.parties[0][1]
        self.voice = Voice(circle, self.me)
        self.farewell = Farewell(self.voice)
        self.done = False

    # ------------------------------------------------------------------------------------------ what a job says

    @abstractmethod
    def _start(self, entropy: bytes, restored: Restored) -> None:
        """The first questions, or those that a life before had written down. `voice.key` is set."""

    @abstractmethod
    def _expected(self, to: NodeId) -> tuple[int, int]:
        """Stage and step of the answer that `to` owes."""

    @abstractmethod
    def _answered(self, to: NodeId, body: bytes) -> None:
        """`to` has answered, as it was asked."""

    @abstractmethod
    def _computed(self, result: Any) -> None:
        """A task is done, and the job has not ended."""

    def _place(self) -> Mapping[str, Scalar]:
        """Where the job is, for the report of a failure."""
        return {}

    def _late(self, to: NodeId) -> str | None:
        """Why a party that says "late" ends the job; None: that is no reason."""
        return None

    def _overdue(self, to: NodeId, waited_s: float, why: str) -> None:
        """Nothing was heard of what was asked so long ago. Called at every attempt that fails while not `done`."""
        if waited_s >= self.circle.patience_s:
            reason = f"no answer for {waited_s:.0f} s ({self._reason(why)})"
            self.farewell.begin(Ending(to, reason), tell=True)

    def _reason(self, why: str) -> str:
        return plainly(why)

    # ------------------------------------------------------------------------------------------------- events

    def handle(self, event: JobEvent, now: float) -> list[JobEffect]:
        self.voice.now = now
        match event:
            case Started():
                self.voice.key = Key(event.entropy)
                self._start(event.entropy, event.restored)
            case Stopping():
                self.voice.do(Stop(0, event.reason))
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
                self.voice.emit("failed", reason=event.error, **self._place())
                self.farewell.begin(Ending(self.me, "its own work failed"), tell=True)
            case TimerFired(key=("again", bytes(to))):
                self.voice.say(NodeId(to))
            case Asked() | Gone() | Computed() | TimerFired():
                pass
        return self.voice.take()

    def _heard(self, event: Heard) -> None:
        to = self.voice.said(event.key)
        if to is None:
            return None
        late = self._late(to) if event.code == "late" else None
        if late is not None:
            return self.farewell.begin(Ending(self.me, late), tell=True)
        if event.verdict is not Verdict.ACCEPT:  # unsigned, perhaps of a message damaged on its way: blame is signed
            return self._unheard(event.key, event.code or "busy")
        if event.head is None or chunk_digests((event.body,) if len(event.body) else ()) != event.head.chunks:
            return self._unheard(event.key, "the answer was damaged")
        cut = event.message
        if not isinstance(cut, Cut) or (cut.recipe, cut.stage, cut.step) != (self.circle.digest, *self._expected(to)):
            return self.farewell.begin(Ending(to, "answered something else than it was asked"), tell=True)
        self.voice.heard(to)
        return self._leave() if self.done else self._answered(to, bytes(event.body))

    def _unheard(self, key: Any, why: str) -> None:
        to = self.voice.said(key)
        if to is None:
            return None
        if self.done and self.voice.failures(to) + 1 >= FAREWELL_ATTEMPTS:
            self.voice.heard(to)  # it has answered everything, and is gone
            return self._leave()
        waited_s = self.voice.unheard(to, why)
        return None if self.done else self._overdue(to, waited_s, why)

    # ------------------------------------------------------------------------------------------------ endings

    def _leave(self) -> None:
        if self.voice.idle:
            self.voice.do(Stop(0, "the job is done"))

    def _knock(self, event: Knock | Whole) -> None:
        cut = event.message
        assert isinstance(cut, Cut)
        if cut.stage != BLAME:
            return self.voice.refuse(event.token, Verdict.REJECT, "role", "the label holder asks, nobody else")
        return self._blamed(event, cut)

    def _blamed(self, event: Knock | Whole, cut: Cut) -> None:
        if self.done:
            return self.voice.answer(event.token, Cut(cut.recipe, event.head.author, BLAME, cut.step))
        return self.farewell.told(event.token, event.head.author, cut)


def named_metrics(metrics: Mapping[str, float | None]) -> list[list[str | int]]:
    """Those that are known, by name, in whole millionths: as an entry of the feed has them."""
    return [[name, round(value * MICRO)] for name, value in sorted(metrics.items()) if value is not None]
