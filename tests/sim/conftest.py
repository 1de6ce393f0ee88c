"""Toy Parties, and a guard that asserts the laws of core/party.py on whatever host runs it."""

from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from p2pfl.core.ids import NodeId
from p2pfl.core.noise import Key, generator
from p2pfl.core.party import (
    Answered,
    Compute,
    Computed,
    Dropped,
    Effect,
    Emit,
    Event,
    Failed,
    Lane,
    Offered,
    Party,
    Persist,
    Put,
    Received,
    Reply,
    Send,
    SendFailed,
    SetTimer,
    Started,
    Stop,
    Stopping,
    Take,
    TimerFired,
    Verdict,
)
from p2pfl.errors import Reject
from p2pfl.hosts.sim import SimHost
from p2pfl.ledger.stores.memory import MemoryStore
from p2pfl.wire import envelope
from p2pfl.wire.keyfile import Signer


@dataclass(frozen=True)
class Job:
    """A task that returns twice its number, or raises if that is negative."""

    number: int
    lane: Lane = "wire"


class Doubling:
    def run(self, task: Any) -> int:
        if task.number < 0:
            raise ArithmeticError("below\nzero")
        return 2 * int(task.number)


@dataclass
class Script:
    """A Party made of a function; remembers what it was handed."""

    rule: Callable[[Event, float], list[Effect]]
    seen: list[tuple[float, Event]] = field(default_factory=list)

    def handle(self, event: Event, now: float) -> list[Effect]:
        self.seen.append((now, event))
        return self.rule(event, now)

    def of(self, *kinds: type) -> list[Any]:
        return [event for _, event in self.seen if isinstance(event, kinds)]


class Guard:
    """Passes everything on, and asserts what a Host owes its Party."""

    def __init__(self, party: Party) -> None:
        self._party = party
        self._inside = False
        self._now = float("-inf")
        self._stopped = False
        self.sends: dict[Any, int] = {}
        self.taken: set[int] = set()
        self.tokens: set[int] = set()
        self.queues: dict[Lane, list[Any]] = defaultdict(list)
        self.timers: dict[Any, float] = {}
        self.events: Counter[str] = Counter()

    def handle(self, event: Event, now: float) -> list[Effect]:
        assert not self._inside, "re-entered"
        assert not self._stopped, "an event after Stop"
        assert now >= self._now, "time ran backwards"
        assert isinstance(event, Started) == (not self.events), "Started is the first event, and once"
        self._inside, self._now = True, now
        self.events[type(event).__name__] += 1
        self._check(event, now)
        effects = self._party.handle(event, now)
        self._note(effects)
        self._inside = False
        return effects

    def _check(self, event: Event, now: float) -> None:
        match event:
            case Offered(token):
                assert token not in self.tokens
                self.tokens.add(token)
            case Received(token) | Dropped(token):
                self.taken.remove(token)
            case Answered(key) | SendFailed(key):
                assert self.sends[key] == 0, "a second end of one Send"
                self.sends[key] = 1
            case TimerFired(key):
                assert self.timers.pop(key) <= now
            case Computed(task) | Failed(task):
                assert self.queues[task.lane].pop(0) is task, "out of order in its lane"

    def _note(self, effects: list[Effect]) -> None:
        for effect in effects:
            match effect:
                case Send(key):
                    assert key not in self.sends, "the toy uses each key once"
                    self.sends[key] = 0
                case Take(token):
                    self.taken.add(token)
                case SetTimer(key, at):
                    self.timers[key] = at
                    if at == float("inf"):
                        del self.timers[key]
                case Compute(task):
                    self.queues[task.lane].append(task)
                case Stop():
                    self._stopped = True

    def is_settled(self) -> bool:
        """Nothing is owed to the Party."""
        return all(self.sends.values()) and not self.taken and not any(self.queues.values())


