"""What finality and sync want done, beside the effects of `core.party`. Values; know no network and no disk."""

from dataclasses import dataclass, field

from p2pfl.core.ids import NodeId
from p2pfl.core.party import Emit, Persist, SetTimer
from p2pfl.ledger.blocks.block import Block, Execution, Head
from p2pfl.ledger.blocks.votes import Certificate
from p2pfl.ledger.feeds.entry import Entry
from p2pfl.ledger.finality.talk import Stretch, Talk


@dataclass(frozen=True, slots=True)
class Tell:
    """Say `message` to one neighbour, or (`to` is None) to all but one. Nobody answers for its arrival.

    `relayed`: it is somebody else's; where all nodes hear each other directly it need not be said again.
    """

    message: Talk
    to: NodeId | None = None
    but: NodeId | None = None
    relayed: bool = False


@dataclass(frozen=True, slots=True)
class Final:
    """The next height is final. `entries` are its first leaves in the log, the header its last.

    `certificate` is None if that of a later block makes it final. The records that make it durable come before it in
    the same list of effects, and whatever is persisted in the same handle is one commit with them.
    """

    block: Block
    certificate: Certificate | None = field(repr=False)
    entries: tuple[Entry, ...] = field(repr=False)
    execution: Execution = field(repr=False)


@dataclass(frozen=True, slots=True)
class Lack:
    """Entries up to these heads are needed; `sure` if a quorum vouches for them. `of`: who would have them."""

    stretches: tuple[Stretch, ...]
    sure: bool
    of: NodeId | None = None


@dataclass(frozen=True, slots=True)
class ReadFinals:
    """`to` lacks final blocks from `height` on that are not in memory: send it `Finals` from the store."""

    to: NodeId
    height: int


@dataclass(frozen=True, slots=True)
class ReadEntries:
    """`to` lacks these entries, which are not in memory: send it `Entries` from the store."""

    to: NodeId
    head: Head
    after: int


@dataclass(frozen=True, slots=True)
class Refused:
    """A message, or a part of it, was refused: its sender is at fault."""

    sender: NodeId
    code: str
    detail: str


LedgerEffect = Persist | SetTimer | Emit | Tell | Final | Lack | ReadFinals | ReadEntries | Refused
