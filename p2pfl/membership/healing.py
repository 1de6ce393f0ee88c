"""When those who are gone are tried again: with growing pauses, seeds for ever, others for as long as they are kept.

After a partition nobody would contact the other half, each of whose members is dead here (memberlist issue 311): so the
dead are remembered and tried. Pure; its owner keeps the timer.
"""

from dataclasses import dataclass, field
from math import inf

from p2pfl.core.ids import NodeId
from p2pfl.membership.bounds import Pace


@dataclass(slots=True)
class Lost:
    since: float
    at: float
    pause_s: float


@dataclass(eq=False)
class Healing:
    """`lost` when somebody is gone, `found` when it is back; `next_tries` are due."""

    pace: Pace
    seeds: frozenset[NodeId]
    _of: dict[NodeId, Lost] = field(default_factory=dict)

    def lost(self, node: NodeId, now: float, at_once: bool = False) -> None:
        """`at_once`: it was never tried."""
        if node not in self._of:
            pause = self.pace.heal_s
            self._of[node] = Lost(now, now if at_once else now + pause, pause)

    def found(self, node: NodeId) -> None:
        self._of.pop(node, None)

    def due(self) -> float:
        return min((lost.at for lost in self._of.values()), default=inf)

    def next_tries(self, now: float) -> tuple[list[NodeId], list[NodeId]]:
        """Whom to try now; and whom to forget."""
        tries, old = [], []
        for node, lost in self._of.items():
            is_seed = node in self.seeds
            if not is_seed and now >= lost.since + self.pace.keep_s:
                old.append(node)
            elif now >= lost.at:
                tries.append(node)
                most = self.pace.seed_s_max if is_seed else self.pace.heal_s_max
                lost.pause_s = min(2 * lost.pause_s, max(most, self.pace.heal_s))
                lost.at = now + lost.pause_s
        for node in old:
            del self._of[node]
        return tries, old
