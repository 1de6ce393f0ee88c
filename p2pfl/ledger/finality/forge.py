"""Making and checking blocks: what a height says, given its parent. Pure; knows the book and the state, no vote.

One function, `run`, decides what a block must say, for the one who proposes it and for those who check it; so a block
is right if its header is, byte for byte, the header that a checker would have written for this cut, evidence, view and
time.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from p2pfl.core.ids import NodeId, short
from p2pfl.errors import LedgerError, Reject
from p2pfl.ledger.blocks.block import Block, Contract, Execution, Fault, Head, Header, Place, cut_hash, evidence_hash
from p2pfl.ledger.blocks.cut import FeedKey, Heads, advance, choose, entries_of
from p2pfl.ledger.blocks.faults import judge
from p2pfl.ledger.blocks.votes import Validators
from p2pfl.ledger.feeds.bounds import BLOCK_ENTRIES_MAX, BLOCK_FAULTS_MAX
from p2pfl.ledger.feeds.entry import Entry
from p2pfl.ledger.finality.book import Book


@dataclass(frozen=True, slots=True)
class Node:
    """A block that was executed, or (`block` is None) the genesis. `heads`: the last entry of each feed in the log."""

    hash: bytes
    height: int
    view: int
    time_ms: int
    next_index: int
    heads: Heads = field(repr=False)
    execution: Execution = field(repr=False)
    block: Block | None = field(default=None, repr=False)
    entries: tuple[Entry, ...] = field(default=(), repr=False)


@dataclass(frozen=True, slots=True)
class Terms:
    """What all nodes of a network share: its id, an epoch's length in heights, and what entries do to the state."""

    net: bytes
    epoch: int
    contract: Contract

    def epoch_of(self, height: int) -> int:
        """The epoch whose validators vote on the block of this height, from 0."""
        return (height - 1) // self.epoch

    def closes(self, height: int) -> bool:
        """Whether this height is the last of its epoch: nothing extends it before it is final."""
        return height > 0 and height % self.epoch == 0

    def genesis(self) -> Node:
        """Height 0."""
        return Node(self.net, 0, 0, 0, 0, {}, self.contract.genesis())


class Forge:
    """Blocks of one network, out of what is in the book."""

    def __init__(self, terms: Terms, book: Book) -> None:
        self.terms = terms
        self.book = book

    def voters(self, final: Node) -> Validators:
        """Who votes on the height after `final`."""
        return Validators.of(final.execution.next_validators)

    def pending(self, parent: Node) -> Mapping[FeedKey, Sequence[Entry]]:
        """What a block on `parent` could make final."""
        state = parent.execution.state
        contract = self.terms.contract
        return self.book.pending(parent.heads, lambda author, incarnation: contract.ceiling(state, author, incarnation))

    def wanted(self, parent: Node, faults: Mapping[NodeId, Fault]) -> list[Fault]:
        """Those (by author) that are news to the state, as many as a block takes."""
        state, wants = parent.execution.state, self.terms.contract.wants
        return sorted(fault for _, fault in sorted(faults.items()) if wants(state, fault))[:BLOCK_FAULTS_MAX]

    def draft(self, parent: Node, view: int, time_ms: int, faults: Mapping[NodeId, Fault]) -> Node:
        """The block to propose on `parent`: all that is pending, as far as it has room."""
        cut, entries = choose(self.pending(parent))
        evidence = tuple(self.wanted(parent, faults))
        return self._run(parent, view, max(time_ms, parent.time_ms + 1), cut, evidence, entries)

    def check(self, block: Block, parent: Node) -> Node | None:
        """The block, executed; None if entries of its cut are not here. Raises Reject if it is not what it must be."""
        header = block.header
        if header.time_ms <= parent.time_ms:
            raise Reject("time", f"{header.name}: expected a time after {parent.time_ms} ms, got {header.time_ms}")
        contract, state = self.terms.contract, parent.execution.state
        for head in block.cut:
            ceiling = contract.ceiling(state, head.author, head.incarnation)
            if ceiling is not None and head.seq > ceiling:
                raise Reject("frozen", f"{header.name}: the feed of {short(head.author)} ends at seq {ceiling}")
        entries = entries_of(block.cut, parent.heads, self.book.chain)
        if entries is None:
            return None
        if len(entries) > BLOCK_ENTRIES_MAX:
            raise Reject("cut", f"{header.name}: expected at most {BLOCK_ENTRIES_MAX} entries, got {len(entries)}")
        authors = [judge(fault, self.terms.net).author for fault in block.evidence]
        if len(set(authors)) < len(authors) or not all(contract.wants(state, fault) for fault in block.evidence):
            raise Reject("evidence", f"{header.name}: expected proofs that are news, one per author")
        node = self._run(parent, header.view, header.time_ms, block.cut, block.evidence, entries)
        assert node.block is not None
        if node.block.header != header:
            raise Mismatch(header, node.block.header)
        return node

    def _run(
        self,
        parent: Node,
        view: int,
        time_ms: int,
        cut: Sequence[Head],
        evidence: Sequence[Fault],
        entries: Sequence[Entry],
    ) -> Node:
        height = parent.height + 1
        closes = self.terms.closes(height)
        place = Place(height, time_ms, parent.next_index, closes)
        execution = self.terms.contract.execute(parent.execution.state, place, entries, evidence)
        voters, after = self.voters(parent), Validators.of(execution.next_validators)
        if not closes and voters.keys != after.keys:
            raise LedgerError(f"height {height}: the validators changed inside an epoch")
        header = Header(
            net=self.terms.net,
            height=height,
            view=view,
            parent=parent.hash,
            cut_hash=cut_hash(cut),
            evidence_hash=evidence_hash(evidence),
            first_index=parent.next_index,
            entry_count=len(entries),
            state_root=execution.state_root,
            rules_hash=execution.rules_hash,
            validators_hash=voters.hash,
            next_validators_hash=after.hash,
            time_ms=time_ms,
        )
        block = Block(header, tuple(cut), tuple(evidence))
        heads = advance(parent.heads, cut)
        return Node(header.hash, height, view, time_ms, header.next_index, heads, execution, block, tuple(entries))


class Mismatch(Reject):
    """A header says other than what comes of the block here; says which fields."""

    def __init__(self, theirs: Header, ours: Header) -> None:
        names = [name for name, value in vars(ours).items() if vars(theirs).get(name, value) != value]
        wrong = [name for name in names if name not in ("raw", "hash")]
        super().__init__("mismatch", f"{theirs.name}: other than computed here: {', '.join(wrong)}")
