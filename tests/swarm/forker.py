"""A node that forks its feed on purpose: one entry for all, and another one at the same position for one neighbour."""

from p2pfl.ledger.feeds.entry import make
from p2pfl.ledger.finality.talk import Entries
from p2pfl.peer.peer import Peer

KIND = "receipts"


class Forker(Peer):
    """Goes on as if nothing were: it does not even stop when it is shown its own proof."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.forked_at = None
        self.keeper.recovery.check = lambda puts: None

    def _append(self, effect):
        puts = super()._append(effect)
        if self.forked_at is None and effect.kind == KIND and self.feed.next_seq > 4:
            last = self.feed.last
            place = (last.incarnation, last.seq)
            twin = make(self.signer, last.net, place, last.prev, last.round, "model", [bytes(32), 0])
            victim = min(self.keeper.outbox.boxes)
            self.keeper.outbox.put(Entries((twin.raw,)).raw, 0.0, victim)
            self.forked_at = place
        return puts


def forking(name):
    """A Peer class that is a Forker for the node of this name."""

    def peer(signer, network, recipe, neighbours, job, called, *more, **named):
        kind = Forker if called == name else Peer
        return kind(signer, network, recipe, neighbours, job, called, *more, **named)

    return peer
