"""Prediction over the parties' parts: the label holder asks for rows, the others embed them. Knows turns; no tensor.

A question is a list of row numbers in the common order, so no id leaves anybody, and its answer depends on the rows and
the parts alone: nothing has to be remembered, and a party that was killed simply goes on.

    Scorer (label holder)   ROWS(row numbers) -> each feature holder, one question after another
    Answerer (the others)   embeddings        -> the label holder         (answering)
    after the last batch    BYE (not where questions come from outside: `serve`)
"""

import json
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from p2pfl.core.ids import NodeId
from p2pfl.core.party import Compute, Restored, TimerFired
from p2pfl.vertical.job.agreement import Agreement
from p2pfl.vertical.scoring.work import ScoreRows
from p2pfl.vertical.split.asker import Asker
from p2pfl.vertical.split.messages import BYE, ROWS, Cut, pack_rows, size_of
from p2pfl.vertical.split.parties import Ending
from p2pfl.vertical.split.work import Malformed
from p2pfl.wire.post import JobEffect, JobEvent, Knock, Whole

Rows = NDArray[np.int64]
QUESTIONS_MAX = 64
"""Questions from outside that wait; one more is answered with an error."""


@dataclass(frozen=True, slots=True, eq=False)
class Question:
    """The key of a TimerFired by which a host hands over what somebody asks (`serve`). Answered by an Emit "answered"
    with the same number and `scores`, JSON, or `error`."""

    number: int
    rows: tuple[int, ...]


class Scorer(Asker):
    """The label holder's Job. `batches`: what it asks by itself, one after another, until it says BYE; None: it answers
    Questions until it is asked to stop. `scores` (n,) of the rows asked by itself."""

    def __init__(self, agreement: Agreement, rows: int, batches: Sequence[Rows] | None) -> None:
        super().__init__(agreement)
        self.agreement, self.num_rows = agreement, rows
        self.scores = np.zeros(rows, np.float32)
        self.num_asked = 0
        self._serves = batches is None
        self._waiting: deque[tuple[int | None, Rows]] = deque((None, batch) for batch in batches or ())
        self._now: tuple[int | None, Rows] | None = None
        self._bodies: dict[NodeId, bytes] = {}

    def handle(self, event: JobEvent, now: float) -> list[JobEffect]:
        if not isinstance(event, TimerFired) or not isinstance(event.key, Question):
            return super().handle(event, now)
        self.voice.now = now
        self._asked(event.key)
        return self.voice.take()

    def status(self) -> dict[str, Any]:
        told = {"role": "label holder", "rows": self.num_rows, "asked": self.num_asked}
        return {**told, "waiting": len(self._waiting), "done": self.done}

    def _start(self, entropy: bytes, restored: Restored) -> None:
        self._next()

    def _asked(self, question: Question) -> None:
        if len(self._waiting) >= QUESTIONS_MAX or self.farewell.over or not self._serves:
            return self.voice.emit("answered", question=question.number, error="busy")
        self._waiting.append((question.number, np.asarray(question.rows, np.int64)))
        return self._next()

    def _next(self) -> None:
        if self._now is not None:
            return
        if not self._waiting:
            if not self._serves and not self.done:
                self._finish()
            return
        self._now = self._waiting.popleft()
        self.num_asked += 1
        rows = self._now[1]
        for node in self.agreement.feature_holders:
            cut = Cut(self.agreement.digest, node, ROWS, self.num_asked)
            self.voice.ask(node, cut, pack_rows(rows), size_of(len(rows), self.agreement.width_of(node)))

    def _expected(self, to: NodeId) -> tuple[int, int]:
        return BYE if self.done else ROWS, self.num_asked

    def _answered(self, to: NodeId, body: bytes) -> None:
        self._bodies[to] = body
        if len(self._bodies) == len(self.agreement.feature_holders):
            assert self._now is not None
            bodies = tuple(self._bodies[node] for node in self.agreement.feature_holders)
            self._bodies = {}
            self.voice.do(Compute(ScoreRows(self._now[1], bodies)))

    def _overdue(self, to: NodeId, waited_s: float, why: str) -> None:
        if self._serves and waited_s >= self.agreement.timeout_s:
            self._give_up(to)
        else:
            super()._overdue(to, waited_s, why)

    def _blamed(self, event: Knock | Whole, cut: Cut) -> None:
        self.farewell.told(event.token, event.head.author, cut)

    def _give_up(self, to: NodeId) -> None:
        """Whoever asked hears who is away; the next question may find it back."""
        assert self._now is not None
        number, self._now, self._bodies = self._now[0], None, {}
        self.voice.forget()
        self.voice.emit("answered", question=number, error=f"{self.agreement.name_of(to)} does not answer")
        self._next()

    def _computed(self, result: Any) -> None:
        assert self._now is not None
        (number, rows), self._now = self._now, None
        if isinstance(result, Malformed):
            reason = f"{result.code}: {result.detail}"
            if number is not None:
                self.voice.emit("answered", question=number, error="the job has ended")
            return self.farewell.begin(Ending(result.sender, reason), tell=True)
        if number is None:
            self.scores[rows] = result
            self.voice.emit("scored", batch=self.num_asked, left=len(self._waiting))
        else:
            values = json.dumps([round(float(score), 7) for score in result])
            self.voice.emit("answered", question=number, scores=values)
        return self._next()

    def _finish(self) -> None:
        self.done = True
        self.voice.emit("finished", rows=self.num_rows)
        for node in self.agreement.feature_holders:
            self.voice.ask(node, Cut(self.agreement.digest, node, BYE, self.num_asked), b"", 0)
