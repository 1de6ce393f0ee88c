"""What a simulation leaves behind: counts, a digest, on demand every event. Knows events; knows no network.

The digest stands for the whole order of things: equal seeds must give equal digests, on any machine on which the tasks'
results are the same. It covers each handled event's time, node, kind and content (of a body its length: the head that
came before it holds its digests; of a task its type).
"""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from struct import pack
from typing import Literal

from blake3 import blake3

from p2pfl.core.ids import NodeId
from p2pfl.core.party import (
    Answered,
    Asked,
    Buffer,
    Computed,
    Dropped,
    Effect,
    Event,
    Failed,
    Offered,
    Party,
    Received,
    SendFailed,
    Started,
    Stop,
    Stopping,
    TimerFired,
)

Outcome = Literal["stopped", "stalled", "until", "events"]
"""Why a run ended: all Parties have; live ones wait for nothing; the time is up; the events are."""


@dataclass(frozen=True)
class Trace:
    """One run of a simulation, up to where it ended.

    now: virtual seconds at the last event (at the bound, if the time was up).
    counts: what happened how often; the names are listed in docs/simulator.md.
    owed: requests that a live Party was offered (or has received) and has not answered.
    events: each node's (now, event) with `record`, over all its lives: each begins with a Started.
    """

    outcome: Outcome
    now: float
    digest: bytes
    handled: int
    counts: Mapping[str, int]
    emitted: Mapping[str, int]
    stopped: Mapping[NodeId, Stop]
    live: tuple[NodeId, ...]
    owed: Mapping[NodeId, int]
    events: Mapping[NodeId, list[tuple[float, Event]]] = field(repr=False)


class Book:
    """Writes the trace while the simulation runs."""

    def __init__(self, record: bool) -> None:
        self.counts: Counter[str] = Counter()
        self.emitted: Counter[str] = Counter()
        self.events: dict[NodeId, list[tuple[float, Event]]] = {}
        self.handled = 0
        self.last = 0.0
        self._record = record
        self._hasher = blake3(b"p2pfl/trace/v1\0")

    def note(self, node: NodeId, time: float, now: float, event: Event) -> None:
        """An event is about to be handled: at `time` in the world, at `now` on the node's own clock."""
        self.handled += 1
        self.last = time
        kind, content = _content(event)
        self._hasher.update(pack("<32sdHQ", node, time, kind, len(content)))
        self._hasher.update(content)
        if self._record:
            self.events.setdefault(node, []).append((now, _frozen(event)))

    def digest(self) -> bytes:
        return self._hasher.digest()


def _content(event: Event) -> tuple[int, Buffer]:
    """A number for the kind, and the bytes that stand for what the event says."""
    match event:
        case Computed(task):
            return 1, type(task).__name__.encode()
        case TimerFired():
            return 2, b""
        case Offered(token, head):
            return 3, pack("<Q", token) + head
        case Received(token, body):
            return 4, pack("<QQ", token, memoryview(body).nbytes)
        case Answered(_, verdict, data):
            return 5, verdict.value.encode() + bytes(data)
        case SendFailed(_, reason):
            return 6, reason.encode()
        case Dropped(token, reason):
            return 7, pack("<Q", token) + reason.encode()
        case Started(entropy, restored):
            return 8, entropy + _content_of_store(restored)
        case Failed(task, error):
            return 9, f"{type(task).__name__}: {error}".encode()
        case Asked(token, what):
            return 10, pack("<Q", token) + what.encode()
        case Stopping(reason):
            return 11, reason.encode()


def _content_of_store(restored: Mapping[str, Mapping[bytes, bytes]]) -> bytes:
    hasher = blake3()
    for space, rows in restored.items():
        hasher.update(pack("<IQ", len(space.encode()), len(rows)) + space.encode())
        for key, value in rows.items():
            hasher.update(pack("<IQ", len(key), len(value)) + key)
            hasher.update(value)
    return hasher.digest()


def _frozen(event: Event) -> Event:
    """The event as it can be kept: what belongs to the host or the store is copied."""
    match event:
        case Received(token, body):
            return Received(token, bytes(body))
        case Started(entropy, restored):
            return Started(entropy, {space: dict(rows) for space, rows in restored.items()})
    return event


def replay(make_party: Callable[[], Party], events: list[tuple[float, Event]]) -> list[list[Effect]]:
    """Feed one node's recorded events to fresh Parties (a new one at each Started): the effects of each event.

    A Party that crashed in the middle of its effects gives here what it would have done.
    """
    effects: list[list[Effect]] = []
    party = make_party()
    for index, (now, event) in enumerate(events):
        if isinstance(event, Started) and index:
            party = make_party()
        effects.append(party.handle(event, now))
    return effects
