"""What label holder and feature holder have in common: asking until heard, waiting within bounds, ending for all with
blame. Knows messages and timers; no tensor."""

from dataclasses import dataclass
from typing import Any, Protocol, cast

from p2pfl.core.ids import NodeId, short
from p2pfl.core.limits import CONTROL_BYTES_MAX, SEND_ATTEMPTS_LOG2_MAX
from p2pfl.core.noise import Key, derive
from p2pfl.core.party import Emit, Scalar, SendFailed, SetTimer, Stop, Verdict
from p2pfl.vertical.split.messages import BLAME, STAGES, Cut
from p2pfl.wire.envelope import chunk_digests
from p2pfl.wire.messages import Message
from p2pfl.wire.post import Answer, Heard, JobEffect, Post, Refuse

PAUSE_S = 0.25
PAUSE_S_MAX = 10.0
FAREWELL_ATTEMPTS = 6
"""A party that ends tells each other so often, if it is not heard, and leaves: who missed it runs out of patience."""


class Circle(Protocol):
    """Who is in it and how long they wait, known before and after the alignment alike."""

    @property
    def name(self) -> str: ...
    @property
    def parties(self) -> tuple[tuple[str, NodeId], ...]: ...
    @property
    def timeout_s(self) -> float: ...
    @property
    def patience_s(self) -> float: ...
    @property
    def digest(self) -> bytes: ...
    def name_of(self, node: bytes) -> str: ...


NOBODY = NodeId(bytes(32))


@dataclass(frozen=True, slots=True)
class Ending:
    """Why the job ended before its time, and whose fault that is (perhaps NOBODY's)."""

    accused: NodeId
    reason: str


def as_message(cut: Cut) -> Message:
    """The wire's union names the kinds of gossip only; a Peer needs of a message no more than a `Cut` has."""
    return cast(Message, cut)


class Voice:
    """Effects of one party's handle, in order, and what it has said without an answer yet: one thing to each other.

    `now` and `key` are set by the party, at each event and at the start of a life.
    """

    def __init__(self, plan: Circle, me: NodeId) -> None:
        self.plan, self.me = plan, me
        self.now, self.key = 0.0, Key(bytes(32))
        self._out: list[JobEffect] = []
        self._pending: dict[NodeId, tuple[Cut, bytes, int]] = {}
        self._since: dict[NodeId, float] = {}
        self._failures: dict[NodeId, int] = {}

    def do(self, *effects: JobEffect) -> None:
        self._out += effects

    def emit(self, name: str, **fields: Scalar) -> None:
        self._out.append(Emit(name, fields))

    def take(self) -> list[JobEffect]:
        out, self._out = self._out, []
        return out

    def answer(self, token: Any, cut: Cut, body: bytes = b"") -> None:
        parts = (body,) if body else ()
        self.do(Answer(token, as_message(cut), parts, chunk_digests(parts)))

    def refuse(self, token: Any, verdict: Verdict, code: str, detail: str = "") -> None:
        self.do(Refuse(token, verdict, code, detail))

    def ask(self, to: NodeId, cut: Cut, body: bytes, reply_bytes: int) -> None:
        """Say this until it is heard; replaces what was being said to that party."""
        self._pending[to] = (cut, body, reply_bytes)
        self._since[to], self._failures[to] = self.now, 0
        self.say(to)

    def say(self, to: NodeId) -> None:
        if to not in self._pending:
            return
        cut, body, reply_bytes = self._pending[to]
        parts = (body,) if body else ()
        limit, deadline = CONTROL_BYTES_MAX + reply_bytes, self.now + self.plan.timeout_s
        self.do(Post(_key(cut, to), to, as_message(cut), parts, chunk_digests(parts), limit, deadline))

    def said(self, key: Any) -> NodeId | None:
        """Who was asked, if that is still what is being asked."""
        if not isinstance(key, tuple) or len(key) != 4 or key[1] not in self._pending:
            return None
        to: NodeId = key[1]
        return to if key == _key(self._pending[to][0], to) else None

    def heard(self, to: NodeId) -> None:
        """The answer is here: nothing more to say."""
        if self._failures.pop(to, 0):
            self.emit("returned", peer=self.plan.name_of(to), after_s=self.now - self._since[to])
        self._pending.pop(to, None)

    def unheard(self, to: NodeId, why: str) -> float:
        """It goes out again after a pause. Returns for how long this has been asked (seconds)."""
        failures = self._failures[to] = self._failures.get(to, 0) + 1
        if failures == 1:
            self.emit("waiting", peer=self.plan.name_of(to), why=why, patience_s=self.plan.patience_s)
        pause = min(PAUSE_S * 2 ** min(failures - 1, SEND_ATTEMPTS_LOG2_MAX), PAUSE_S_MAX)
        jitter = 0.5 + derive(self.key, "jitter", to, failures)[0] / 512
        self.do(SetTimer(("again", to), self.now + pause * jitter))
        return self.now - self._since[to]

    def forget(self) -> None:
        """Nothing of what is being said matters any more."""
        self._pending.clear()

    def failures(self, to: NodeId) -> int:
        return self._failures.get(to, 0)

    @property
    def idle(self) -> bool:
        return not self._pending


