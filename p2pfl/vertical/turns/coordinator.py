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
from p2pfl.core.party import Compute, Persist, Put, Restored
from p2pfl.vertical.split.asker import Asker, named_metrics
from p2pfl.vertical.split.messages import BYE, STEP, Cut
from p2pfl.vertical.split.parties import Ending
from p2pfl.vertical.split.plan import SPACE
from p2pfl.vertical.turns.messages import BODY_MAX, Accord, AskWork, Fault, Move, Moved, Request, pack_request
from p2pfl.wire.post import Append

STATE = b"asking"


class Coordinator(Asker):
    """A Job (core.party). `metrics` once `done`; `state` is the work's."""

    def __init__(self, accord: Accord, work: AskWork) -> None:
        super().__init__(accord)
        self.accord, self.work = accord, work
        self.state, first = work.start()
        self.requests = {party: pack_request(request) for party, request in first.items()}
        self.turns = [0] * len(accord.parties)  # asked and answered
        self.metrics: dict[str, float | None] = {}
        self._key = Key(bytes(32))
        self._answers: dict[int, bytes] = {}
        self._working = False

    def status(self) -> dict[str, Any]:
        step, steps = self.work.progress(self.state)
        told = {"job": self.accord.name, "role": "label holder", "step": step, "steps": steps, "done": self.done}
        return {**told, **self.metrics}

    # ------------------------------------------------------------------------------------------------- turns

    def _start(self, entropy: bytes, restored: Restored) -> None:
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

    def _expected(self, to: NodeId) -> tuple[int, int]:
        return BYE if self.done else STEP, self.turns[self.accord.number_of(to)]

    def _answered(self, to: NodeId, body: bytes) -> None:
        self._answers[self.accord.number_of(to)] = body
        self._go_on()

    def _late(self, to: NodeId) -> str:
        return f"lost its place: {self.accord.name_of(to)} is past its turn"

    def _go_on(self) -> None:
        if self._answers.keys() != self.requests.keys() or self._working:
            return
        self._working = True
        turn = ".".join(map(str, self.turns))
        answers: Mapping[int, bytes] = dict(sorted(self._answers.items()))
        self.voice.do(Compute(Move(self.state, answers, derive(self._key, turn))))

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
            self.voice.do(Append("vertical.scores", 0, [self.accord.digest, 0, named_metrics(self.metrics)]))

    def _finish(self) -> None:
        self.metrics = self.work.metrics(self.state)
        self.done = True
        self.voice.emit("finished", step=self.work.progress(self.state)[0], **self.metrics)
        for party, (_, node) in enumerate(self.accord.parties):
            if party:
                self.voice.ask(node, Cut(self.accord.digest, node, BYE, self.turns[party]), b"", 0)
