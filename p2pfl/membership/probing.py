"""Who is probed, and what becomes of it. Knows turns and answers; its owner says, waits and accuses.

Everybody is probed in turn, in an order that is drawn anew each time round: so a member that has died is probed by
each other within one turn, and by somebody within a period or two (SWIM, section 4.3). A member that cannot be
connected to is not probed by everybody: it probes a few that are drawn from its key, its anchors, and those know.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from hashlib import blake2b

import numpy as np

from p2pfl.core.ids import NodeId

ANCHORS = 3


@dataclass(slots=True)
class Probe:
    """One period's. `helpers` are those that were asked and have not said anything yet."""

    target: NodeId
    indirect: bool = False
    helpers: set[NodeId] = field(default_factory=set)
    good: bool = False


@dataclass(eq=False)
class Turns:
    """In which order members are probed."""

    rng: np.random.Generator
    _order: list[NodeId] = field(default_factory=list)

    def next(self, here: Sequence[NodeId]) -> NodeId | None:
        """Each once before anybody comes again; who has come since is in the next round."""
        alive = set(here)
        for _ in range(2):
            while self._order:
                node = self._order.pop()
                if node in alive:
                    return node
            self._order = [here[i] for i in self.rng.permutation(len(here))]
        return None

    def some(self, nodes: Sequence[NodeId], count: int) -> list[NodeId]:
        """So many of them by lot, or all."""
        return [nodes[i] for i in self.rng.permutation(len(nodes))[:count]]


def anchors(node: NodeId, listening: Sequence[NodeId]) -> list[NodeId]:
    """Who watches a member that cannot be connected to: the same for all who see the same members."""
    others = (other for other in listening if other != node)
    return sorted(others, key=lambda other: blake2b(node + other, digest_size=16).digest())[:ANCHORS]
