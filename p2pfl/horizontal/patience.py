"""How long to wait for each neighbour, and when to try again. Knows round trips and failures; no message, no model.

An attempt may take four usual round trips (smoothed as TCP's are; Jacobson 1988, without the variance), doubled with
every failure in a row, and never longer than the configured time-out. Before the first answer the round trip is guessed
from the size of a body over a slow link. The pause after a failure is a round trip, too, or `PAUSE_S` if that is
shorter, doubled likewise: where a phase of training takes milliseconds, waiting a second would cost hundreds of them.
"""

from p2pfl.core.ids import NodeId
from p2pfl.core.limits import SEND_ATTEMPTS_LOG2_MAX

ATTEMPTS = 3
"""Failures in a row after which a node turns to other neighbours."""
PAUSE_S = 0.05
DEADLINE_S_MIN = 0.05
FIRST_GUESS_S = 0.1
SLOW_BYTES_PER_S = 1e6


class Patience:
    """With all neighbours of one node. body_bytes: of the largest body that is sent to them."""

    def __init__(self, timeout_s: float, body_bytes: int):
        self.timeout_s = timeout_s
        self._guess_s = FIRST_GUESS_S + body_bytes / SLOW_BYTES_PER_S
        self._usual_s: dict[NodeId, float] = {}
        self._asked_at: dict[NodeId, float] = {}
        self._failures: dict[NodeId, int] = {}
        self._quiet_until: dict[NodeId, float] = {}

    def failures(self, peer: NodeId) -> int:
        """In a row, up to now."""
        return self._failures.get(peer, 0)

    def reachable(self, peer: NodeId) -> bool:
        """Its last attempts were not all in vain."""
        return self.failures(peer) < ATTEMPTS

    def usual_s(self, peer: NodeId) -> float:
        return self._usual_s.get(peer, self._guess_s)

    def ask(self, peer: NodeId, now: float) -> float:
        """An attempt begins; returns when it ends at the latest."""
        self._asked_at[peer] = now
        patience_s = max(4 * self.usual_s(peer), DEADLINE_S_MIN) * self._doubled(peer)
        return now + min(patience_s, self.timeout_s)

    def answered(self, peer: NodeId, now: float) -> None:
        """The present attempt has its answer."""
        took_s = now - self._asked_at.get(peer, now)
        self._usual_s[peer] = 0.8 * self._usual_s.get(peer, took_s) + 0.2 * took_s

    def busy(self, peer: NodeId) -> None:
        """It is there, and still at work on an attempt that was given up: that was too early."""
        self._usual_s[peer] = min(2 * self.usual_s(peer), self.timeout_s)

    def failed(self, peer: NodeId) -> int:
        """Returns how many failures in a row that makes."""
        self._failures[peer] = self.failures(peer) + 1
        return self._failures[peer]

    def refused(self, peer: NodeId) -> None:
        """It will not take this; the next failure is the last for now."""
        self._failures[peer] = max(self.failures(peer), ATTEMPTS)

    def arrived(self, peer: NodeId) -> None:
        """An exchange has landed: nothing is held against this neighbour any more."""
        self._failures.pop(peer, None)
        self._quiet_until.pop(peer, None)

    def pause_s(self, peer: NodeId) -> float:
        """Before the next attempt."""
        return min(PAUSE_S, self.usual_s(peer)) * self._doubled(peer)

    def leave(self, peer: NodeId, until: float) -> None:
        """Nothing is asked of it before that time."""
        self._quiet_until[peer] = until

    def may_ask(self, peer: NodeId, now: float) -> bool:
        return self._quiet_until.get(peer, 0.0) <= now

    def _doubled(self, peer: NodeId) -> float:
        return float(1 << min(self.failures(peer), SEND_ATTEMPTS_LOG2_MAX))
