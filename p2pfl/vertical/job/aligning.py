"""One party's alignment as messages between Peers. Knows posts, repeats and records; no point and no socket.

An `Aligner` says what it wants said; here it is said until it is heard, one message at a time to each party, and what
must be remembered is written down before. The other party's answer means no more than "it is here": what became of it
the Aligners tell each other. Where nothing is heard for a while, they are reminded.
"""

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from p2pfl.core.ids import NodeId
from p2pfl.core.limits import CONTROL_BYTES_MAX, SEND_ATTEMPTS_LOG2_MAX
from p2pfl.core.noise import derive
from p2pfl.core.party import Buffer, Compute, Emit, Persist, Put, SetTimer
from p2pfl.errors import Reject
from p2pfl.vertical.align.aligner import Action, Aligner, Blamed, Do, Keep, Message, Say, Standing
from p2pfl.vertical.align.messages import pack, unpack
from p2pfl.vertical.align.work import Result, Task
from p2pfl.vertical.job.agreement import Agreement
from p2pfl.vertical.split.messages import ALIGN, Cut
from p2pfl.vertical.split.parties import PAUSE_S, PAUSE_S_MAX, Ending, as_message, plainly
from p2pfl.wire.envelope import chunk_digests
from p2pfl.wire.post import JobEffect, Post

ALIGN_SPACE = "vertical.align"
REMIND = ("align-remind",)


@dataclass(frozen=True, slots=True)
class Number:
    """The key of a Post to a party."""

    to: NodeId
    number: int


@dataclass(frozen=True, slots=True)
class Again:
    """The key of a pause before a repeat."""

    to: NodeId


@dataclass(eq=False)
class Line:
    """What is to be said to one party. The newest Standing goes first, and only the newest."""

    standing: Standing | None
    rest: deque[Message]
    under_way: bytes | None = None
    sent: int = 0
    failures: int = 0
    since: float = 0.0

    def add(self, message: Message) -> None:
        if isinstance(message, Standing):
            asked = self.standing is not None and self.standing.ask
            self.standing = replace(message, ask=message.ask or asked)
        else:
            self.rest.append(message)

    def next(self) -> Message | None:
        if self.standing is not None:
            message, self.standing = self.standing, None
            return message
        return self.rest.popleft() if self.rest else None


