"""The second opinion on what is final: from the genesis on, every block, certificate, tree node and state key again.

Believes nothing but the genesis. Shares with finality the formats and the effects of entries (`contract`: there is one
law), not the order of a cut, the growing of the tree or the keeping of the store: those are done again here in another
way. Each difference names the object that is wrong. Finds what `verify` cannot see in feeds: entries missing at the end
of a finalized feed, and another order.
"""

from bisect import insort
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from p2pfl.core.ids import NodeId, short
from p2pfl.errors import BrokenChain, ConfigError, Reject
from p2pfl.ledger.blocks.block import Block, Head, Place
from p2pfl.ledger.blocks.checkpoint import Checkpoint, parse_checkpoint
from p2pfl.ledger.blocks.genesis import Genesis, parse_genesis
from p2pfl.ledger.blocks.log import LEAF, NODE, index_key, node_key
from p2pfl.ledger.blocks.merkle import EMPTY_ROOT, leaf_hash, node_hash
from p2pfl.ledger.blocks.rule import Kind
from p2pfl.ledger.blocks.votes import Certificate, Validators
from p2pfl.ledger.feeds.entry import NO_ENTRY, Entry, check_signature, name_of, parse
from p2pfl.ledger.feeds.records import BRANCH, check_of
from p2pfl.ledger.finality.journal import FINAL, parse_decided
from p2pfl.ledger.finality.tip import CHECKPOINT, GENESIS, STATE, TIP, VOTERS
from p2pfl.ledger.outcome.contract import Accounts
from p2pfl.ledger.outcome.members import validators_of
from p2pfl.ledger.outcome.state import State, cell_text
from p2pfl.ledger.outcome.state import name_of as state_name
from p2pfl.ledger.stores.reader import Cell, Reader
from p2pfl.wire import canonical


@dataclass(frozen=True, slots=True)
class Problem:
    """`where` names the object (entry, block, tree node, state key, part of the file); `what` the difference."""

    where: str
    what: str


def cell_name(space: str, key: bytes) -> str:
    """How messages name a record of the store."""
    if space == STATE:
        return f"state key {state_name(key)}"
    if space == NODE and len(key) == 9:
        return f"tree node {key[0]}/{int.from_bytes(key[1:], 'big')}"
    if space in (FINAL, CHECKPOINT, VOTERS) and len(key) == 8:
        return f"{'block' if space == FINAL else space} at height {int.from_bytes(key, 'big')}"
    if space == LEAF and len(key) == 8:
        return f"leaf {int.from_bytes(key, 'big')}"
    if space in (GENESIS, TIP) and not key:
        return f"the record {space}"
    return f"{space} {key.hex()}"


