"""What somebody at this machine asks the node to write into its own feed. Knows kinds; knows no file and no terminal.

Only the node itself signs and appends: one writer, one position after the other. A request comes to its Peer as a timer
that rings now, and is written once, whatever number of times it is brought; `Emit("requested")` follows when the entry
is durable.
"""

from dataclasses import dataclass, field

from p2pfl.errors import Reject
from p2pfl.ledger.feeds.kinds import Payload
from p2pfl.ledger.feeds.shapes import check_payload

KINDS = (
    *("join", "endorse", "leave", "key.rotate", "rule.propose", "rule.vote"),
    *("task.publish", "bid.commit", "bid.reveal", "stake.lock", "stake.release"),
)
"""What can be asked for: all else a node writes by itself."""

REQUESTS_MAX = 256
"""Requests that one run of a node takes."""


@dataclass(frozen=True, slots=True)
class Request:
    """`name` tells it from others, however often it is brought. Raises Reject for what must not be written."""

    name: str
    kind: str
    payload: Payload = field(repr=False)

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise Reject("kind", f"expected one of {', '.join(KINDS)}, got {self.kind[:32]}")
        check_payload(self.kind, self.payload)
