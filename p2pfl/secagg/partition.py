"""Who sums with whom in a round: disjoint random cells. Knows identities, a graph and a seed; no protocol.

Disjoint, because sums that overlap can be differenced: two receivers whose neighbourhoods differ by one node would read
that node. In the scope "neighbourhood" every cell lies in the closed neighbourhood of one node, so that its members are
at most two edges apart; in the scope "members" the whole membership is cut. All compute the same from the same seed.

Nodes are taken in random order; one that has no cell yet gathers those of its closed neighbourhood that have none.
Fewer than CELL_MIN stay alone this round, and keep their model.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import pairwise
from typing import Literal

from p2pfl.core.ids import NodeId
from p2pfl.core.noise import Key, derive
from p2pfl.secagg.cell import CELL_MIN

Scope = Literal["neighbourhood", "members"]
SCOPES: tuple[Scope, ...] = ("neighbourhood", "members")


@dataclass(frozen=True, eq=False)
class Ground:
    """What cells are drawn from. around: the neighbours of every node. size: the most members of a cell."""

    around: Mapping[NodeId, Sequence[NodeId]]
    size: int
    scope: Scope = "neighbourhood"

    @cached_property
    def fixed(self) -> bool:
        """Whether all are in one cell, whatever is drawn."""
        nodes = len(self.around)
        everywhere = self.scope == "members" or all(len(others) == nodes - 1 for others in self.around.values())
        return nodes <= self.size and everywhere

    def among(self, members: Iterable[NodeId]) -> "Ground":
        """The same ground without everybody else."""
        stay = frozenset(members)
        around = {n: tuple(o for o in others if o in stay) for n, others in self.around.items() if n in stay}
        return self if len(stay) == len(self.around) else Ground(around, self.size, self.scope)

    def contacts(self, node: NodeId) -> frozenset[NodeId]:
        """Whom this node may meet in a cell."""
        if self.scope == "members":
            return frozenset(self.around) - {node}
        near = frozenset(self.around[node])
        return near.union(*(self.around[other] for other in near)) - {node}


@lru_cache(maxsize=8)
def cells_of(ground: Ground, seed: Key, round_: int) -> Mapping[NodeId, tuple[NodeId, ...]]:
    """The members of each node's cell, ascending; who is alone is not in it."""
    lots = {node: derive(seed, "cell", round_, node) for node in ground.around}
    order = sorted(lots, key=lots.__getitem__)
    if ground.scope == "members":
        return {node: cell for cell in cut(order, ground.size) for node in cell}
    found: dict[NodeId, tuple[NodeId, ...]] = {}
    for centre in order:
        if centre in found:
            continue
        free = sorted((n for n in ground.around[centre] if n not in found), key=lots.__getitem__)
        for cell in cut([centre, *free], ground.size)[:1]:
            found |= dict.fromkeys(cell, cell)
    return found


def cut(order: Sequence[NodeId], size: int) -> list[tuple[NodeId, ...]]:
    """As few cells as hold all with at most `size` each, as even as can be; larger where too few would be left."""
    count = min(-(-len(order) // size), len(order) // CELL_MIN)
    if count == 0:
        return []
    bounds = [len(order) * k // count for k in range(count + 1)]
    return [tuple(sorted(order[low:high])) for low, high in pairwise(bounds)]
