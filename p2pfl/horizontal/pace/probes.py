"""Looking after neighbours that were given up: a word without a body asks now and then whether they are there. Knows
breakers (`patience`) and timers; no exchange. It goes beside everything else, so nobody waits for its answer.
"""

from collections.abc import Callable

from p2pfl.core.ids import NodeId, short
from p2pfl.core.limits import CONTROL_BYTES_MAX
from p2pfl.horizontal.pace.desk import Desk
from p2pfl.horizontal.pace.patience import Patience
from p2pfl.wire.messages import Edge
from p2pfl.wire.post import Post


class Probes:
    """`back(peer)` is called when a neighbour that was given up shows that it is there."""

    def __init__(self, recipe: bytes, desk: Desk, patience: Patience, back: Callable[[NodeId], None]) -> None:
        self.recipe, self.desk, self.patience, self.back = recipe, desk, patience, back

    def give_up(self, peer: NodeId, reason: str) -> None:
        """Its attempts are used up: open the breaker."""
        count = self.patience.failures(peer)
        self.desk.emit("unreachable", peer=short(peer), reason=reason, attempts=count)
        self.patience.open(peer)
        self._later(peer)

    def probe(self, peer: NodeId) -> None:
        """The pause is over."""
        if self.patience.is_open(peer):
            message = Edge(self.recipe, peer, "hello", 0, 0)
            deadline = self.patience.probe(self.desk.now)
            self.desk.do(Post(("probe", peer), peer, message, reply_limit=CONTROL_BYTES_MAX, deadline=deadline))

    def probed(self, peer: NodeId, there: bool) -> None:
        """What came of that."""
        if there:
            self.seen(peer)
        elif self.patience.is_open(peer):
            self.patience.failed(peer)
            self._later(peer)

    def seen(self, peer: NodeId) -> None:
        """It said something."""
        if self.patience.is_open(peer):
            self.patience.close(peer)
            self.back(peer)

    def _later(self, peer: NodeId) -> None:
        jitter = self.desk.jitter(peer, "probe", self.patience.failures(peer))
        self.desk.timer(("probe", peer), self.patience.probe_pause_s(peer) * jitter)
