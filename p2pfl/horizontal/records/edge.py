"""One edge of the graph as one end sees it. Knows positions and what was said there; no tensor arithmetic, no clock.

Theory of operation
-------------------
Both ends hold the same reference r at the same position (epoch, seq). To exchange, each end says one q (the coded
difference of its model to r); when both are known, r moves by their mean and seq by one. Three laws:

1. A q once sent for (epoch, seq) is never replaced: every repeat is byte-identical. The sender cannot tell a lost
   request from a lost answer, and a fresh q would split the references.
2. Position, reference and what was said are durable before a message leaves.
3. A request that meets my own request at the same position is its answer (and mine is its): no tie-break.

What to do with the other end's update, by where it stands (first line that fits):

| its position                                         | meaning                        | verdict |
|------------------------------------------------------|--------------------------------|---------|
| any, and the edge is cut                             | the other end was given up     | RENEW   |
| epoch later than mine                                | I missed an epoch              | RENEW   |
| epoch earlier than mine                              | it missed one, or a late copy  | BEHIND  |
| seq mine, same reference                             | the other half                 | APPLY   |
| seq mine, other reference                            | references differ              | RENEW   |
| seq mine - 1, the q I applied                        | my answer was lost             | REPEAT  |
| seq mine - 1, another q                              | it was rolled back             | RENEW   |
| seq earlier                                          | it was rolled back, or late    | BEHIND  |
| seq mine + 1, my request is out                      | its answer to me is on its way | WAIT    |
| seq later                                            | I was rolled back              | RENEW   |

RENEW: the end with the smaller id begins a new epoch with a snapshot of its model; the other asks it to. BEHIND: tell
it where I stand; only an end that is still waiting for an answer to what it sent draws a conclusion from that, so a
late copy does no harm. Epochs are ordered by a counter and named by random bits, so an epoch begun twice after a
roll-back is not mistaken for one.

An epoch that begins while what one end said has been applied by the other alone leaves half an exchange behind, for
ever missing from the sums that the rule keeps. After a fault that cannot be helped. A model that has outgrown its
reference, however, is no fault and can wait (`due`) until the end with the smaller id is `settled`: its own request was
the last thing exchanged, and answered. What the other end has sent since is not applied yet, and void at both.

Every other epoch is fresh: what the edge's exchanges have added to the drift corrections (`drift`) is taken off at both
ends, as it may differ by that half. An end whose neighbour is silent for long takes it off alone, since the neighbour's
opposite may be gone for good; the edge is `cut` from then on, and goes on with a fresh epoch only.
"""

from dataclasses import dataclass
from enum import Enum

import torch
from torch import Tensor

from p2pfl.core.ids import NodeId
from p2pfl.horizontal.model.algorithm import warmth_of
from p2pfl.horizontal.model.work import body_digest
from p2pfl.mixing.pairwise import Said
from p2pfl.mixing.reference import Reference
from p2pfl.wire.messages import Snapshot, Update

NOTHING = bytes(32)
_RANDOM_BITS, _COUNTER_BITS = 31, 32

Position = tuple[int, int]
"""(epoch, seq)."""


class Place(Enum):
    """Where the other end's update stands; see the table."""

    APPLY = "apply"
    REPEAT = "repeat"
    WAIT = "wait"
    BEHIND = "behind"
    RENEW = "renew"


@dataclass(frozen=True, eq=False)
class Saying:
    """What I said, or am about to say, at one position: exactly these bytes, every time."""

    message: Update
    body: bytes
    chunks: bytes
    said: Said

    @property
    def digest(self) -> bytes:
        return body_digest(self.chunks)


@dataclass(frozen=True, eq=False)
class Opening:
    """The snapshot with which I began the present epoch; repeated as it is until the first exchange in it."""

    message: Snapshot
    body: bytes
    chunks: bytes


