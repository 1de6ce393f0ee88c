"""The voting rule, broken in one place each. A test of finality that does not catch these tests nothing."""

from collections.abc import Callable
from math import inf

from p2pfl.ledger.blocks.rule import NOTHING, Cast, Kind, VotingRule
from p2pfl.ledger.finality.simplex import Finality


class FinalizeAfterNullify(VotingRule):
    def may_finalize(self, cast: Cast) -> bool:
        return cast.finalized is None


class NullifyAfterFinalize(VotingRule):
    """Shows only in a machine that tries: ours has left a view when it finalizes in it (`EagerFinality` has not)."""

    def may_nullify(self, cast: Cast) -> bool:
        return not cast.nullified


class SkipWithoutProof(VotingRule):
    def may_extend(self, parent_view: int, view: int, nullified: Callable[[int], bool]) -> bool:
        return True


class SmallQuorum(VotingRule):
    def quorum(self, n: int) -> int:
        return n // 2


class VoteTwice(VotingRule):
    """What a validator does that has lost its journal: it does not know what it signed."""

    def may_notarize(self, cast: Cast) -> bool:
        return True

    def may_nullify(self, cast: Cast) -> bool:
        return True

    def may_finalize(self, cast: Cast) -> bool:
        return True


class EagerFinality(Finality):
    """Tries to nullify the views behind it too. Safe with the right rule, which is then all that holds it back."""

    def _fired(self, key: str) -> None:
        fired, here = self._timers.get(key, inf) <= self._now, self.view
        super()._fired(key)
        if fired and self.votes:
            for view in range(self.views.root + 1, here):
                round_ = self.views.round(view)
                if self.rule.may_nullify(round_.cast):
                    self._cast(round_, Kind.NULLIFY, NOTHING)


BROKEN_RULES: tuple[type[VotingRule], ...] = (
    FinalizeAfterNullify,
    NullifyAfterFinalize,
    SkipWithoutProof,
    VoteTwice,
    SmallQuorum,
)
