"""The second opinion on a store: reads every byte again and believes no column, index or counter.

Shares nothing with the code that writes but the parsing of one entry. Finds: bytes that are no entry, a false id or
signature, a column that says other than the signed bytes, a gap, a predecessor that is not, two entries at one
position, entries of another network, receipts whose totals do not add up, answers of other sides that they did not
sign, damage in the file. Does not find: entries missing at the *end* of a feed (nothing signed names what comes after),
and whether what an entry says is true.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from p2pfl.core.ids import short
from p2pfl.errors import BrokenChain, ConfigError, Reject
from p2pfl.ledger.blocks.genesis import Genesis, parse_genesis
from p2pfl.ledger.blocks.merkle import EMPTY_ROOT
from p2pfl.ledger.check.audit import Audit, Problem, cell_name, check_cell
from p2pfl.ledger.check.walk import Walk
from p2pfl.ledger.feeds.entry import Entry, check_signature, parse
from p2pfl.ledger.feeds.records import RECEIPT_KEY_BYTES
from p2pfl.ledger.finality.tip import GENESIS
from p2pfl.ledger.stores.migrations import FEEDS_ONLY
from p2pfl.ledger.stores.reader import Cell, Reader, Row, open_reader
from p2pfl.wire.envelope import open_head


@dataclass(frozen=True, slots=True)
class Chain:
    """How far a feed goes. `head` is the id of its last sound entry."""

    author: bytes
    incarnation: int
    num_entries: int
    head: bytes


@dataclass(frozen=True, slots=True)
class Verification:
    path: Path
    num_entries: int
    num_receipts: int
    num_unknown: int
    """Entries of a kind that this version does not know: their chain and signature are checked, their payload not."""
    chains: tuple[Chain, ...]
    problems: tuple[Problem, ...]
    height: int = 0
    """Up to where the finalized ledger was replayed; 0 if there is none."""
    num_final: int = 0
    """Entries in it."""
    root: bytes = EMPTY_ROOT
    """Of its log."""

    @property
    def ok(self) -> bool:
        return not self.problems


def verify_store(path: Path, genesis: Genesis | None = None) -> Verification:
    """Check the store `path` whole, without changing it. `genesis` is the one to believe, else the store's own.

    Raises ConfigError if it cannot be read as a store at all.
    """
    with open_reader(path) as reader:
        check = _Check(_network(reader, genesis))
        check.problems += [Problem("the file", line) for line in reader.integrity()]
        audit = Audit(reader, check.problems)
        try:
            check.entries(reader.rows())
            if reader.format > FEEDS_ONLY:
                check.cells(reader.cells())
            check.answers(reader.receipts())
            audit.run(genesis)
        except BrokenChain as error:
            check.problems.append(Problem("the file", str(error)))
    chains = tuple(Chain(w.author, w.incarnation, w.num_entries, w.last_id) for w in check.walks.values())
    counts = (check.num_entries, check.num_receipts, check.num_unknown)
    return Verification(path, *counts, chains, tuple(check.problems), audit.height, audit.num_entries, audit.root)


def _network(reader: Reader, genesis: Genesis | None) -> bytes | None:
    """Which network every entry must be of; None if neither the caller nor the store names one that can be read."""
    if genesis is not None:
        return genesis.digest
    try:
        text = reader.value(GENESIS, b"")
        return None if text is None else parse_genesis(text.decode("utf-8", "replace"), "").digest
    except (BrokenChain, ConfigError):
        return None  # the audit says what is wrong with it


def check_row(row: Row) -> tuple[Entry | None, list[str]]:
    """A row by itself: its entry if that is sound, and what is wrong with it."""
    if not isinstance(row.raw, bytes):
        return None, [f"raw: expected bytes, got {type(row.raw).__name__}"]
    try:
        entry = parse(row.raw)
    except Reject as error:
        return None, [f"raw: is no entry: {error}"]
    wrong = [] if check_signature(entry) else ["raw: the signature is not the author's"]
    kind = entry.kind.encode()
    if row[:-1] == (entry.author, entry.incarnation, entry.seq, entry.id, kind, entry.round):
        return (None if wrong else entry), wrong
    for name, column, signed in (
        ("author", row.author, entry.author),
        ("incarnation", row.incarnation, entry.incarnation),
        ("seq", row.seq, entry.seq),
        ("id", row.id, entry.id),
        ("kind", row.kind, kind),
        ("round", row.round, entry.round),
    ):
        if column != signed:
            wrong.append(f"{name}: the column has {_show(column)}, the entry says {_show(signed)}")
    return (None if wrong else entry), wrong


def check_answer(key: object, head: object, networks: set[bytes]) -> str | None:
    """What is wrong with the signed answer of another side, kept as proof of what it acknowledged; or None."""
    if not isinstance(key, bytes) or len(key) != RECEIPT_KEY_BYTES or not isinstance(head, bytes):
        return f"expected a key of {RECEIPT_KEY_BYTES} bytes, and bytes at it"
    try:
        opened = open_head(head)
    except Reject as error:
        return f"is no envelope head: {error}"
    if not opened.authentic():
        return f"the signature is not {short(opened.author)}'s"
    if opened.author != key[:32]:
        return f"expected an answer of {short(key)}, got one of {short(opened.author)}"
    if networks and opened.network not in networks:
        return f"is of network {short(opened.network)}, in which this store has no entry"
    return None


@dataclass(slots=True)
class _Check:
    """The state of one verification: rows go in, problems come out."""

    net: bytes | None
    problems: list[Problem] = field(default_factory=list)
    walks: dict[tuple[bytes, int], Walk] = field(default_factory=dict)
    num_entries: int = 0
    num_receipts: int = 0
    num_unknown: int = 0

    def entries(self, rows: Iterable[Row]) -> None:
        """Each row by itself, then its place in its feed. Rows come by author, incarnation, seq."""
        for row in rows:
            self.num_entries += 1
            entry, wrong = check_row(row)
            if isinstance(row.author, bytes) and isinstance(row.incarnation, int) and isinstance(row.seq, int):
                key = (row.author, row.incarnation)
                walk = self.walks.get(key)
                if walk is None:
                    walk = self.walks[key] = Walk(*key, self.net)
                wrong += walk.step(row.seq, entry)
            self.num_unknown += entry is not None and not entry.known
            if wrong:
                self.problems += [Problem(row.name, what) for what in wrong]

    def cells(self, cells: Iterable[Cell]) -> None:
        """Each record by itself: what nothing signed must not rot unseen either."""
        for cell in cells:
            space = cell.space.decode("utf-8", "replace") if isinstance(cell.space, bytes) else repr(cell.space)
            wrong = check_cell(cell, space)
            if wrong:
                name = cell_name(space, cell.key) if isinstance(cell.key, bytes) else f"{space} {cell.key!r}"
                self.problems.append(Problem(name, wrong))

    def answers(self, receipts: Iterable[tuple[object, object]]) -> None:
        networks = {walk.net for walk in self.walks.values() if walk.net is not None}
        for key, head in receipts:
            self.num_receipts += 1
            wrong = check_answer(key, head, networks)
            if wrong:
                self.problems.append(Problem(f"receipt {_show(key)}", wrong))


def _show(value: object) -> str:
    if isinstance(value, bytes):
        return value.decode() if value.isascii() and value.replace(b".", b"").isalnum() else value.hex()
    return repr(value)
