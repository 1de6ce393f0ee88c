"""How long to wait for each neighbour, and when to try again. Knows round trips and failures; no message, no model.

An attempt may take as long as `deadlines` calls usual with that neighbour (median + k MAD), doubled with every failure
in a row, at least `DEADLINE_S_MIN` and never longer than the configured time-out, the hard deadline. Before the first
answer the round trip is guessed from the size of a body over a slow link. The pause after a failure is a round trip,
too, or `PAUSE_S` if that is shorter, doubled likewise: where a phase of training takes milliseconds, waiting a second
would cost hundreds of them.

Each neighbour has a circuit breaker:

| state     | what happens                                   | next                                                  |
|-----------|------------------------------------------------|-------------------------------------------------------|
| closed    | it is asked when it is its turn                | open after `ATTEMPTS` failures in a row, or when the  |
|           |                                                | hard deadline has passed since the first attempt      |
| open      | it is left alone for a growing pause           | half-open when the pause is over                      |
| half-open | a word without a body asks whether it is there | closed if it answers, else open for twice as long     |

A breaker that closes gives all attempts again, from the usual deadline on; but the pause after the next opening is
twice as long, until an exchange has landed. Whatever the neighbour says by itself closes the breaker too. One that says
BUSY is there: it is left alone for as long as it asked for, and nothing counts against it.
"""

from p2pfl.core.ids import NodeId
from p2pfl.core.limits import RETRY_AFTER_S_MAX, SEND_ATTEMPTS_LOG2_MAX
from p2pfl.horizontal.pace.deadlines import Durations, late_after

ATTEMPTS = 3
"""Failures in a row after which a node turns to other neighbours."""
PAUSE_S = 0.05
DEADLINE_S_MIN = 0.05
FIRST_GUESS_S = 0.1
SLOW_BYTES_PER_S = 1e6
PROBE_S = 2.0
"""What the word that asks whether somebody is there may take."""


class Patience:
    """With all neighbours of one node. body_bytes: of the largest body that is sent to them."""

    def __init__(self, timeout_s: float, body_bytes: int):
        self.timeout_s = timeout_s
        self._guess_s = FIRST_GUESS_S + body_bytes / SLOW_BYTES_PER_S
        self._took: dict[NodeId, Durations] = {}
        self._raised_s: dict[NodeId, float] = {}  # what a busy neighbour has shown to need
        self._asked_at: dict[NodeId, float] = {}
        self._since: dict[NodeId, float] = {}  # when the first attempt of this row of failures began
        self._failures: dict[NodeId, int] = {}
        self._quiet_until: dict[NodeId, float] = {}
        self._open: set[NodeId] = set()
        self._openings: dict[NodeId, int] = {}  # since the last exchange

    def failures(self, peer: NodeId) -> int:
        """In a row, up to now."""
        return self._failures.get(peer, 0)

    def reachable(self, peer: NodeId) -> bool:
        """Its last attempts were not all in vain."""
        return self.failures(peer) < ATTEMPTS and not self.is_open(peer)

    def usual_s(self, peer: NodeId) -> float:
        took = self._took.get(peer)
        return max(took.median if took else self._guess_s, self._raised_s.get(peer, 0.0))

    def limit_s(self, peer: NodeId) -> float:
        """From a first attempt to the moment that its answer is late."""
        took = self._took.get(peer)
        raised = late_after(self._raised_s.get(peer, 0.0), 0.0)
        return max(took.limit if took else late_after(self._guess_s, 0.0), raised)

    def ask(self, peer: NodeId, now: float) -> float:
        """An attempt begins; returns when it ends at the latest."""
        self._asked_at[peer] = now
        self._since.setdefault(peer, now)
        patience_s = max(self.limit_s(peer), DEADLINE_S_MIN) * self._doubled(peer)
        return now + min(patience_s, self.timeout_s)

    def answered(self, peer: NodeId, now: float) -> None:
        """The present attempt has its answer."""
        took_s = now - self._asked_at.get(peer, now)
        self._took.setdefault(peer, Durations()).add(took_s)
        raised = self._raised_s.pop(peer, 0.0) / 2
        if raised > took_s:
            self._raised_s[peer] = raised

    def busy(self, peer: NodeId) -> None:
        """It is there, and still at work on an attempt that was given up: that was too early."""
        self._raised_s[peer] = min(2 * self.usual_s(peer), self.timeout_s)

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
        self._since.pop(peer, None)
        self._open.discard(peer)
        self._openings.pop(peer, None)

    def pause_s(self, peer: NodeId) -> float:
        """Before the next attempt."""
        return min(PAUSE_S, self.usual_s(peer)) * self._doubled(peer)

    def leave(self, peer: NodeId, until: float) -> None:
        """Nothing is asked of it before that time."""
        self._quiet_until[peer] = until

    def may_ask(self, peer: NodeId, now: float) -> bool:
        return peer not in self._open and self._quiet_until.get(peer, 0.0) <= now

    def forget(self, peer: NodeId) -> None:
        """It is no neighbour any more."""
        self.arrived(peer)
        for known in (self._took, self._raised_s, self._asked_at):
            known.pop(peer, None)

    def is_late(self, peer: NodeId, now: float) -> bool:
        """Whether the answer to what it was asked last has been due for long."""
        return now >= self._asked_at.get(peer, now) + self.limit_s(peer)

    # -------------------------------------------------------------------------------------------- the breaker

    def exhausted(self, peer: NodeId, now: float) -> bool:
        """Whether its attempts are used up: by number, or because the hard deadline has passed since the first."""
        since = self._since.get(peer, now)
        return self.failures(peer) >= ATTEMPTS or now - since >= self.timeout_s

    def is_open(self, peer: NodeId) -> bool:
        return peer in self._open

    def open(self, peer: NodeId) -> None:
        """It is left alone until a word of it, or to it, comes through."""
        self._open.add(peer)
        self._openings[peer] = self._openings.get(peer, 0) + 1
        self._since.pop(peer, None)

    def close(self, peer: NodeId) -> None:
        """It is there, and gets all its attempts again."""
        self._open.discard(peer)
        self._failures.pop(peer, None)
        self._quiet_until.pop(peer, None)

    def probe_pause_s(self, peer: NodeId) -> float:
        """Before the next word that asks whether it is there."""
        times = self.failures(peer) + max(self._openings.get(peer, 0) - 1, 0)
        return min(PAUSE_S, self.usual_s(peer)) * (1 << min(times, SEND_ATTEMPTS_LOG2_MAX))

    def probe(self, now: float) -> float:
        """When the word that asks whether somebody is there has failed."""
        return now + min(PROBE_S, self.timeout_s)

    def _doubled(self, peer: NodeId) -> float:
        return float(1 << min(self.failures(peer), SEND_ATTEMPTS_LOG2_MAX))


def asked_for(after_s: float) -> float:
    """How long a busy neighbour is left alone: as it says, within reason."""
    return min(max(after_s, 0.0), RETRY_AFTER_S_MAX)
