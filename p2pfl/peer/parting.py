"""When a node whose job is done may leave the ledger: not before what it wrote is final, and its neighbours know.

A validator that leaves early can stall the others, so all stay until the last entry of everybody's job (its "model")
is final here and at the neighbours. None of that may happen (somebody crashed, or too few validators are left), so
nobody stays for longer than `QUIET_S` after the time in which news could have come: finality's own patience with the
view that it is in. News are entries, votes that let a view pass, heights; and as views may pass for ever without a
height, nobody stays for longer than `STAY_S_MAX` after the last one.
"""

from collections.abc import Iterable

from p2pfl.core.ids import NodeId

QUIET_S = 15.0
STAY_S_MAX = 900.0
LOOK_S = 0.5
DEAD_FAILURES, LEVEL_FAILURES = 4, 2
"""A neighbour that did not answer so often in a row has left: one that may lack something, one that was as far."""


class Parting:
    """`begun_at` is None while the job runs."""

    def __init__(self, members: Iterable[NodeId]) -> None:
        self.awaited = set(members)
        """Members whose model is not final here."""
        self.heights: dict[NodeId, int] = {}
        """What neighbours said of themselves."""
        self.begun_at: float | None = None
        self._news_at = self._final_at = 0.0
        self._place = (0, 0)

    def begin(self, now: float) -> None:
        self.begun_at = self._news_at = self._final_at = now

    def news(self, now: float) -> None:
        self._news_at = now

    def final(self, now: float) -> None:
        """A height more."""
        self._news_at = self._final_at = now

    def at(self, epoch: int, view: int, now: float) -> None:
        """Finality is here now: if that is another place than before, somebody is at work."""
        if (epoch, view) != self._place:
            self._place = (epoch, view)
            self.news(now)

    def heard(self, sender: NodeId, height: int) -> None:
        self.heights[sender] = max(height, self.heights.get(sender, 0))

    def in_vain(self, now: float, patience_s: float) -> bool:
        """Nothing has come up for so long that nothing will. `patience_s`: a view may take so long in silence."""
        return now >= min(self._news_at + patience_s + QUIET_S, self._final_at + STAY_S_MAX)

    def all_final(self) -> bool:
        return not self.awaited

    def left(self, peer: NodeId, failures: int, height: int) -> bool:
        """Whether this neighbour, which failed to answer so often in a row, is taken to have left."""
        return failures >= (LEVEL_FAILURES if self.heights.get(peer, -1) >= height else DEAD_FAILURES)

    def level(self, neighbours: Iterable[NodeId], height: int) -> bool:
        """Whether all these have said that they are as far as this height."""
        return all(self.heights.get(peer, -1) >= height for peer in neighbours)
