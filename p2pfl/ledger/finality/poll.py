"""The votes of one epoch: who signed what in which view, and who contradicted himself. Knows no block and no clock.

Admission is bounded: votes of validators of this epoch, for views after the last final one and not too far ahead, one
per view, kind and author. A vote that contradicts an earlier one is a fault; its author is caught, and his further
contradictions of the epoch are not worth a look at their signatures.
"""

from p2pfl.core.ids import NodeId
from p2pfl.errors import Reject
from p2pfl.ledger.blocks.block import Fault
from p2pfl.ledger.blocks.faults import vote_fault
from p2pfl.ledger.blocks.rule import Kind
from p2pfl.ledger.blocks.votes import Certificate, Validators, Vote, certify
from p2pfl.ledger.feeds.bounds import VIEWS_AHEAD_MAX
from p2pfl.ledger.finality.round import Round, Views


class Poll:
    """One epoch. `quorum` is how many votes make a certificate; `root` the view of the last final block."""

    def __init__(self, net: bytes, epoch: int, voters: Validators, quorum: int, root: int = 0) -> None:
        self.net, self.epoch, self.voters, self.quorum = net, epoch, voters, quorum
        self.views = Views(root)
        self.caught: set[NodeId] = set()
        self.fresh: list[Fault] = []
        """Faults that came up and nobody has taken yet."""

    def is_ahead(self, epoch: int, view: int, here: int) -> bool:
        """Whether this is so far ahead of view `here` that something was missed."""
        return epoch > self.epoch or (epoch == self.epoch and view > here + VIEWS_AHEAD_MAX)

    def is_open(self, epoch: int, view: int) -> bool:
        """Whether this view is still to be decided."""
        return epoch == self.epoch and view > self.views.root

    def leader(self, view: int) -> NodeId:
        return self.voters.leader(self.epoch, view)

    def proposed(self, view: int) -> bytes | None:
        """The hash that the leader of the view voted for: its proposal."""
        round_ = self.views.rounds.get(view)
        vote = round_.proposed(self.leader(view)) if round_ else None
        return vote.block if vote else None

    def take(self, vote: Vote) -> bool:
        """Take in a vote of an open view; False if it is nothing new. Raises Reject if it is not a validator's."""
        if vote.author not in self.voters.index:
            raise Reject("validators", f"{vote.name}: not a validator of this epoch")
        round_ = self.views.round(vote.view)
        if round_.has(vote) or (vote.author in self.caught and round_.clash(vote) is not None):
            return False
        if not vote.is_signed(self.net):
            raise Reject("signature", f"not signed: {vote.name}")
        self.tally(vote, round_)
        return True

    def tally(self, vote: Vote, round_: Round) -> None:
        """Take in a vote whose signature is checked."""
        clash = round_.add(vote)
        if clash is not None and vote.author not in self.caught:
            self.caught.add(vote.author)
            self.fresh.append(vote_fault(clash, vote))

    def prove(self, certificate: Certificate) -> list[Vote]:
        """Check a certificate of this epoch and take its votes in; returns them. Raises Reject if it is none."""
        round_ = self.views.rounds.get(certificate.view)
        known = set(round_.votes[certificate.kind].values()) if round_ else set()
        certificate.check(self.net, self.voters, self.quorum, known)
        votes = certificate.votes(self.voters)
        if certificate.view > self.views.root:
            for vote in votes:
                self.tally(vote, self.views.round(certificate.view))
        return votes

    def certified(self, round_: Round, kind: Kind, block: bytes) -> Certificate | None:
        """The certificate that the votes of a round have just come to be."""
        votes = round_.for_block(kind, block)
        if kind in round_.certificates or len(votes) < self.quorum:
            return None
        return certify(votes, self.voters)

    def stirs(self, view: int) -> bool:
        """Whether others act in this view: its leader proposed, or one that is honest voted."""
        round_ = self.views.rounds.get(view)
        if round_ is None:
            return False
        voted = {author for votes in round_.votes.values() for author in votes}
        return self.leader(view) in round_.votes[Kind.NOTARIZE] or len(voted) > self.voters.f
