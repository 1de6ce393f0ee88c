"""The grammar of a participant: events in, effects out. Knows no algorithm, socket, clock or thread.

Theory of operation
-------------------
A `Party` is a pure state machine: `handle(event, now) -> [effects]`. A `Host` (HTTP, or virtual time with faults)
performs the effects and feeds back what comes of them as new events. The laws a Host keeps:

1. The effects of one handle are performed in list order.
2. A `Persist` is durable before any later `Send` or `Reply` of the same handle leaves the machine. So a crash never
   lets the world know something the node has forgotten. Several handles' Persists may share one commit; they become
   durable in the order of the handles, so an empty Persist waits for all before it.
3. Every `Send` is one attempt, and leads to exactly one `Answered` or `SendFailed`. Repeats are the Party's decision.
4. Every `Offered` is answered by the Party with one `Take` or one `Reply`; after a `Take` comes one `Received` or one
   `Dropped` (the sender trickled, lied about a chunk, or went away), and after `Received` the Party owes one `Reply`.
5. Every `Compute` leads to one `Computed` or one `Failed`. A task's result depends on the task alone.
6. `handle` is never re-entered, never blocks, and never raises on remote input.

Buffers: `Received.body` belongs to the Host again once the Reply to that token is performed.
"""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Literal, NewType, Protocol

from p2pfl.core.ids import NodeId

Buffer = bytes | bytearray | memoryview
Parts = tuple[Buffer, ...]
"""Pieces of one message, sent one after another and never joined."""

ReplyToken = NewType("ReplyToken", int)
"""Names one request that waits for our reply. Given by the Host, unique in one run of it."""

Scalar = int | float | str | bool | None
Lane = Literal["train", "wire"]


class Verdict(Enum):
    """What a receiver says of a request. Over HTTP: 200, 204, 403, 503."""

    ACCEPT = "accept"
    IGNORE = "ignore"
    REJECT = "reject"
    BUSY = "busy"


class Task(Protocol):
    """Heavy work as a value. Frozen; its result depends on its fields alone."""

    @property
    def lane(self) -> Lane:
        """Tasks of one lane run one after another, in order; the two lanes run side by side."""
        ...


@dataclass(frozen=True, slots=True)
class Put:
    """One durable write: `value` at (`space`, `key`), or its removal if `value` is None.

    The space "entry" is insert-only: putting other bytes at a key that exists is an error of the store.
    """

    space: str
    key: bytes
    value: bytes | None


Restored = Mapping[str, Mapping[bytes, bytes]]
"""What a store holds: space -> key -> value, keys in ascending order."""

# ---------------------------------------------------------------------------------------------------- events


@dataclass(frozen=True, slots=True)
class Started:
    """The first event. `entropy` (32 bytes) is the only source of randomness a Party has."""

    entropy: bytes
    restored: Restored = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Offered:
    """A request's head (prefix, signature, header) has arrived; its body is still unread."""

    token: ReplyToken
    head: bytes


@dataclass(frozen=True, slots=True)
class Received:
    """The body of a taken request, whole, its chunk digests checked by the Host."""

    token: ReplyToken
    body: Buffer


@dataclass(frozen=True, slots=True)
class Dropped:
    """A taken request will never be complete; no Reply is owed any more."""

    token: ReplyToken
    reason: str


@dataclass(frozen=True, slots=True)
class Asked:
    """A reader wants to know something (`what` is "status"). Answer with a Reply of JSON bytes."""

    token: ReplyToken
    what: str


@dataclass(frozen=True, slots=True)
class Answered:
    """The reply to a Send. `data` is a whole envelope if the verdict is ACCEPT, else a refusal (may be empty)."""

    key: Hashable
    verdict: Verdict
    data: Buffer


@dataclass(frozen=True, slots=True)
class SendFailed:
    key: Hashable
    reason: str


@dataclass(frozen=True, slots=True)
class TimerFired:
    key: Hashable


@dataclass(frozen=True, slots=True)
class Computed:
    task: Task
    result: Any


@dataclass(frozen=True, slots=True)
class Failed:
    """The task raised. `error` is one line for people."""

    task: Task
    error: str


@dataclass(frozen=True, slots=True)
class Stopping:
    """The user or the system wants the node to end. The Party persists what it must and answers with Stop."""

    reason: str = "asked to stop"


Event = (
    Started | Offered | Received | Dropped | Asked | Answered | SendFailed | TimerFired | Computed | Failed | Stopping
)

# ---------------------------------------------------------------------------------------------------- effects


@dataclass(frozen=True, slots=True)
class Compute:
    task: Task


@dataclass(frozen=True, slots=True)
class Send:
    """One attempt to deliver `data` (an envelope: head, then body parts) to a neighbour and to get its reply.

    `path` is "exchange" (bodies) or "gossip" (small control messages). `reply_limit` bounds the reply in bytes;
    `deadline` is in the time of `now`.
    """

    key: Hashable
    to: NodeId
    path: Literal["exchange", "gossip"]
    data: Parts
    reply_limit: int
    deadline: float


@dataclass(frozen=True, slots=True)
class Take:
    """The head is admitted: the Host may read the body, exactly as long as the head says."""

    token: ReplyToken


@dataclass(frozen=True, slots=True)
class Reply:
    token: ReplyToken
    verdict: Verdict
    data: Parts = ()


@dataclass(frozen=True, slots=True)
class SetTimer:
    """Setting a key again replaces it; `at` = inf clears it."""

    key: Hashable
    at: float


@dataclass(frozen=True, slots=True)
class Persist:
    puts: tuple[Put, ...]


@dataclass(frozen=True, slots=True)
class Emit:
    """Something for metrics, logs and screens. Never read back by a Party."""

    name: str
    fields: Mapping[str, Scalar]


@dataclass(frozen=True, slots=True)
class Locate:
    """From now on `node` is reached at `urls`, the best first; none: it cannot be reached, it asks by itself.

    `certificate`: SHA-256 of the TLS certificate that it shows there, or b"" if it shows none. It holds for the Sends
    after it, until the next Locate of that node. A simulated network finds everybody and does not need it.
    """

    node: NodeId
    urls: tuple[str, ...]
    certificate: bytes = b""


@dataclass(frozen=True, slots=True)
class Stop:
    """The Party is finished. The Host flushes, closes and ends with `code`."""

    code: int
    reason: str


Effect = Compute | Send | Take | Reply | SetTimer | Persist | Emit | Locate | Stop


class Party(Protocol):
    def handle(self, event: Event, now: float) -> list[Effect]:
        """Advance by one event. Never blocks; never raises on remote input."""
        ...


class Job(Protocol):
    """One kind of learning, run by a Peer. Hands effects to the Peer; never signs a feed entry by itself."""

    def handle(self, event: Event, now: float) -> list[Effect]: ...


class Store(Protocol):
    """Durable memory of one Party. One writer."""

    def load(self) -> Restored:
        """All that was committed."""
        ...

    def commit(self, puts: Sequence[Put]) -> None:
        """All or nothing; durable on return. Raises HostError when the disk refuses."""
        ...

    def close(self) -> None: ...
