"""What a Peer and its Jobs hand each other: opened messages in, unsigned messages out. Knows no job.

A Peer alone opens, checks, signs and counts; a Job alone knows what a message means. So a Job is tested with plain
values, and there is one signer and one writer of the feed whatever runs.
"""

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any

from p2pfl.core.ids import NodeId
from p2pfl.core.party import (
    Asked,
    Buffer,
    Compute,
    Computed,
    Emit,
    Failed,
    Parts,
    Persist,
    ReplyToken,
    SendFailed,
    SetTimer,
    Started,
    Stop,
    Stopping,
    Take,
    TimerFired,
    Verdict,
)
from p2pfl.wire.envelope import Head
from p2pfl.wire.messages import Message

# ------------------------------------------------------------------------------------------------ Peer to Job


@dataclass(frozen=True, slots=True)
class Knock:
    """A known neighbour's authentic message, its body unread. Answer with Take, Answer or Refuse."""

    token: ReplyToken
    head: Head
    message: Message


@dataclass(frozen=True, slots=True)
class Whole:
    """The body of a taken message, chunk digests checked. Answer with Answer or Refuse."""

    token: ReplyToken
    head: Head
    message: Message
    body: Buffer


@dataclass(frozen=True, slots=True)
class Gone:
    """A taken message will not come; no answer is owed."""

    token: ReplyToken


@dataclass(frozen=True, slots=True)
class Heard:
    """The reply to a Post. `head` and `message` are there if the verdict is ACCEPT; then `body` may be long.

    `code` is the refusal's machine-readable reason otherwise; `after_s` is how long a busy neighbour asks to be left
    alone, 0 if it does not say.
    """

    key: Hashable
    verdict: Verdict
    head: Head | None = None
    message: Message | None = None
    body: Buffer = b""
    code: str = ""
    after_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Members:
    """Who is in the network now, as this node sees it: `alive` with this node among them, ascending.

    view: counts this node's views from 1; `departed` are those of the view before that are not in this one, ascending.
    Nodes with equal `alive` have equal views: what they compute from it needs no agreement. Comes whenever the view has
    changed, but not more often than the membership's settings say.
    """

    view: int
    alive: tuple[NodeId, ...]
    departed: tuple[NodeId, ...]


@dataclass(frozen=True, slots=True)
class Final:
    """A height of the ledger is final, for jobs that follow it: the state after it, and its entries in order.

    What they are is the ledger's to say (ledger/outcome/state.py, ledger/feeds/entry.py).
    """

    height: int
    state: Any
    entries: tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Pause:
    """The operator of this machine wants it to train no more until then, by `now`; inf: until told otherwise, and any
    moment that is past: at once."""

    until: float


JobEvent = (
    Final
    | Pause
    | Started
    | Members
    | Knock
    | Whole
    | Gone
    | Heard
    | SendFailed
    | TimerFired
    | Computed
    | Failed
    | Asked
    | Stopping
)

# ------------------------------------------------------------------------------------------------ Job to Peer


@dataclass(frozen=True, slots=True)
class Post:
    """Send `message` with `body` (chunk digests computed before) once; leads to one Heard or SendFailed."""

    key: Hashable
    to: NodeId
    message: Message
    body: Parts = ()
    chunks: bytes = b""
    reply_limit: int = 0
    deadline: float = 0.0


@dataclass(frozen=True, slots=True)
class Answer:
    """Accept a request and answer it with `message`."""

    token: ReplyToken
    message: Message
    body: Parts = ()
    chunks: bytes = b""


@dataclass(frozen=True, slots=True)
class Refuse:
    """Ignore, reject or postpone a request, with a machine-readable reason; `after_s`: try again so much later."""

    token: ReplyToken
    verdict: Verdict
    code: str
    detail: str = ""
    after_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Append:
    """Write one entry of this node's feed; durable like a Persist at this place in the list."""

    kind: str
    round: int
    payload: list[Any]


@dataclass(frozen=True, slots=True)
class Meet:
    """From now on these are the node's neighbours: whom it may Post to, and whose messages come as Knocks."""

    neighbours: tuple[NodeId, ...]


JobEffect = Compute | Post | Take | Answer | Refuse | SetTimer | Persist | Append | Meet | Emit | Stop