@dataclass(slots=True)
class Audit:
    """One run over the final part of a store. `run` fills the rest."""

    reader: Reader
    problems: list[Problem] = field(default_factory=list)
    height: int = 0
    num_entries: int = 0
    root: bytes = EMPTY_ROOT
    state: State | None = None

    def run(self, genesis: Genesis | None) -> None:
        """`genesis` is what the caller trusts; without it, the store's own is taken. Raises BrokenChain."""
        spaces = {name: self._space(name) for name in (GENESIS, CHECKPOINT, TIP)}
        if not spaces[TIP] and next(self.reader.cells(FINAL), None) is None:
            return
        terms = self._terms(spaces[GENESIS].get(b""), genesis)
        if terms is None:
            return
        replay = _Replay(self.reader, terms, self.problems)
        replay.blocks(self._values(FINAL), spaces[CHECKPOINT])
        self.height, self.num_entries = replay.height, replay.num_entries
        if not replay.whole:
            self._say("the ledger", f"could be replayed up to height {replay.height} only; see above")
            return
        self.root, self.state = replay.tree.root(), replay.state
        self._compare_stream(LEAF, replay.leaves)
        self._compare_stream(VOTERS, replay.voters)
        self._compare_stream(NODE, replay.tree.nodes)
        self._compare_stream(STATE, {key: cell_text(cell) for key, cell in replay.state.cells()})
        self._compare(TIP, spaces[TIP], {b"": replay.record()})

    def _say(self, where: str, what: str) -> None:
        self.problems.append(Problem(where, what))

    def _terms(self, text: bytes | None, trusted: Genesis | None) -> Genesis | None:
        """The genesis to believe; says what is wrong with the store's."""
        own: Genesis | None = None
        if text is None:
            self._say("the record genesis", "is missing" + ("" if trusted else "; give the file with --genesis"))
        else:
            try:
                own = parse_genesis(text.decode("utf-8", "replace"), "the record genesis")
            except ConfigError as error:
                self._say("the record genesis", str(error))
        if own and trusted and own.digest != trusted.digest:
            self._say("the record genesis", f"is of network {short(own.digest)}, expected {short(trusted.digest)}")
        elif own and text != own.to_toml().encode():  # its values are right: a comment, a space, the order
            self._say("the record genesis", "is not written as a genesis is")
        return trusted or own

    def _values(self, space: str) -> Iterator[tuple[bytes, bytes]]:
        for cell in self.reader.cells(space):
            if isinstance(cell.key, bytes) and isinstance(cell.value, bytes):
                yield cell.key, cell.value
            else:
                self._say(f"{space} {cell.key!r}", "expected bytes at a key of bytes")

    def _space(self, space: str) -> dict[bytes, bytes]:
        return dict(self._values(space))

    def _compare_stream(self, space: str, expected: Mapping[bytes, bytes]) -> None:
        self._compare(space, self._space(space), expected)

    def _compare(self, space: str, stored: Mapping[bytes, bytes], expected: Mapping[bytes, bytes]) -> None:
        """Both are to be the same; each key at which they are not is named."""
        for key in sorted(stored.keys() | expected.keys()):
            if key not in stored:
                self._say(cell_name(space, key), "is missing")
            elif key not in expected:
                self._say(cell_name(space, key), "does not follow from the log")
            elif stored[key] != expected[key]:
                self._say(cell_name(space, key), f"expected {_brief(expected[key])}, got {_brief(stored[key])}")


@dataclass(slots=True)
class _Tree:
    """All nodes of the tree, level by level: the plain form of what `merkle.Range` does with peaks."""

    levels: list[list[bytes]] = field(default_factory=lambda: [[]])
    nodes: dict[bytes, bytes] = field(default_factory=dict)

    def append(self, leaf: bytes) -> None:
        level, hash_ = 0, leaf_hash(leaf)
        while True:
            if level == len(self.levels):
                self.levels.append([])
            here = self.levels[level]
            here.append(hash_)
            self.nodes[node_key(level, len(here) - 1)] = hash_
            if len(here) % 2:
                return
            level, hash_ = level + 1, node_hash(here[-2], here[-1])

    @property
    def size(self) -> int:
        return len(self.levels[0])

    def peaks(self) -> tuple[bytes, ...]:
        """Roots of the complete subtrees, from the left."""
        return tuple(level[-1] for level in reversed(self.levels) if len(level) % 2)

    def root(self) -> bytes:
        root = EMPTY_ROOT
        for number, peak in enumerate(reversed(self.peaks())):
            root = node_hash(peak, root) if number else peak
        return root