class Farewell:
    """The end with blame: all others are told, then Stop(2). `over` once it has begun."""

    def __init__(self, voice: Voice) -> None:
        self.voice = voice
        self.ending: Ending | None = None

    @property
    def over(self) -> bool:
        return self.ending is not None

    def begin(self, ending: Ending, tell: bool) -> None:
        if self.over:
            return
        self.ending = ending
        voice, plan = self.voice, self.voice.plan
        if ending.accused == NOBODY:
            voice.emit("ended", reason=ending.reason)
        else:
            accused = "this party" if ending.accused == voice.me else plan.name_of(ending.accused)
            voice.emit("blamed", party=accused, key=short(ending.accused), reason=ending.reason)
        voice._pending.clear()
        for _, key in plan.parties if tell else ():
            if key != voice.me:
                cut = Cut(plan.digest, key, BLAME, 0, ending.accused, printable(ending.reason))
                voice.ask(key, cut, b"", 0)
        self._leave()

    def told(self, token: Any, author: NodeId, cut: Cut) -> None:
        """Another party says that the job has ended: nobody has to tell that one."""
        voice = self.voice
        voice.answer(token, Cut(cut.recipe, author, BLAME, cut.step))
        if self.over:
            voice.heard(author)
            return self._leave()
        said = f" (says {voice.plan.name_of(author)})"
        return self.begin(Ending(NodeId(cut.accused), cut.note[: 200 - len(said)] + said), tell=False)

    def settled(self, event: Heard | SendFailed) -> None:
        """One of the others has heard it, or has not."""
        to = self.voice.said(event.key)
        if to is None:
            return
        if isinstance(event, Heard) and event.verdict in (Verdict.ACCEPT, Verdict.REJECT):
            self.voice.heard(to)
        elif self.voice.failures(to) + 1 >= FAREWELL_ATTEMPTS:
            self.voice._pending.pop(to, None)
        else:
            self.voice.unheard(to, "ending")
        self._leave()

    def _leave(self) -> None:
        if self.voice.idle:
            assert self.ending is not None
            accused = self.ending.accused
            who = "" if accused == NOBODY else f"{self.voice.plan.name_of(accused)}: "
            self.voice.do(Stop(2, f"the job has ended: {who}{self.ending.reason}"))


def plainly(why: str) -> str:
    """A host's reason without the addresses it tried."""
    return why.split(" [")[0].removesuffix(" ssl:default")


def printable(text: str) -> str:
    return "".join(c if c.isprintable() else "?" for c in text)[:200]


def _key(cut: Cut, to: NodeId) -> tuple[str, NodeId, str, int]:
    return ("cut", to, STAGES[cut.stage], cut.step)