class Aligning:
    """Party `me`'s alignment. `do` performs an effect; handlers return an Ending if the job cannot go on."""

    def __init__(self, agreement: Agreement, me: NodeId, items: Sequence[bytes]) -> None:
        self.agreement, self.me, self.items = agreement, me, items
        self.now = 0.0
        self._out: list[JobEffect] = []
        self._aligner: Aligner | None = None
        self._lines = {key: Line(None, deque()) for _, key in agreement.parties if key != me}
        self._entropy = bytes(32)
        self._begun = self._heard = 0.0
        self._told = 0.0  # when progress was last said

    @property
    def rows(self) -> NDArray[np.int64] | None:
        """My rows that all have, in the common order, once I know them (the label holder: once all know theirs)."""
        aligner = self._aligner
        if aligner is None or aligner.done is None or not aligner.finished:
            return None
        return aligner.done.rows

    @property
    def counts(self) -> tuple[int, ...] | None:
        """The declared sizes, if this life has heard them."""
        return None if self._aligner is None else self._aligner.counts

    def take(self) -> list[JobEffect]:
        out, self._out = self._out, []
        return out

    # ------------------------------------------------------------------------------------------------ events

    def start(self, entropy: bytes, kept: Mapping[bytes, bytes], now: float) -> None:
        """ConfigError if `kept` is about other ids or terms."""
        self.now = self._begun = self._heard = self._told = now
        self._entropy = bytes(derive(entropy, "alignment-jitter"))
        mine = bytes(derive(entropy, "alignment"))
        self._aligner = Aligner(self.agreement.terms, self.agreement.index_of(self.me), self.items, mine, kept)
        self._perform(self._aligner.start())
        self._set_remind()

    def receive(self, author: NodeId, body: Buffer, now: float) -> Ending | None:
        self.now = self._heard = now
        assert self._aligner is not None
        try:
            message = unpack(body)
            return self._try(lambda aligner: aligner.receive(self.agreement.index_of(author), message))
        except Reject as error:
            return Ending(author, f"{error.code}: {error.detail}")

    def computed(self, task: Task, result: Result, now: float) -> Ending | None:
        self.now = self._heard = now
        ending = self._try(lambda aligner: aligner.computed(task, result))
        self._say_progress()
        return ending

    def heard(self, key: Number, now: float) -> None:
        """It has arrived."""
        to, line, self.now = key.to, self._lines[key.to], now
        if line.under_way is None or key.number != line.sent:
            return
        if line.failures:
            self._emit("returned", peer=self.agreement.name_of(to), after_s=now - line.since)
        line.under_way, line.failures = None, 0
        self._pump(to)

    def unheard(self, key: Number, why: str, now: float) -> Ending | None:
        """Again after a pause, for as long as patience lasts."""
        to, line, self.now = key.to, self._lines[key.to], now
        if line.under_way is None or key.number != line.sent:
            return None
        line.failures += 1
        if line.failures == 1:
            line.since = now
            name = self.agreement.name_of(to)
            self._emit("waiting", peer=name, why=why, patience_s=self.agreement.patience_s)
        waited = now - line.since
        if waited >= self.agreement.patience_s:
            return Ending(to, f"no answer for {waited:.0f} s (alignment: {plainly(why)})")
        pause = min(PAUSE_S * 2 ** min(line.failures - 1, SEND_ATTEMPTS_LOG2_MAX), PAUSE_S_MAX)
        jitter = 0.5 + derive(self._entropy, "pause", to, line.failures)[0] / 512
        self._out.append(SetTimer(Again(to), now + pause * jitter))
        return None

    def again(self, to: NodeId, now: float) -> None:
        self.now = now
        if self._lines[to].under_way is not None:
            self._post(to)

    def remind(self, now: float) -> None:
        """Nothing heard for a while: tell all where I stand."""
        self.now = now
        if self._aligner is None:
            return
        if now - self._heard >= self.agreement.timeout_s / 2:
            self._perform(self._aligner.remind())
        self._set_remind()

    def status(self) -> dict[str, Any]:
        raised, of = (0, 0) if self._aligner is None else self._aligner.work
        waits = () if self._aligner is None else self._aligner.waits_for
        names = self.agreement.terms.parties
        return {"raised": raised, "raise": of, "waits_for": [names[party] for party in waits]}

    # ------------------------------------------------------------------------------------------------ effects

    def _try(self, call: Any) -> Ending | None:
        assert self._aligner is not None
        try:
            self._perform(call(self._aligner))
        except Blamed as error:
            return Ending(self.agreement.parties[error.party][1], f"{error.code}: {error.detail}")
        return None

    def _perform(self, actions: Sequence[Action]) -> None:
        keys = [key for _, key in self.agreement.parties]
        for action in actions:
            match action:
                case Keep(key, value):
                    self._out.append(Persist((Put(ALIGN_SPACE, key, value),)))
                case Do(task):
                    self._out.append(Compute(task))
                case Say(party, message):
                    self._lines[keys[party]].add(message)
        for to in self._lines:
            self._pump(to)

    def _pump(self, to: NodeId) -> None:
        line = self._lines[to]
        if line.under_way is None and (message := line.next()) is not None:
            line.under_way, line.sent = pack(message), line.sent + 1
            self._out.append(Persist(()))  # what an earlier handle wrote down is on disk before this leaves
            self._post(to)

    def _post(self, to: NodeId) -> None:
        line = self._lines[to]
        assert line.under_way is not None
        parts = (line.under_way,)
        cut = Cut(self.agreement.digest, to, ALIGN, line.sent)
        deadline = self.now + self.agreement.timeout_s
        post = Post(
            Number(to, line.sent), to, as_message(cut), parts, chunk_digests(parts), CONTROL_BYTES_MAX, deadline
        )
        self._out.append(post)

    def _set_remind(self) -> None:
        self._out.append(SetTimer(REMIND, self.now + self.agreement.timeout_s / 2))

    def _say_progress(self) -> None:
        assert self._aligner is not None
        done, of = self._aligner.work
        if done == of or self.now - self._told >= 1.0:
            self._told = self.now
            rate = done / max(self.now - self._begun, 1e-3)
            self._emit("aligning", raised=done, of=of, per_second=round(rate, 1))

    def _emit(self, name: str, **fields: Any) -> None:
        self._out.append(Emit(name, fields))
