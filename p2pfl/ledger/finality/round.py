"""What is known of one view: votes, certificates, one's own part. Knows the rule; knows no block and no clock."""

from dataclasses import dataclass, field

from p2pfl.core.ids import NodeId
from p2pfl.ledger.blocks.rule import Cast, Kind, conflict
from p2pfl.ledger.blocks.votes import Certificate, Vote


@dataclass(slots=True)
class Round:
    """One view of one epoch. At most one vote per kind and author is kept."""

    view: int
    votes: dict[Kind, dict[NodeId, Vote]] = field(default_factory=lambda: {kind: {} for kind in Kind})
    certificates: dict[Kind, Certificate] = field(default_factory=dict)
    cast: Cast = field(default_factory=Cast)
    bad: bool = False
    """The leader's proposal was checked and is wrong."""

    def add(self, vote: Vote) -> Vote | None:
        """Take a vote in, whose signature is checked; returns one of the same author that it conflicts with."""
        clash = self.clash(vote)
        self.votes[vote.kind].setdefault(vote.author, vote)
        return clash

    def clash(self, vote: Vote) -> Vote | None:
        """A vote of the same author that no honest validator signs with this one."""
        for votes in self.votes.values():
            other = votes.get(vote.author)
            if other is not None and conflict((vote.kind, vote.block), (other.kind, other.block)):
                return other
        return None

    def has(self, vote: Vote) -> bool:
        known = self.votes[vote.kind].get(vote.author)
        return known is not None and known.block == vote.block

    def for_block(self, kind: Kind, block: bytes) -> list[Vote]:
        return [vote for vote in self.votes[kind].values() if vote.block == block]

    def notarized(self) -> bytes | None:
        """The block that a quorum notarized (or finalized) in this view."""
        certificate = self.certificates.get(Kind.NOTARIZE) or self.certificates.get(Kind.FINALIZE)
        return certificate.block if certificate else None

    def nullified(self) -> bool:
        return Kind.NULLIFY in self.certificates

    def over(self) -> bool:
        """Whether a quorum has left this view."""
        return bool(self.certificates)

    def proposed(self, leader: NodeId) -> Vote | None:
        """The leader's vote for its own proposal."""
        return self.votes[Kind.NOTARIZE].get(leader)

    def own(self, author: NodeId) -> list[Vote]:
        return [votes[author] for votes in self.votes.values() if author in votes]

    def best(self) -> list[Certificate]:
        """What lets others leave this view: enough for a block's finality if there is that, else for going on."""
        for kind in (Kind.FINALIZE, Kind.NOTARIZE, Kind.NULLIFY):
            if kind in self.certificates:
                return [self.certificates[kind]]
        return []


class Views:
    """The rounds of one epoch after `root`, the view of the last final block (0: the epoch begins)."""

    def __init__(self, root: int = 0) -> None:
        self.root = root
        self.rounds: dict[int, Round] = {}

    def round(self, view: int) -> Round:
        assert view > self.root
        return self.rounds.setdefault(view, Round(view))

    def nullified(self, view: int) -> bool:
        return view in self.rounds and self.rounds[view].nullified()

    def notarized_view(self, block: bytes, before: int) -> int | None:
        """The last view before `before` in which a quorum notarized the block."""
        views = (view for view, round_ in self.rounds.items() if view < before and round_.notarized() == block)
        return max(views, default=None)

    def tip(self) -> Round | None:
        """The last notarized view."""
        views = (view for view, round_ in self.rounds.items() if round_.notarized() is not None)
        last = max(views, default=None)
        return self.rounds[last] if last is not None else None

    def next_view(self) -> int:
        """The first view that no quorum has left."""
        return max((view for view, round_ in self.rounds.items() if round_.over()), default=self.root) + 1

    def settle(self, root: int) -> None:
        """Forget what led to the final block of view `root`."""
        self.root = root
        self.rounds = {view: round_ for view, round_ in self.rounds.items() if view > root}
