"""What the parts of one gossip job share while they work: the effects of the present handle, and a queue of longer
procedures. Knows no rule and no message.

A procedure is a generator that yields tasks and is sent their results, so that "encode, then mix, then answer" reads
in that order. One procedure runs at a time, in the order they came: between its steps nobody else changes an edge.
Training is not a procedure; it runs beside them.
"""

from collections import deque
from collections.abc import Callable, Generator
from typing import Any

from p2pfl.core.noise import Key, derive
from p2pfl.core.party import Compute, Emit, Persist, Put, Scalar, SetTimer
from p2pfl.horizontal.model.work import GossipTask
from p2pfl.horizontal.pace.report import Report
from p2pfl.wire.post import Append, JobEffect

Procedure = Generator[GossipTask, Any, None]


class Desk:
    """Collects effects in order. `now` and `key` are set by the job: the time of this event, this start's entropy.
    `report` gathers what comes of the present round."""

    def __init__(self) -> None:
        self.now = 0.0
        self.key = Key(bytes(32))
        self.report = Report()
        self._out: list[JobEffect] = []
        self._deferred: list[Put] = []
        self._queue: deque[Callable[[], Procedure]] = deque()
        self._running: Procedure | None = None
        self._awaited: GossipTask | None = None

    def do(self, *effects: JobEffect) -> None:
        self._out.extend(effects)

    def emit(self, name: str, **fields: Scalar) -> None:
        self._out.append(Emit(name, fields))

    def timer(self, key: tuple[Any, ...], after_s: float) -> None:
        self._out.append(SetTimer(key, self.now + after_s))

    def defer(self, *puts: Put) -> None:
        """Durable with the next `persist`, at the latest before the next message that depends on it leaves."""
        self._deferred.extend(puts)

    def persist(self, *puts: Put, entries: tuple[Append, ...] = ()) -> None:
        """Durable before anything done later in this handle; what was deferred goes first, all in one commit."""
        self._out.extend(entries)
        self._out.append(Persist((*self._deferred, *puts)))
        self._deferred = []

    def take(self) -> list[JobEffect]:
        """The effects of this handle; the desk is clear after."""
        out, self._out = self._out, []
        return out

    def jitter(self, *labels: str | int | bytes) -> float:
        """0.5 to 1, spread by label: keeps repeats of different nodes apart."""
        return 0.5 + derive(self.key, "jitter", *labels)[0] / 512

    def enqueue(self, procedure: Callable[[], Procedure]) -> None:
        self._queue.append(procedure)
        if self._running is None:
            self._next()

    def computed(self, task: GossipTask, result: Any) -> bool:
        """Whether the task was a procedure's; if so it went on."""
        if task is not self._awaited or self._running is None:
            return False
        self._advance(result)
        return True

    @property
    def length(self) -> int:
        """Procedures that wait for the one that runs."""
        return len(self._queue)

    @property
    def idle(self) -> bool:
        return self._running is None and not self._queue

    def _next(self) -> None:
        while self._running is None and self._queue:
            self._running = self._queue.popleft()()
            self._advance(None)

    def _advance(self, result: Any) -> None:
        assert self._running is not None
        try:
            self._awaited = self._running.send(result)
        except StopIteration:
            self._running, self._awaited = None, None
            self._next()
        else:
            self._out.append(Compute(self._awaited))
