"""A party of a coordinated job that is asked: a feature holder, or the one that holds keys. Knows turns; no cipher.

| phase | event                          | next  | effects                                                   |
|-------|--------------------------------|-------|-----------------------------------------------------------|
| READY | Knock(turn = next), Whole      | WORK  | Compute(Reply)                                            |
| WORK  | Computed(Replied)              | READY | Persist(state, answer), Answer                            |
| WORK  | Computed(Fault)                | END   | Refuse(REJECT); the others are told; Stop(2)              |
| READY | bye                            | END   | Answer, Stop(0)                                           |

All else, repeats, patience and blame among it, is `Answering`'s.
"""

from typing import Any

import msgpack

from p2pfl.core.noise import Key, derive
from p2pfl.core.party import Compute, Persist, Put, ReplyToken, Restored, Stop, Take
from p2pfl.vertical.split.answerer import Answering
from p2pfl.vertical.split.messages import BYE, STEP, Cut
from p2pfl.vertical.split.plan import SPACE
from p2pfl.vertical.turns.messages import Accord, AnswerWork, Fault, Replied, Reply
from p2pfl.wire.post import Knock

STATE, ANSWER = b"answering", b"answer"


class Answerer(Answering):
    """A Job (core.party). `me` is the party's number."""

    UNIT = "turn"

    def __init__(self, accord: Accord, me: int, work: AnswerWork) -> None:
        super().__init__(accord, accord.node(me))
        self.accord, self.work = accord, work
        self.state = work.start()
        self.turn = 0  # the next one to answer
        self._role = "key holder" if me == accord.holder else "feature holder"
        self._key = Key(bytes(32))

    def status(self) -> dict[str, Any]:
        return {"job": self.accord.name, "role": self._role, "turn": self.turn, "done": self.done}

    @property
    def _next(self) -> int:
        return self.turn

    def _start(self, entropy: bytes, restored: Restored) -> None:
        self._key = derive(entropy, "answerer")
        kept = restored.get(SPACE, {})
        if STATE in kept:
            self.turn, state = msgpack.unpackb(kept[STATE])
            self.state, self.answered = self.work.unpack(state, kept), kept[ANSWER]
            self.voice.emit("resumed", turn=self.turn)

    def _request(self, event: Knock, cut: Cut) -> None:
        if self._repeats(event.token, cut):
            return None
        if cut.stage == BYE:
            return self._bye(event.token)
        self._token = event.token
        return self.voice.do(Take(event.token))

    def _work(self, body: bytes) -> None:
        self.voice.do(Compute(Reply(self.state, body, derive(self._key, self.turn))))

    def _computed(self, token: ReplyToken | None, result: Any) -> None:
        if isinstance(result, Fault):
            return self._malformed(token, self.accord.node(result.party), result.code, result.detail)
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
