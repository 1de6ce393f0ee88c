"""What happens to one node's finality, and its pace. Values; know no vote and no clock."""

from dataclasses import dataclass

from p2pfl.core.ids import NodeId
from p2pfl.core.party import Restored, TimerFired
from p2pfl.ledger.blocks.block import Fault
from p2pfl.ledger.finality.talk import Ballots, Blocks, Faults, Finals, Proofs, Proposal, Status

VIEW_TIMER = "finality.view"
PROPOSE_TIMER = "finality.propose"
GOSSIP_TIMER = "finality.gossip"
DOUBLINGS_MAX = 5

FinalityTalk = Proposal | Ballots | Proofs | Status | Finals | Blocks | Faults


@dataclass(frozen=True, slots=True)
class Timing:
    """Seconds. A view lasts interval + timeout * 2^k at most, k the views since the last final one, at most 5."""

    interval_s: float = 1.0
    """From one block to the next."""
    timeout_s: float = 4.0
    gossip_s: float = 2.0
    """Between two repetitions while something waits."""


@dataclass(frozen=True, slots=True)
class Recall:
    """The first event: what the store holds, at least the spaces of `journal.SPACES`."""

    restored: Restored


@dataclass(frozen=True, slots=True)
class Told:
    """A neighbour's message."""

    sender: NodeId
    message: FinalityTalk


@dataclass(frozen=True, slots=True)
class Grew:
    """The book has news; among them these proofs."""

    faults: tuple[Fault, ...] = ()


FinalityEvent = Recall | Told | Grew | TimerFired