class _Replay:
    """The ledger played again from the genesis, block by block, until something is not as it must be."""

    def __init__(self, reader: Reader, terms: Genesis, problems: list[Problem]) -> None:
        self.reader, self.terms, self.problems = reader, terms, problems
        self.accounts = Accounts(terms)
        self.state = self.accounts.first_state()
        self.validators = self.voted_by = Validators.of(validators_of(self.state))
        self.tree = _Tree()
        self.leaves: dict[bytes, bytes] = {}
        self.voters: dict[bytes, bytes] = {}
        self.heads: dict[tuple[bytes, int], tuple[int, bytes]] = {}
        self.height, self.view, self.head, self.num_entries, self.time_ms = 0, 0, terms.digest, 0, 0
        self.whole = True

    def record(self) -> bytes:
        """What the record of the space "tip" must be."""
        return canonical.packb([1, self.height, self.view, self.head, self.tree.size, self.tree.peaks()])

    def blocks(self, rows: Iterable[tuple[bytes, bytes]], checkpoints: dict[bytes, bytes]) -> None:
        """All blocks, heights ascending; then what is left over of checkpoints."""
        unproven: list[Block] = []
        for key, raw in rows:
            found = self._block(key, raw)
            if found is None or not self._play(found[0]):
                self.whole = False
                return
            block, certificate = found
            unproven.append(block)
            if certificate is not None and self._is_proof(block, certificate):
                unproven.clear()
            self._checkpoint(key, checkpoints.pop(key, None))
        for block in unproven:
            self._say(f"block at height {block.height}", "no certificate of this or a later block proves it final")
        for key in checkpoints:
            self._say(cell_name(CHECKPOINT, key), "there is no block of this height")

    def _say(self, where: str, what: str) -> None:
        self.problems.append(Problem(where, what))

    def _block(self, key: bytes, raw: bytes) -> tuple[Block, Certificate | None] | None:
        """The block of the next height, if its header is in its place."""
        where = cell_name(FINAL, key)
        try:
            block, certificate = parse_decided(raw)
        except Reject as error:
            self._say(where, f"is no block: {error}")
            return None
        header, expected = block.header, self.height + 1
        for name, wanted, got in (
            ("key", index_key(expected), key),
            ("height", expected, header.height),
            ("network", self.terms.digest, header.net),
            ("parent", self.head, header.parent),
            ("first index", self.tree.size, header.first_index),
            ("rules", self.accounts.rules_hash(self.state), header.rules_hash),
            ("validators", self.validators.hash, header.validators_hash),
        ):
            if wanted != got:
                self._say(where, f"{name}: expected {_brief(wanted)}, the block says {_brief(got)}")
                return None
        if header.time_ms <= self.time_ms:
            self._say(where, f"time: expected more than {self.time_ms} ms, the block says {header.time_ms}")
            return None
        return block, certificate

    def _play(self, block: Block) -> bool:
        """Whether the block's entries lead to what its header says."""
        header, where = block.header, f"block at height {block.height}"
        try:
            entries = self._entries(block)
            place = Place(header.height, header.time_ms, header.first_index, header.height % self.terms.epoch == 0)
            state = self.accounts.play(self.state, place, entries, block.evidence).state
        except (Reject, BrokenChain) as error:
            self._say(where, str(error))
            return False
        after = Validators.of(validators_of(state))
        for name, wanted, got in (
            ("entries", len(entries), header.entry_count),
            ("state root", state.root(), header.state_root),
            ("next validators", after.hash, header.next_validators_hash),
        ):
            if wanted != got:
                self._say(where, f"{name}: expected {_brief(wanted)}, the block says {_brief(got)}")
                return False
        self._grow(block, entries)
        if after != self.validators:
            self.voters[index_key(block.height)] = canonical.packb(after.keys)
        self.state, self.voted_by, self.validators = state, self.validators, after
        return True

    def _entries(self, block: Block) -> list[Entry]:
        """The entries of the cut, in their order. Raises BrokenChain, Reject."""
        found: list[Entry] = []
        for head in block.cut:
            first, before = self.heads.get(head.feed, (0, NO_ENTRY))
            chain = self._chain(head, first)
            if chain[0].prev != before:
                raise BrokenChain(f"{chain[0].name}: does not follow what is final before it")
            found += chain
            self.heads[head.feed] = (head.seq + 1, head.id)
        return causal(found)

    def _chain(self, head: Head, first: int) -> list[Entry]:
        """From `first` up to the head: from the entry table, or, where that holds another branch, from "branch"."""
        raws = self.reader.stretch(head.author, head.incarnation, first, head.seq)
        main = {entry.id: entry for entry in map(parse, raws)}
        chain: list[Entry] = []
        id_ = head.id
        for seq in range(head.seq, first - 1, -1):
            entry = main.get(id_) or self._branch(id_)
            if entry is None or (entry.author, entry.incarnation, entry.seq) != (*head.feed, seq):
                raise BrokenChain(f"{name_of(*head.feed, seq, id_)}: an entry of its cut is not here")
            chain.append(entry)
            id_ = entry.prev
        if not chain:
            raise BrokenChain(f"{name_of(*head)}: is final already")
        return chain[::-1]

    def _branch(self, id_: bytes) -> Entry | None:
        raw = self.reader.value(BRANCH, id_)
        if raw is None:
            return None
        entry = parse(raw)
        if entry.id != id_ or not check_signature(entry):
            raise BrokenChain(f"{entry.name}: is not the entry that its key says, or not signed by its author")
        return entry

    def _grow(self, block: Block, entries: list[Entry]) -> None:
        for entry in entries:
            self.leaves[index_key(self.tree.size)] = entry.id
            self.tree.append(entry.raw)
        self.leaves[index_key(self.tree.size)] = index_key(block.height)
        self.tree.append(block.header.raw)
        self.height, self.view = block.height, block.header.view
        self.head, self.time_ms = block.hash, block.header.time_ms
        self.num_entries += len(entries)

    def _is_proof(self, block: Block, certificate: Certificate) -> bool:
        try:
            if (certificate.kind, certificate.block) != (Kind.FINALIZE, block.hash):
                raise Reject("other", f"is not to finalize {short(block.hash)}")
            if certificate.epoch != (block.height - 1) // self.terms.epoch:
                raise Reject("other", f"is of epoch {certificate.epoch}")
            certificate.check(self.terms.digest, self.voted_by, self.voted_by.quorum)
        except Reject as error:
            self._say(f"certificate at height {block.height}", str(error))
            return False
        return True

    def _checkpoint(self, key: bytes, note: bytes | None) -> None:
        if note is None:
            return
        where = cell_name(CHECKPOINT, key)
        try:
            signed = parse_checkpoint(note)
        except Reject as error:
            self._say(where, str(error))
            return
        expected = Checkpoint(self.terms.digest, self.tree.size, self.tree.root())
        if signed.checkpoint != expected:
            self._say(where, f"expected size {expected.size} and root {_brief(expected.root)}")
        elif signed.note != note:
            self._say(where, "is not written as checkpoints are")
        for cosignature in signed.cosignatures:
            if cosignature.validator not in self.voted_by.index:
                self._say(where, f"{short(cosignature.validator)} signed it and was no validator")
            elif not cosignature.is_good(signed.checkpoint):
                self._say(where, f"the signature is not {short(cosignature.validator)}'s")