@dataclass(eq=False)
class Edge:
    """The state of one edge. Written only by the exchange that owns it."""

    peer: NodeId
    reference: Reference
    digest: bytes
    epoch: int = 0
    seq: int = 0
    pending: Saying | None = None  # said, or being said, at (epoch, seq)
    requested: bool = False  # pending has left as a request
    last: Saying | None = None  # said at seq - 1
    last_heard: bytes = NOTHING  # body digest of the other half at seq - 1
    opening: Opening | None = None
    distance: float | None = None  # |D| last seen
    norm: float | None = None  # |q| last said
    work_said: float = 0.0  # the node's summed work when `pending` was made
    exchanges: int = 0
    closed: int = 0  # exchanges since this end was finished
    due: bool = False  # the other end has outgrown the reference
    drift: Tensor | None = None  # what its exchanges have added to the drift correction, since the last fresh epoch
    fresh: bool = False  # the epoch began with none of it at either end
    born: int = 0  # local steps at this end when it was opened in mid-run: two of one neighbour are not one
    cut: bool = False  # it was taken off here alone: nothing is exchanged before a fresh epoch
    answered: bool = True  # the last exchange was my request, and its answer came; or the epoch is new

    @property
    def warmth(self) -> float:
        """How much of an exchange at this position counts."""
        return warmth_of(self.fresh, self.seq)

    @property
    def settled(self) -> bool:
        """Nothing I said may have been applied by the other end alone, and nothing it said by me alone."""
        return self.answered and not self.requested

    def place(self, update: Update, chunks: bytes) -> Place:
        """Where `update`, whose body has these chunk digests, stands."""
        if self.cut:
            return Place.RENEW
        if update.epoch != self.epoch:
            return Place.RENEW if update.epoch > self.epoch else Place.BEHIND
        if update.seq == self.seq:
            return Place.APPLY if update.reference == self.digest else Place.RENEW
        if update.seq == self.seq - 1:
            known = self.last is not None and body_digest(chunks) == self.last_heard
            return Place.REPEAT if known else Place.RENEW
        if update.seq < self.seq:
            return Place.BEHIND
        if update.seq == self.seq + 1 and self.requested:
            return Place.WAIT
        return Place.RENEW

    def say(self, saying: Saying) -> None:
        """Law 1: there is nothing said at this position yet."""
        assert self.pending is None
        self.pending, self.requested = saying, False

    def step(self, reference: Reference, digest: bytes, heard: bytes) -> None:
        """Both halves are known: the edge moves by one exchange."""
        assert self.pending is not None
        self.last, self.last_heard = self.pending, heard
        self.pending, self.requested, self.opening = None, False, None
        self.reference, self.digest = reference, digest
        self.answered = False
        self.seq += 1
        self.exchanges += 1

    def renew(
        self, epoch: int, reference: Reference, digest: bytes, opening: Opening | None, fresh: bool = False
    ) -> None:
        """A new epoch: what was said in the old one is void at both ends. The caller takes the drift off, if fresh."""
        assert epoch > self.epoch
        self.epoch, self.seq = epoch, 0
        self.reference, self.digest, self.opening = reference, digest, opening
        self.pending, self.requested, self.last, self.last_heard = None, False, None, NOTHING
        self.due, self.answered, self.fresh = False, True, fresh
        self.cut = self.cut and not fresh


def said_of(update: Update, q: Tensor) -> Said:
    """The rule's view of an update."""
    numbers = (update.norm, update.reach, update.work, update.phase, update.tau, update.damp)
    return Said(q, *(torch.tensor(number, dtype=torch.float64) for number in numbers))


def has_next(*known: int) -> bool:
    """Whether an epoch number later than every known one is left."""
    return (max(known) >> _RANDOM_BITS) + 1 < 1 << _COUNTER_BITS


def next_epoch(*known: int, entropy: bytes) -> int:
    """Later than every known epoch, with 31 fresh random bits; below 2^63 if `has_next(*known)`."""
    counter = max(known) >> _RANDOM_BITS
    return (counter + 1) << _RANDOM_BITS | int.from_bytes(entropy[:4], "big") >> 1
