"""What somebody at this machine wants the node to do now: about the members, or its work. Knows words and bounds; knows
no file.

Unlike a Request (request.py) nothing of it is written into the feed: it is done at once, and only here, but for what an
authority has signed, which goes on to everybody. It comes to the Peer as a timer that rings now.
"""

from dataclasses import dataclass
from typing import Any, Literal, get_args

from p2pfl.core.ids import NodeId
from p2pfl.errors import Reject
from p2pfl.membership.bounds import STATEMENT_BYTES_MAX

What = Literal["kick", "ban", "unban", "drain", "say", "pause", "resume"]
WHATS: tuple[str, ...] = get_args(What)
ABOUT_WORK = ("pause", "resume")
"""The others are about members."""
KICK_S_MAX = 86_400
PAUSE_S_MAX = 366 * 86_400
NOBODY = NodeId(b"")


@dataclass(frozen=True, slots=True)
class Order:
    """kick: refuse `node` for `number` seconds. ban, unban: refuse it for good, or no longer. drain: take no part any
    more, then leave. say: bring an authority's statement, `text`, into the network. pause: do not train for
    `number` seconds, 0: until `resume`. `name` tells orders apart."""

    name: str
    what: What
    node: NodeId = NOBODY
    number: int = 0
    text: bytes = b""


def parse_order(name: str, what: Any, arguments: Any) -> Order:
    """Raises Reject."""
    match what, arguments:
        case "kick", [bytes(node), int(seconds)] if len(node) == 32 and 0 < seconds <= KICK_S_MAX:
            return Order(name, "kick", NodeId(node), seconds)
        case "ban", [bytes(node)] if len(node) == 32:
            return Order(name, "ban", NodeId(node))
        case "unban", [bytes(node)] if len(node) == 32:
            return Order(name, "unban", NodeId(node))
        case "drain", []:
            return Order(name, "drain")
        case "say", [bytes(text)] if len(text) <= STATEMENT_BYTES_MAX:
            return Order(name, "say", text=text)
        case "pause", [int(seconds)] if 0 <= seconds <= PAUSE_S_MAX:
            return Order(name, "pause", number=seconds)
        case "resume", []:
            return Order(name, "resume")
    raise Reject("order", f"expected one of {', '.join(WHATS)} with what it needs, got {str(what)[:32]}")
