"""When a node whose job is done may leave the ledger: not before what it wrote is final, and its neighbours know.

A validator that leaves early can stall the others, so all stay until the last entry of everybody's job (its "model")
is final here and at the neighbours. None of that may happen (somebody crashed, or too few validators are left), so
nobody stays for longer than `QUIET_S` after the last news.
"""

from collections.abc import Iterable

from p2pfl.core.ids import NodeId

QUIET_S = 15.0
LOOK_S = 0.5
DEAD_FAILURES = 2
"""A neighbour that did not answer so often in a row has left."""


class Parting:
    """`begun_at` is None while the job runs."""

    def __init__(self, members: Iterable[NodeId]) -> None:
        self.awaited = set(members)
        """Members whose model is not final here."""
        self.heights: dict[NodeId, int] = {}
        """What neighbours said of themselves."""
        self.begun_at: float | None = None
        self._news_at = 0.0

    def begin(self, now: float) -> None:
        self.begun_at = self._news_at = now

    def news(self, now: float) -> None:
        self._news_at = now

    def heard(self, sender: NodeId, height: int) -> None:
        self.heights[sender] = max(height, self.heights.get(sender, 0))

    def in_vain(self, now: float) -> bool:
        """Nothing has come up for so long that nothing will."""
        return now >= self._news_at + QUIET_S

    def all_final(self) -> bool:
        return not self.awaited

    def level(self, neighbours: Iterable[NodeId], height: int) -> bool:
        """Whether all these have said that they are as far as this height."""
        return all(self.heights.get(peer, -1) >= height for peer in neighbours)
