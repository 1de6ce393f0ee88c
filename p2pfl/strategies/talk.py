"""Cheats in valuing itself: other people's updates, false scores, and silence where an answer is owed."""

from collections.abc import Sequence
from typing import ClassVar

from torch import Tensor

from p2pfl.core.ids import NodeId
from p2pfl.horizontal.valuing.manner import Manner
from p2pfl.ledger.feeds.kinds import FAIR
from p2pfl.strategies.lazy import Noise, Zero
from p2pfl.strategies.strategy import Strategy

Rows = tuple[tuple[bytes, int, int], ...]
LIE = 50_000
"""What a liar adds to or takes from a score, in millionths: several times what an honest update is worth."""


class Echoing(Manner):
    def update(self, own: Tensor, moved: Tensor, shown: Sequence[Tensor]) -> Tensor:
        return moved


class Copycat(Noise):
    """Trains nothing, and commits to what its neighbours' messages moved it by: the newest of others' work there is.

    It says a little noise: neighbours let nobody move them, or be moved, by much more than it moves itself.
    """

    name: ClassVar[str] = "copycat"
    length: ClassVar[float] = 0.01

    def __init__(self, friends: frozenset[bytes] = frozenset()) -> None:
        super().__init__(friends)
        self.manner = Echoing()


class Copying(Manner):
    def update(self, own: Tensor, moved: Tensor, shown: Sequence[Tensor]) -> Tensor:
        return shown[-1] if shown else own


class StaleCopycat(Zero):
    """Trains nothing, and commits to an update that it was shown as an evaluator, of an earlier window."""

    name: ClassVar[str] = "stalecopycat"

    def __init__(self, friends: frozenset[bytes] = frozenset()) -> None:
        super().__init__(friends)
        self.manner = Copying()


class Lying(Manner):
    def __init__(self, friends: frozenset[bytes]) -> None:
        self.friends = friends

    def scores(self, rows: Rows) -> Rows:
        return tuple((node, (LIE if node in self.friends else -LIE) + micro, FAIR) for node, micro, _ in rows)


class ScoreLiar(Strategy):
    """Works, and scores its friends up and everybody else down."""

    name: ClassVar[str] = "scoreliar"

    def __init__(self, friends: frozenset[bytes] = frozenset()) -> None:
        super().__init__(friends)
        self.manner = Lying(friends)


class Colluder(Zero):
    """One of a pair that trains nothing and scores each other up."""

    name: ClassVar[str] = "colluder"

    def __init__(self, friends: frozenset[bytes] = frozenset()) -> None:
        super().__init__(friends)
        self.manner = Lying(friends)


class Hiding(Manner):
    def shows_work(self, window: int, to: NodeId) -> bool:
        return False


class NoReveal(Strategy):
    """Works and commits, and shows its work to nobody."""

    name: ClassVar[str] = "noreveal"

    def __init__(self, friends: frozenset[bytes] = frozenset()) -> None:
        super().__init__(friends)
        self.manner = Hiding()


class Withholding(Manner):
    """In every second window: as if it had seen that the draw, or what others said, does not suit it."""

    def shows_salt(self, window: int) -> bool:
        return window % 2 == 0

    def reveals_scores(self, window: int) -> bool:
        return window % 4 != 0


class Withholder(Strategy):
    """Works, and withholds salts and scores when that might help it."""

    name: ClassVar[str] = "withholder"

    def __init__(self, friends: frozenset[bytes] = frozenset()) -> None:
        super().__init__(friends)
        self.manner = Withholding()
