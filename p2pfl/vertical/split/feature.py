"""The feature holder of a split training: embeds, and learns from the gradients of the step before. Knows no tensor.

| phase   | event                               | next | effects                                              |
|---------|-------------------------------------|------|------------------------------------------------------|
| READY   | Knock(step = next), Whole           | WORK | Compute(Embed)                                       |
| WORK    | Computed(Embed)                     | READY| Persist(part, answer), Answer                        |
| WORK    | Computed(Malformed)                 | END  | Refuse(REJECT); the others are told; Stop(2)         |
| READY   | bye                                 | END  | Persist, Answer, Stop(0)                             |

All else, repeats, patience and blame among it, is `Answering`'s.
"""

from collections.abc import Mapping
from typing import Any

from p2pfl.core.noise import Key, derive
from p2pfl.core.party import Compute, Persist, Put, ReplyToken, Restored, Scalar, Stop, Take
from p2pfl.vertical.split.answerer import Answering
from p2pfl.vertical.split.messages import BYE, STEP, Cut, size_of
from p2pfl.vertical.split.nets import pack_part, unpack_part
from p2pfl.vertical.split.plan import SPACE, Plan
from p2pfl.vertical.split.work import Embed, FeatureWork, Malformed
from p2pfl.wire.post import Append, Knock

STATE, ANSWER, DONE = b"part", b"answer", b"done"


class FeatureHolder(Answering):
    """A Job (core.party)."""

    def __init__(self, plan: Plan, work: FeatureWork) -> None:
        super().__init__(plan, work.me)
        self.plan, self.work = plan, work
        self.part = work.bottom.net.start()
        self.step = 0  # the next one to work on
        self._key = Key(bytes(32))

    def status(self) -> dict[str, Any]:
        steps = self.plan.schedule.num_steps
        return {"job": self.plan.name, "role": "feature holder", "step": self.step, "steps": steps, "done": self.done}

    @property
    def _next(self) -> int:
        return self.step

    def _start(self, entropy: bytes, restored: Restored) -> None:
        self._key = derive(entropy, "embedding-noise")
        kept = restored.get(SPACE, {})
        if STATE in kept:
            self.step = int.from_bytes(kept[STATE][:8], "big")
            self.part = unpack_part(kept[STATE][8:], self.part)
            self.answered = kept[ANSWER]
            self.voice.emit("resumed", step=self.step)
        if DONE in kept:  # the label holder has said bye: it will not ask again
            self.done = True
            self.voice.do(Stop(0, "the job is done"))

    def _request(self, event: Knock, cut: Cut) -> None:
        token = event.token
        if cut.stage == BYE:
            return self._bye(token, cut)
        if self._repeats(token, cut):
            return None
        if cut.step >= self.plan.schedule.num_steps:
            return self._lost(token, cut.step)
        expected = self._gradient_bytes()
        if event.head.body_len != expected:
            detail = f"expected {expected} bytes, got {event.head.body_len}"
            return self._malformed(token, self.asker, "cut-size", detail)
        self._token = token
        if expected:
            return self.voice.do(Take(token))
        self._working = True
        return self._work(b"")

    def _work(self, body: bytes) -> None:
        self.voice.do(Compute(Embed(self.step, self.part, body, derive(self._key, self.step))))

    def _computed(self, token: ReplyToken | None, result: Any) -> None:
        if isinstance(result, Malformed):
            return self._malformed(token, self.asker, result.code, result.detail)
        self.part, self.answered = result
        self.step += 1
        state = self.step.to_bytes(8, "big") + pack_part(self.part)
        self._record()
        self.voice.do(Persist((Put(SPACE, STATE, state), Put(SPACE, ANSWER, self.answered))))
        if token is not None:
            self.voice.answer(token, self._reply(STEP, self.step - 1), self.answered)
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
        self.voice.answer(token, self._reply(BYE, cut.step))
        if not self.done:
            self.done = True
            self.voice.emit("finished", step=self.step)
            self.voice.do(Stop(0, "the job is done"))
        return None

    def _place(self) -> Mapping[str, Scalar]:
        return {"step": self.step}

    def _silent(self, silent_s: float) -> None:
        if silent_s >= self.plan.patience_s / 4:
            name = self.plan.name_of(self.asker)
            self.voice.emit("waiting", peer=name, why="silent", patience_s=self.plan.patience_s)

    def _gradient_bytes(self) -> int:
        """What the request of the next step carries."""
        if not 0 < self.step <= self.plan.schedule.num_learning:
            return 0
        return size_of(len(self.work.batches.rows(self.step - 1)), self.work.width)
