"""A vertical job of one party from its first word to its last: align, then whatever comes after it. Knows phases; no
tensor, no point, no socket.

| phase | event                                  | next  | effects                                              |
|-------|----------------------------------------|-------|------------------------------------------------------|
| ALIGN | messages and results of the alignment  | ALIGN | as the Aligner wants                                 |
| ALIGN | rows known, enough of them             | RUN   | Append(sizes), then the next phase's own start       |
| ALIGN | rows known, too few                    | END   | all are told (nobody is blamed), Stop(2)             |
| ALIGN | malformed points, patience over, blame | END   | all are told, Stop(2)                                |
| RUN   | messages of the alignment              | RUN   | answered still: another party may have missed a word |
| RUN   | all else                               | RUN   | the next phase's                                     |

A party that was killed starts in ALIGN, finds its rows written down, and is in RUN at once.
"""

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from p2pfl.core.ids import NodeId
from p2pfl.core.noise import Key, derive
from p2pfl.core.party import (
    Asked,
    Computed,
    Failed,
    Persist,
    Put,
    Restored,
    SendFailed,
    Started,
    Stop,
    Stopping,
    Take,
    TimerFired,
    Verdict,
)
from p2pfl.errors import ConfigError
from p2pfl.vertical.align.bounds import ALIGN_MESSAGE_BYTES_MAX
from p2pfl.vertical.align.work import Blind, Match, Raise
from p2pfl.vertical.data.table import require_common
from p2pfl.vertical.job.agreement import Agreement
from p2pfl.vertical.job.aligning import ALIGN_SPACE, REMIND, Again, Aligning, Number
from p2pfl.vertical.split.messages import ALIGN, BLAME, Cut
from p2pfl.vertical.split.parties import NOBODY, Ending, Farewell, Voice
from p2pfl.vertical.split.plan import SPACE
from p2pfl.wire.post import Append, Heard, JobEffect, JobEvent, Knock, Whole

Rows = NDArray[np.int64]
RECORDED = b"aligned"
"""The sizes are in the feed."""


class Phase(Protocol):
    """What comes after the alignment: a Job."""

    def handle(self, event: JobEvent, now: float) -> list[JobEffect]: ...

    def status(self) -> dict[str, Any]: ...


