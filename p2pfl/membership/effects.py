"""What the watch over the members wants done, and where its pieces put it. Knows values only."""

from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import Any, Literal

from p2pfl.core.ids import NodeId
from p2pfl.core.party import Emit, Locate, Persist, Put, ReplyToken, Scalar, SetTimer, Verdict
from p2pfl.membership.talk import Words


@dataclass(frozen=True, slots=True)
class Tick:
    """The key of a timer of the watch: so that nobody else's timers meet it."""

    name: str
    about: bytes = b""


@dataclass(frozen=True, slots=True)
class Question:
    """The key of something that was asked."""

    number: int


@dataclass(frozen=True, slots=True)
class Say:
    """Ask `to` once; it leads to one answer or failure under `key`."""

    key: Question
    to: NodeId
    line: bytes
    within_s: float


@dataclass(frozen=True, slots=True)
class Respond:
    """Answer a request: with a line if the verdict is ACCEPT, else with a code and a sentence."""

    token: ReplyToken
    verdict: Verdict
    line: bytes = b""
    code: str = ""
    detail: str = ""


@dataclass(frozen=True, slots=True)
class View:
    """Who is there now; see wire.post.Members."""

    number: int
    alive: tuple[NodeId, ...]
    departed: tuple[NodeId, ...]


@dataclass(frozen=True, slots=True)
class Halt:
    """This node must not go on."""

    reason: str


@dataclass(frozen=True, slots=True)
class Parted:
    """The farewell is said: the node may stop."""


@dataclass(frozen=True, slots=True)
class Drained:
    """The others have had time to close their graph over this node: the job may stop."""


Purpose = Literal["probe", "reach", "relay", "rival", "sync", "tell", "leave"]
WatchEffect = Persist | SetTimer | Emit | Locate | Say | Respond | View | Halt | Drained | Parted


@dataclass(eq=False)
class Asked:
    """What a question was for. `incarnation`: of this node's record, which went with it or was known."""

    to: NodeId
    words: Words
    purpose: Purpose
    about: Any = None
    incarnation: int = -1


@dataclass(eq=False)
class Out:
    """Collects the effects of one handle; writes go out first, together: nothing is said that is not durable."""

    now: float = 0.0
    asked: dict[Question, Asked] = field(default_factory=dict)
    _puts: list[Put] = field(default_factory=list)
    _effects: list[WatchEffect] = field(default_factory=list)
    _questions: int = 0

    def put(self, space: str, key: bytes, value: bytes | None) -> None:
        self._puts.append(Put(space, key, value))

    def do(self, effect: WatchEffect) -> None:
        self._effects.append(effect)

    def emit(self, name: str, **fields: Scalar) -> None:
        self.do(Emit(name, fields))

    def timer(self, name: str, at: float, about: bytes = b"") -> None:
        self.do(SetTimer(Tick(name, about), at))

    def ask(self, asked: Asked, line: bytes, within_s: float) -> None:
        self._questions += 1
        key = Question(self._questions)
        self.asked[key] = asked
        self.do(Say(key, asked.to, line, within_s))

    def answered(self, key: Hashable) -> Asked | None:
        """What the question was, which now is over."""
        return self.asked.pop(key, None) if isinstance(key, Question) else None

    def take(self) -> list[WatchEffect]:
        effects, self._effects = self._effects, []
        puts, self._puts = self._puts, []
        return [Persist(tuple(puts)), *effects] if puts else effects