def causal(entries: Iterable[Entry]) -> list[Entry]:
    """The order of a block's entries, done again: of those whose predecessor and references here are placed, the one
    with the smallest (author, incarnation, seq), until none is left."""
    here = {entry.id: entry for entry in entries}
    waiting = {id_: sum(ref in here for ref in {e.prev, *e.refs}) for id_, e in here.items()}
    releases: dict[bytes, list[Entry]] = {}
    for entry in here.values():
        for ref in {entry.prev, *entry.refs}:
            releases.setdefault(ref, []).append(entry)
    ready = sorted(_position(here[id_]) for id_, count in waiting.items() if not count)
    placed: list[Entry] = []
    while ready:
        entry = here[ready.pop(0)[3]]
        placed.append(entry)
        for follower in releases.get(entry.id, ()):
            waiting[follower.id] -= 1
            if not waiting[follower.id]:
                insort(ready, _position(follower))
    return placed


def _position(entry: Entry) -> tuple[NodeId, int, int, bytes]:
    return (entry.author, entry.incarnation, entry.seq, entry.id)


def check_cell(cell: Cell, space: str) -> str | None:
    """What is wrong with a record's check value, or None."""
    if not isinstance(cell.key, bytes) or not isinstance(cell.value, bytes):
        return "expected bytes at a key of bytes"
    expected = check_of(space, cell.key, cell.value)
    return None if cell.check == expected else f"check value: expected {expected}, got {cell.check!r}: it is damaged"


def _brief(value: object) -> str:
    return f"{value[:8].hex()}{'..' if len(value) > 8 else ''}" if isinstance(value, bytes) else repr(value)