class VerticalJob:
    """A Job (core.party). `prepare` makes the next phase from this party's common rows; its ConfigError ends all."""

    def __init__(
        self, agreement: Agreement, me: NodeId, items: Sequence[bytes], prepare: Callable[[Rows], Phase]
    ) -> None:
        self.agreement, self.me, self._prepare = agreement, me, prepare
        self.aligning = Aligning(agreement, me, items)
        self.voice = Voice(agreement if agreement.encryption.third is None else agreement.accord, me)
        self.farewell = Farewell(self.voice)
        self.phase: Phase | None = None
        self._entropy = bytes(32)
        self._restored: Restored = {}

    def handle(self, event: JobEvent, now: float) -> list[JobEffect]:
        self.voice.now = now
        effects = self._align(event, now)
        if effects is None:
            effects = self._end(event) if self.phase is None or self.farewell.over else self.phase.handle(event, now)
        return [*effects, *self._go_on(now)]

    def status(self) -> dict[str, Any]:
        told = {"job": self.agreement.name, "purpose": self.agreement.purpose}
        if self.phase is None:
            return {**told, "phase": "align", **self.aligning.status()}
        return {**told, "phase": "run", **self.phase.status()}

    # ------------------------------------------------------------------------------------------------- alignment

    def _align(self, event: JobEvent, now: float) -> list[JobEffect] | None:
        """The alignment's share of an event; None if it has none."""
        ending: Ending | None = None
        match event:
            case Started():
                self._start(event, now)
            case _ if self.farewell.over:
                return None
            case Knock() if _stage(event) == ALIGN:
                return self._knock(event)
            case Whole() if _stage(event) == ALIGN:
                self._acknowledge(event)
                ending = self.aligning.receive(event.head.author, event.body, now)
            case Heard(key=Number() as key) if event.verdict is Verdict.ACCEPT:
                self.aligning.heard(key, now)
            case Heard(key=Number() as key):
                ending = self.aligning.unheard(key, event.code or "busy", now)
            case SendFailed(key=Number() as key):
                ending = self.aligning.unheard(key, event.reason, now)
            case TimerFired(key=Again(to)):
                self.aligning.again(to, now)
            case TimerFired() if event.key == REMIND:
                if self.phase is None:
                    self.aligning.remind(now)
            case Computed(task=Blind() | Raise() | Match() as task):
                ending = self.aligning.computed(task, event.result, now)
            case Failed(task=Blind() | Raise() | Match()):
                self.voice.emit("failed", reason=event.error)
                ending = Ending(self.me, "its own work failed")
            case _:
                return None
        return [*self.voice.take(), *self.aligning.take(), *self._ended(ending)]

    def _start(self, event: Started, now: float) -> None:
        self._entropy, self._restored = event.entropy, event.restored
        self.voice.key = Key(bytes(derive(event.entropy, "phases")))
        try:
            self.aligning.start(event.entropy, event.restored.get(ALIGN_SPACE, {}), now)
        except ConfigError as error:  # another table or job than when it began: my own fault, nobody else's affair
            self.aligning.take()
            self.farewell.begin(Ending(self.me, str(error)), tell=False)

    def _knock(self, event: Knock) -> list[JobEffect]:
        if not 0 < event.head.body_len <= ALIGN_MESSAGE_BYTES_MAX:
            detail = f"expected 1 to {ALIGN_MESSAGE_BYTES_MAX} bytes, got {event.head.body_len}"
            self.voice.refuse(event.token, Verdict.REJECT, "psi-message", detail)
            return self._ended(Ending(event.head.author, f"psi-message: {detail}"))
        return [Take(event.token)]

    def _acknowledge(self, event: Whole) -> None:
        cut = Cut(self.agreement.digest, event.head.author, ALIGN, _cut(event).step)
        self.voice.answer(event.token, cut)

    def _go_on(self, now: float) -> list[JobEffect]:
        """The next phase, as soon as the rows are known."""
        rows = self.aligning.rows
        if rows is None or self.phase is not None or self.farewell.over:
            return []
        try:
            require_common(len(rows), self.agreement.least, self.agreement.terms.parties)
        except ConfigError as error:  # all see the same count; the label holder says it, the others wait for its word
            return self._ended(Ending(NOBODY, str(error))) if self.me == self.agreement.label_holder else []
        try:
            self.phase = self._prepare(rows)
        except ConfigError as error:
            return self._ended(Ending(self.me, str(error)))
        record = self._record(len(rows))
        mine = self._restored.get(SPACE, {})
        self._restored = {}
        started = Started(bytes(derive(self._entropy, "phase")), {SPACE: mine})
        return [*record, *self.phase.handle(started, now)]

    def _record(self, common: int) -> list[JobEffect]:
        """An entry of the feed with all sizes, once."""
        counts = self.aligning.counts
        self.voice.emit("aligned", rows=common, of=0 if counts is None else counts[self.agreement.index_of(self.me)])
        if counts is not None and RECORDED not in self._restored.get(SPACE, {}):
            sizes = [self.agreement.digest, list(counts), common]
            self.voice.do(Append("vertical.alignment", 0, sizes), Persist((Put(SPACE, RECORDED, b"\x01"),)))
        return self.voice.take()

    # ------------------------------------------------------------------------------------------------- endings

    def _ended(self, ending: Ending | None) -> list[JobEffect]:
        if ending is not None:
            self.farewell.begin(ending, tell=True)
        return self.voice.take()

    def _end(self, event: JobEvent) -> list[JobEffect]:
        """What is not the alignment's, while there is no next phase, or after the end."""
        voice = self.voice
        match event:
            case Knock() if _stage(event) == BLAME:
                self.farewell.told(event.token, event.head.author, _cut(event))
            case Knock() | Whole():
                voice.refuse(event.token, Verdict.BUSY, "leaving" if self.farewell.over else "aligning")
            case Heard() | SendFailed() if self.farewell.over:
                self.farewell.settled(event)
            case TimerFired(key=("again", bytes(to))):
                voice.say(NodeId(to))
            case Stopping():
                voice.do(Stop(0, event.reason))
            case Asked():
                pass
        return voice.take()


def _cut(event: Knock | Whole) -> Cut:
    """The door of a vertical job lets nothing else in (but parcels, which no job sees)."""
    assert isinstance(event.message, Cut)
    return event.message


def _stage(event: Knock | Whole) -> int:
    return _cut(event).stage
