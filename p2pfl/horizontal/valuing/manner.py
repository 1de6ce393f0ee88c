"""How a node takes part in valuing, where it could do otherwise: the honest way. Knows updates and rows; no window.

A trial of a network's incentives gives some nodes another manner (p2pfl/strategies); nothing else asks for one.
"""

from collections.abc import Sequence

from torch import Tensor

from p2pfl.core.ids import NodeId


class Manner:
    """Honest."""

    def update(self, own: Tensor, moved: Tensor, shown: Sequence[Tensor]) -> Tensor:
        """The local update (P,) to commit to. moved: all that the model moved by, exchanges too; shown: updates of
        others that this node has been shown."""
        return own

    def shows_salt(self, window: int) -> bool:
        return True

    def shows_work(self, window: int, to: NodeId) -> bool:
        return True

    def scores(self, rows: tuple[tuple[bytes, int, int], ...]) -> tuple[tuple[bytes, int, int], ...]:
        """What to say of others, given what was found: rows [subject, millionths, finding]."""
        return rows

    def reveals_scores(self, window: int) -> bool:
        return True