class Chatter:
    """Sends `count` messages, one at a time, to nodes drawn at random; doubles numbers before it answers others.

    Keeps how many messages it has sent and received in its store. Stops `linger` after its last one.
    """

    def __init__(self, signer: Signer, nodes: list[NodeId], net: bytes, count: int, linger: float) -> None:
        self._signer = signer
        self._nodes = [node for node in nodes if node != signer.node]
        self._net = net
        self._count = count
        self._linger = linger
        self._tried = 0
        self._got = 0
        self._sent = 0
        self._asked: dict[int, list[int]] = defaultdict(list)

    def handle(self, event: Event, now: float) -> list[Effect]:
        match event:
            case Started(entropy, restored):
                self._rng = generator(Key(entropy))
                state = restored.get("state", {})
                self._sent = int.from_bytes(state.get(b"sent", b"\0"), "big")
                self._got = int.from_bytes(state.get(b"got", b"\0"), "big")
                return self._next(now)
            case Offered(token, head):
                try:
                    envelope.open_head(head)
                except Reject:
                    return [Reply(token, Verdict.REJECT, (b"malformed",))]
                busy = self._rng.random() < 0.1
                return [Reply(token, Verdict.BUSY, (b"busy",)) if busy else Take(token)]
            case Received(token, body):
                self._got += 1
                number = int(self._rng.integers(100))
                self._asked[number].append(token)
                return [self._keep(b"got", self._got), Compute(Job(number)), Emit("got", {"size": len(body)})]
            case Computed(task):
                token = self._asked[task.number].pop(0)
                return [Reply(token, Verdict.ACCEPT, self._message())]
            case Answered():
                self._sent += 1
                return [self._keep(b"sent", self._sent), *self._next(now)]
            case SendFailed():
                return self._next(now)
            case TimerFired("end") | Stopping():
                return [Stop(0, "done")]
        return []

    def _next(self, now: float) -> list[Effect]:
        if self._sent >= self._count or self._tried >= 3 * self._count:
            return [SetTimer("end", now + self._linger), SetTimer("end", now + 2 * self._linger)]
        self._tried += 1
        to = self._nodes[int(self._rng.integers(len(self._nodes)))]
        return [Send(("m", self._tried), to, "exchange", self._message(), 4096, now + 0.5)]

    def _message(self) -> tuple[Any, ...]:
        return envelope.seal(self._signer, self._net, "chat", [self._got], (bytes(100), bytes(self._got)))

    def _keep(self, key: bytes, value: int) -> Persist:
        return Persist((Put("state", key, value.to_bytes(4, "big")),))


class Toys:
    """What the tests share."""

    Job, Doubling, Script, Guard, MemoryStore = Job, Doubling, Script, Guard, MemoryStore
    net = bytes(32)
    signers = tuple(Signer(bytes([i + 1]) * 32) for i in range(6))
    a, b, c, *_ = nodes = tuple(signer.node for signer in signers)

    def message(self, body: bytes = b"", sender: int = 0, fields: tuple[Any, ...] = (1,)) -> tuple[Any, ...]:
        return envelope.seal(self.signers[sender], self.net, "chat", list(fields), (body,) if body else ())

    def send(self, to: NodeId, body: bytes = b"", key: Any = "k", deadline: float = 10.0, limit: int = 4096) -> Send:
        return Send(key, to, "exchange", self.message(body), limit, deadline)

    def talk(self, host: SimHost, **rules: Callable[[Event, float], list[Effect]]) -> dict[str, list[Script]]:
        """Adds a node for each of a=, b=, c=: a Script by that rule. Every life's Script is in the lists returned."""
        lives: dict[str, list[Script]] = {}
        for name, rule in rules.items():
            lives[name] = []

            def make(rule: Any = rule, made: list[Script] = lives[name]) -> Script:
                made.append(Script(rule))
                return made[-1]

            host.add(getattr(self, name), make, Doubling(), MemoryStore)
        return lives

    def chat(self, host: SimHost, count: int = 12, linger: float = 5.0) -> list[Guard]:
        """Adds a Chatter on each node, guarded. Every life's Guard is in the list returned."""
        guards: list[Guard] = []
        for signer in self.signers:

            def make(signer: Signer = signer) -> Guard:
                guards.append(Guard(Chatter(signer, list(self.nodes), self.net, count, linger)))
                return guards[-1]

            host.add(signer.node, make, Doubling(), MemoryStore)
        return guards

    @staticmethod
    def once(*effects: Effect) -> Callable[[Event, float], list[Effect]]:
        """A rule: these effects at the start, nothing ever after."""
        return lambda event, now: list(effects) if isinstance(event, Started) else []

    @staticmethod
    def reply(verdict: Verdict, *data: bytes) -> Callable[[Event, float], list[Effect]]:
        """A rule: answer every request on its head alone."""
        return lambda event, now: [Reply(event.token, verdict, data)] if isinstance(event, Offered) else []

    @staticmethod
    def accept(*data: bytes) -> Callable[[Event, float], list[Effect]]:
        """A rule: take every request, accept it with `data`."""

        def rule(event: Event, now: float) -> list[Effect]:
            match event:
                case Offered(token):
                    return [Take(token)]
                case Received(token):
                    return [Reply(token, Verdict.ACCEPT, data)]
            return []

        return rule


@pytest.fixture(scope="session")
def toys() -> Toys:
    return Toys()
