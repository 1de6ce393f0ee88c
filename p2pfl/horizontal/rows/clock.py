"""How long a round waits for each neighbour's row. Knows when rows usually come; no message, no rule.

A neighbour is waited for until its row is late by its own habit (`deadlines`: median + k MAD of how long after one's
own opening its rows came), at least `FLOOR_S` and never beyond the hard deadline. A habit of being slow buys no more
patience than that: nobody is waited for longer than one's own phase took, or than `LAG` times what neighbours usually
need, and half as long after each round that it missed. So one slow machine among many sets nobody's pace, and one that
vanished costs a few rounds a moment each: after `MISSED_MAX` rounds in a row it is not waited for until it is heard
again.
"""

from math import inf
from statistics import median_low

from p2pfl.core.ids import NodeId
from p2pfl.horizontal.pace.deadlines import Durations

FLOOR_S = 0.01
LAG = 2.0
MISSED_MAX = 3
OPENED_KEPT = 4
"""Rounds of which it is remembered when they began, for rows that come late."""


class RowClock:
    """`phase_s`: how long one's own last local phase took."""

    def __init__(self, timeout_s: float) -> None:
        self.timeout_s = timeout_s
        self.phase_s = 0.0
        self._came: dict[NodeId, Durations] = {}
        self._opened: dict[int, float] = {}
        self._missed: dict[NodeId, int] = {}

    def opened(self, round_: int, now: float) -> None:
        self._opened[round_] = now
        while len(self._opened) > OPENED_KEPT:
            del self._opened[min(self._opened)]

    def arrived(self, peer: NodeId, round_: int, now: float) -> None:
        """Its row of that round is here: early, in time or late."""
        self._missed.pop(peer, None)
        since = self._opened.get(round_)
        if since is None:
            too_old = bool(self._opened) and round_ < min(self._opened)
            since = min(self._opened.values()) if too_old else inf
        self._came.setdefault(peer, Durations()).add(min(max(now - since, 0.0), self.timeout_s))

    def missed(self, peer: NodeId) -> None:
        """A round has ended without its row."""
        self._missed[peer] = self._missed.get(peer, 0) + 1

    def awaits(self, peer: NodeId) -> bool:
        return self._missed.get(peer, 0) < MISSED_MAX

    def limit_s(self, peer: NodeId) -> float:
        """From the round's opening to the moment that it goes on without this neighbour."""
        known = [came.median for came in self._came.values() if came]
        if not known:
            return self.timeout_s
        most = max(FLOOR_S, self.phase_s, LAG * median_low(known)) / float(
            1 << min(self._missed.get(peer, 0), MISSED_MAX)
        )
        came = self._came.get(peer)
        return min(max(came.limit, FLOOR_S) if came else most, most, self.timeout_s)

    def until(self, round_: int, missing: list[NodeId]) -> float:
        """When the round that is open goes on without those that are missing now."""
        return self._opened[round_] + max((self.limit_s(peer) for peer in missing), default=0.0)

    def forget(self, peer: NodeId) -> None:
        self._came.pop(peer, None)
        self._missed.pop(peer, None)
