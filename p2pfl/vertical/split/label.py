"""The label holder of a split training: asks all feature holders for a step, learns, asks for the next. Knows turns; no
tensor, no socket.

| phase | event                             | next  | effects                                                     |
|-------|-----------------------------------|-------|-------------------------------------------------------------|
| ASK   | Started                           | ASK   | Post(step, gradients kept) to each feature holder           |
| ASK   | Heard(embeddings), not the last   | ASK   |                                                             |
| ASK   | Heard(embeddings), the last       | WORK  | Compute(Score)                                              |
| ASK   | unheard                           | ASK   | the same again after a pause; too long: END                 |
| WORK  | Computed(Scored), steps left      | ASK   | Persist(part, gradients, scores), Post(step + 1)            |
| WORK  | Computed(Scored), the last        | BYE   | Append(scores), Persist, Post(bye)                          |
| WORK  | Computed(Malformed)               | END   | all are told who sent what; Stop(2)                         |
| BYE   | all have heard it (or are gone)   | END   | Stop(0)                                                     |
| any   | blame, or a place that is lost    | END   | Stop(2)                                                     |
"""

from collections.abc import Mapping
from typing import Any

import msgpack
import numpy as np
from numpy.typing import NDArray

from p2pfl.core.ids import NodeId
from p2pfl.core.noise import Key, derive
from p2pfl.core.party import Compute, Persist, Put, Restored, Scalar
from p2pfl.vertical.data.metrics import binary_metrics
from p2pfl.vertical.split.asker import Asker, named_metrics
from p2pfl.vertical.split.messages import BYE, STEP, Cut, size_of
from p2pfl.vertical.split.nets import pack_part, unpack_part
from p2pfl.vertical.split.parties import Ending, plainly
from p2pfl.vertical.split.plan import SPACE, Plan
from p2pfl.vertical.split.work import LabelWork, Malformed, Score, Scored
from p2pfl.wire.post import Append

STATE, SCORES = b"part", b"scores"


class LabelHolder(Asker):
    """A Job (core.party). `scores` of the rows held out, in their order, and `metrics` once `done`."""

    def __init__(self, plan: Plan, work: LabelWork) -> None:
        super().__init__(plan)
        self.plan, self.work = plan, work
        self.part = work.net.start()
        self.step = 0
        self.gradients: tuple[bytes, ...] = ()  # of the step before; what this step's requests carry
        self.found: dict[int, bytes] = {}  # scores by step, float32
        self.metrics: dict[str, float | None] = {}
        self._key = Key(bytes(32))
        self._embeddings: dict[NodeId, bytes] = {}
        self._loss = 0.0
        self._losses = 0

    @property
    def scores(self) -> NDArray[np.float32]:
        return np.frombuffer(b"".join(value for _, value in sorted(self.found.items())), "<f4").astype(np.float32)

    def status(self) -> dict[str, Any]:
        steps = self.plan.schedule.num_steps
        told = {"job": self.plan.name, "role": "label holder", "step": self.step, "steps": steps, "done": self.done}
        return {**told, **self.metrics}

    # ------------------------------------------------------------------------------------------------- turns

    def _start(self, entropy: bytes, restored: Restored) -> None:
        self._key = derive(entropy, "gradient-noise")
        kept = restored.get(SPACE, {})
        if STATE in kept:
            step, part, gradients = msgpack.unpackb(kept[STATE])
            self.step, self.gradients = step, tuple(gradients)
            self.part = unpack_part(part, self.part)
            at = {key: value for key, value in kept.items() if key.startswith(SCORES)}
            self.found = {int.from_bytes(key[len(SCORES) :], "big"): value for key, value in at.items()}
            self.voice.emit("resumed", step=self.step)
        self._ask()

    def _ask(self) -> None:
        schedule = self.plan.schedule
        if self.step == schedule.num_steps:
            return self._finish()
        rows = len(self.work.batches.rows(self.step))
        for index, node in enumerate(self.plan.feature_holders):
            body = self.gradients[index] if self.gradients else b""
            cut = Cut(self.plan.digest, node, STEP, self.step)
            self.voice.ask(node, cut, body, size_of(rows, self.plan.width_of(node)))
        return None

    def _expected(self, to: NodeId) -> tuple[int, int]:
        return BYE if self.done else STEP, self.step

    def _answered(self, to: NodeId, body: bytes) -> None:
        self._embeddings[to] = body
        if len(self._embeddings) == len(self.plan.feature_holders):
            bodies = tuple(self._embeddings[node] for node in self.plan.feature_holders)
            self._embeddings = {}
            self.voice.do(Compute(Score(self.step, self.part, bodies, derive(self._key, self.step))))

    def _late(self, to: NodeId) -> str:
        return f"lost its place: {self.plan.name_of(to)} is past step {self.step}"

    def _reason(self, why: str) -> str:
        return f"step {self.step}: {plainly(why)}"

    def _place(self) -> Mapping[str, Scalar]:
        return {"step": self.step}

    def _computed(self, result: Any) -> None:
        if isinstance(result, Malformed):
            return self.farewell.begin(Ending(result.sender, f"{result.code}: {result.detail}"), tell=True)
        assert isinstance(result, Scored)
        self.part, self.gradients = result.part, result.gradients
        puts = []
        if not self.work.batches.is_learning(self.step):
            self.found[self.step] = result.scores.astype("<f4").tobytes()
            puts.append(Put(SPACE, SCORES + self.step.to_bytes(8, "big"), self.found[self.step]))
        else:
            self._loss, self._losses = self._loss + result.loss, self._losses + 1
        self.step += 1
        self._record()
        state = msgpack.packb([self.step, pack_part(self.part), list(self.gradients)])
        self.voice.do(Persist((Put(SPACE, STATE, state), *puts)))
        self.voice.emit("step", step=self.step, steps=self.plan.schedule.num_steps, loss=result.loss)
        return self._ask()

    def _record(self) -> None:
        s = self.plan.schedule
        if self.step <= s.num_learning and self.step % s.per_epoch == 0:
            loss = self._loss / max(self._losses, 1)
            self.voice.do(Append("vertical.steps", self.step // s.per_epoch, [self.plan.digest, self.step]))
            self.voice.emit("epoch", epoch=self.step // s.per_epoch, loss=loss)
            self._loss, self._losses = 0.0, 0
        if self.step == s.num_steps:
            self._judge()
            scores = [self.plan.digest, len(self.scores), named_metrics(self.metrics)]
            self.voice.do(Append("vertical.scores", s.epochs, scores))

    def _judge(self) -> None:
        labels = self.work.labels.numpy()[self.work.batches.test]
        self.metrics = binary_metrics(labels, self.scores.astype(np.float64))

    def _finish(self) -> None:
        self._judge()
        self.done = True
        self.voice.emit("finished", step=self.step, **self.metrics)
        for node in self.plan.feature_holders:
            self.voice.ask(node, Cut(self.plan.digest, node, BYE, self.step), b"", 0)
