"""What came of a round at one node: who was mixed in, who was late, who was refused and why. Knows names and codes.

A row of exchanges without an answer is no failure of the node: it goes on, and this says so. Reports are told with each
round (`round` in the metrics) and the newest stands in `GET /v1/status`.
"""

from collections import Counter
from typing import Any

from p2pfl.core.ids import NodeId, short
from p2pfl.core.limits import NEIGHBOURS_MAX
from p2pfl.core.party import Scalar

CODE_CHARS_MAX = 32


class Report:
    """`take` begins the next one. Bounded: so many neighbours, each with one reason."""

    def __init__(self) -> None:
        self.begun = 0.0
        self.last: dict[str, Any] = {}
        self._mixed: Counter[NodeId] = Counter()
        self._late: set[NodeId] = set()
        self._refused: dict[NodeId, str] = {}
        self._skipped = 0

    def mixed(self, peer: NodeId) -> None:
        """What it said has moved my model."""
        if len(self._mixed) < NEIGHBOURS_MAX or peer in self._mixed:
            self._mixed[peer] += 1

    def late(self, peer: NodeId) -> None:
        """It was waited for, and the round went on without it."""
        if len(self._late) < NEIGHBOURS_MAX:
            self._late.add(peer)

    def refused(self, peer: NodeId, code: str) -> None:
        """One end would not have what the other said."""
        if len(self._refused) < NEIGHBOURS_MAX or peer in self._refused:
            self._refused[peer] = code[:CODE_CHARS_MAX]

    def skipped(self, rounds: int) -> None:
        """My neighbours were so much further, and I went on from there."""
        self._skipped += rounds

    def take(self, round_: int, now: float) -> dict[str, Scalar]:
        """The report of the time since the one before, as fields of one line."""
        mixed = {short(peer): count for peer, count in sorted(self._mixed.items())}
        late = [short(peer) for peer in sorted(self._late)]
        refused = {short(peer): code for peer, code in sorted(self._refused.items())}
        seconds = round(now - self.begun, 6) if self.last else 0.0
        self.last = {"round": round_, "mixed": mixed, "late": late, "refused": refused, "seconds": seconds}
        fields: dict[str, Scalar] = {"mixed": " ".join(mixed)}
        if late:
            fields["late"] = " ".join(late)
        if refused:
            fields["refusals"] = " ".join(f"{peer}={code}" for peer, code in refused.items())
        if self._skipped:
            self.last["skipped"] = fields["skipped"] = self._skipped
        self.begun, self._skipped = now, 0
        self._mixed.clear()
        self._late.clear()
        self._refused.clear()
        return fields
