"""Whether a node takes part at this moment, from what it emits. Knows event names and seconds; knows no HTTP.

    starting      no round is over yet
    coming back   the ledger's recovery has not let it write yet
    alone         its last round reached no neighbour, though it has some
    stalled       no round is over for `patience_s`, or ten of its usual rounds if these are longer
    draining      the operator has it leave (`p2pfl drain`)
    stopping      somebody asked it to end

In none of these: ready. A node whose rounds are all done is ready as long as it answers others.
"""

from collections import deque
from collections.abc import Callable
from statistics import median

from p2pfl.core.party import Emit

PATIENCE_S = 60.0
ROUNDS_KEPT = 31
SLACK = 10
"""So many usual rounds may pass before a round counts as stalled."""


class Readiness:
    """`clock`: seconds, never backwards. `take` each Emit; ask `why_not`."""

    def __init__(self, clock: Callable[[], float], has_neighbours: bool, patience_s: float = PATIENCE_S) -> None:
        self._clock = clock
        self._has_neighbours = has_neighbours
        self._patience_s = patience_s
        self._spans: deque[float] = deque(maxlen=ROUNDS_KEPT)
        self._last_round: float | None = None
        self._peers = 0
        self._finished = False
        self._recovering = False
        self._draining = False
        self._stopping = False

    def take(self, emit: Emit) -> float | None:
        """Seconds since the round before, if this ends a round."""
        match emit.name:
            case "round":
                now, before = self._clock(), self._last_round
                self._last_round, self._peers, self._recovering = now, int(emit.fields.get("peers") or 0), False
                if before is None:
                    return None
                self._spans.append(now - before)
                return now - before
            case "ledger.recovering":
                self._recovering = True
            case "ledger.resumed":
                self._recovering = False
            case "ordered" if emit.fields.get("what") == "drain":
                self._draining = True
            case "finished":
                self._finished = True
        return None

    def stop(self) -> None:
        self._stopping = True

    def why_not(self) -> str | None:
        """None if the node takes part, else what it does instead, in words."""
        if self._stopping:
            return "stopping"
        if self._draining:
            return "draining: leaves the network on the operator's word"
        if self._recovering:
            return "coming back: asks where its feed ended before it writes"
        if self._finished:
            return None
        if self._last_round is None:
            return "starting: no round is over yet"
        silent = self._clock() - self._last_round
        if silent > max(self._patience_s, SLACK * median(self._spans) if self._spans else 0.0):
            return f"stalled: no round is over for {silent:.0f} s"
        if self._has_neighbours and not self._peers:
            return "alone: the last round reached no neighbour"
        return None
