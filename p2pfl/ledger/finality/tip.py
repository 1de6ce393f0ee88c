"""What a node keeps of the ledger besides blocks and certificates, and how it comes back from it. Knows spaces of a
store; knows no vote and no disk.

| space | key | value |
|---|---|---|
| genesis | (empty) | the genesis document, as people keep it |
| node, leaf | | the log's tree: log.py |
| state | key | canonical [touched, value]: the state after the last height |
| voters | height (u64) | canonical keys of who votes after that height, where that changed |
| checkpoint | height (u64) | the checkpoint after that height, with its cosignatures |
| tip | (empty) | canonical [1, height, view, block hash, size of the log, its peaks]: where to go on |

Blocks and certificates lie in the space "final" of finality's journal. All that one height writes goes into one
commit, so a store always holds a whole height.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from p2pfl.core.ids import NodeId
from p2pfl.core.party import Put, Restored
from p2pfl.errors import BrokenChain, Reject
from p2pfl.ledger.blocks.block import Execution, Head, Header
from p2pfl.ledger.blocks.checkpoint import Checkpoint, Signed
from p2pfl.ledger.blocks.log import LEAF, NODE, Log, index_key
from p2pfl.ledger.blocks.merkle import PROOF_HASHES_MAX, Range
from p2pfl.ledger.feeds.entry import Entry
from p2pfl.ledger.finality.forge import Node
from p2pfl.ledger.outcome.members import validators_of
from p2pfl.ledger.outcome.state import State, cell_text, changes, parse_cell, state_from
from p2pfl.wire import canonical, fields

GENESIS = "genesis"
STATE = "state"
CHECKPOINT = "checkpoint"
VOTERS = "voters"
TIP = "tip"
SPACES = (GENESIS, NODE, LEAF, STATE, VOTERS, CHECKPOINT, TIP)

NEEDED = (STATE, TIP)
"""What a node loads to go on; the others only grow, and are read when somebody asks."""

VERSION = 1
_RECORD_BYTES_MAX = 4096


@dataclass(frozen=True, slots=True)
class Tip:
    """The ledger as it is final at one height. Height 0 is the genesis: its hash is the network's id; no leaf yet."""

    net: bytes
    state: State = field(repr=False)
    height: int = 0
    view: int = 0
    head: bytes = b""
    log: Log = field(default_factory=Log)

    @property
    def raw(self) -> bytes:
        """Where to go on: the record of the space "tip"."""
        return canonical.packb([VERSION, self.height, self.view, self.head, self.log.size, self.log.tree.peaks])

    def record(self, header: Header, entries: Sequence[Entry], state: State) -> tuple["Tip", list[Put]]:
        """One height more, and what to write in one commit; `entries` are those of the cut, in order.

        Raises BrokenChain if the header does not follow, or says another state than `state`: never write that.
        """
        if (header.net, header.height, header.parent) != (self.net, self.height + 1, self.head or self.net):
            raise BrokenChain(f"{header.name}: does not follow height {self.height}")
        if header.state_root != state.root():
            raise BrokenChain(f"{header.name}: says another state than the one it leads to")
        log, puts = self.log.append(header, entries)
        for name, cell in changes(self.state, state):
            puts.append(Put(STATE, name, cell_text(cell) if cell else None))
        if header.validators_hash != header.next_validators_hash:
            puts.append(Put(VOTERS, index_key(header.height), canonical.packb(validators_of(state))))
        tip = Tip(self.net, state, header.height, header.view, header.hash, log)
        return tip, [*puts, Put(TIP, b"", tip.raw)]

    def checkpoint(self) -> Checkpoint:
        """What this height's validators cosign."""
        return Checkpoint(self.net, self.log.size, self.log.root())


def put_checkpoint(height: int, signed: Signed) -> Put:
    return Put(CHECKPOINT, index_key(height), signed.note)


def first_puts(genesis_text: str, first: State) -> list[Put]:
    """What a node's store begins with: the genesis document, and the state that it says."""
    document = Put(GENESIS, b"", genesis_text.encode())
    return [document, *(Put(STATE, key, cell_text(cell)) for key, cell in first.cells())]


def restore_tip(net: bytes, first: State, restored: Restored) -> Tip:
    """What is final in a store; height 0, with the state `first`, if it has nothing. Needs the spaces `NEEDED` only.

    Raises BrokenChain if the record or the state cannot be read, or the state is of another height: damage that would
    be built upon. Everything else is for `verify`.
    """
    raw = restored.get(TIP, {}).get(b"")
    if raw is None:
        return Tip(net, first)
    height, view, head, log = parse_tip(raw)
    state = restore_state(restored.get(STATE, {}).items())
    if state.number("height") != height:
        raise BrokenChain(f"the state is not that of height {height}; see: p2pfl ledger verify")
    return Tip(net, state, height, view, head, log)


def parse_tip(raw: bytes) -> tuple[int, int, bytes, Log]:
    """Height, view, block hash and log of a record of the space "tip". Raises BrokenChain."""
    try:
        version, height, view, head, size, peaks = fields.array(canonical.unpackb(raw, _RECORD_BYTES_MAX), "tip", 6)
        fields.version(version, "tip", VERSION)
        hashes = tuple(fields.digest(peak, "peak") for peak in fields.items(peaks, "peaks", PROOF_HASHES_MAX))
        tree = Range(fields.whole(size, "size"), hashes)
        if len(hashes) != tree.size.bit_count():
            raise Reject("malformed", f"expected {tree.size.bit_count()} peaks, got {len(hashes)}")
        places = (fields.whole(height, "height"), fields.whole(view, "view"))
        return *places, fields.digest(head, "head"), Log(tree)
    except Reject as error:
        raise BrokenChain(f"the record of the tip: {error}") from None


def base_of(tip: Tip, rules_hash: bytes) -> Node:
    """Where finality goes on: the last final block as executed."""
    state = tip.state
    heads = {}
    for (author, incarnation), (next_seq, id_) in state.items("feed"):
        head = Head(NodeId(author), incarnation, next_seq - 1, id_)  # type: ignore[operator, arg-type]
        heads[head.feed] = head
    _, time_ms = state.get("height") or (0, 0)
    assert isinstance(time_ms, int)
    execution = Execution(state, state.root(), rules_hash, validators_of(state))
    return Node(tip.head or tip.net, tip.height, tip.view, time_ms, tip.log.size, heads, execution)


def restore_state(rows: Iterable[tuple[bytes, bytes]]) -> State:
    """The state in the space "state". Raises BrokenChain, naming the key."""
    cells = []
    for key, raw in rows:
        try:
            cells.append((key, parse_cell(raw)))
        except BrokenChain as error:
            raise BrokenChain(f"state key {key.hex()}: {error}") from None
    return state_from(cells)
