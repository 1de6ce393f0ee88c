"""The second opinion: every changed byte of an entry is found and the entry is named; a good store is found good."""

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from p2pfl.core.party import Put
from p2pfl.errors import ConfigError, P2PFLError
from p2pfl.ledger.check.verify import Verification, verify_store
from p2pfl.ledger.feeds.entry import Entry, make
from p2pfl.ledger.feeds.feed import Feed, append
from p2pfl.ledger.feeds.kinds import Receipt
from p2pfl.ledger.feeds.records import receipt_key
from p2pfl.ledger.stores.reader import open_reader


def tamper(path: Path, sql: str, *values: object) -> None:
    """Change rows behind the store's back, as somebody with the file can."""
    db = sqlite3.connect(path)
    db.execute("PRAGMA synchronous = OFF")  # a test's tampering need not survive power loss
    with db:
        for trigger in ("entry_no_update", "entry_no_delete", "entry_no_replace"):
            db.execute(f"DROP TRIGGER IF EXISTS {trigger}")
        db.execute(sql, values)
    db.close()


def names(result: Verification) -> set[str]:
    return {problem.where for problem in result.problems}


def test_a_good_store_is_good(world: Any, tmp_path: Path) -> None:
    mine, theirs = world.story(windows=3), world.story(world.bob)
    path = world.write(tmp_path / "node.db", [*mine, *theirs], world.answer(0), world.answer(1))
    result = verify_store(path)
    assert result.problems == ()
    assert (result.num_entries, result.num_receipts, result.num_unknown) == (len(mine) + len(theirs), 2, 0)
    heads = {chain.author: (chain.num_entries, chain.head) for chain in result.chains}
    assert heads == {e[-1].author: (len(e), e[-1].id) for e in (mine, theirs)}


def test_an_empty_store_is_good_and_no_store_is_unusable(world: Any, tmp_path: Path) -> None:
    assert verify_store(world.write(tmp_path / "node.db", [])).ok
    for path in (tmp_path, tmp_path / "none.db"):
        with pytest.raises(ConfigError, match="expected a node's store"):
            verify_store(path)


# --------------------------------------------------------------------------------------- every byte of a cell


def flips(world: Any, path: Path, column: str, entries: list[Entry], step: int) -> Iterator[tuple[Entry, int, Any]]:
    """Each `step`-th byte of a column of each entry, flipped in its row and put back afterwards."""
    for entry in entries:
        good = entry.raw if column == "raw" else getattr(entry, column)
        for at in range(entry.seq % step, len(good), step):
            bad = bytearray(good)
            bad[at] ^= 1 << (at % 8)
            tamper(path, f"UPDATE entry SET {column} = ? WHERE rowid = ?", bytes(bad), entry.seq + 1)
            yield entry, at, verify_store(path)
            tamper(path, f"UPDATE entry SET {column} = ? WHERE rowid = ?", good, entry.seq + 1)


@pytest.mark.parametrize("step", [pytest.param(23, id="sampled"), pytest.param(1, id="all", marks=pytest.mark.slow)])
@pytest.mark.parametrize("column", ["raw", "id", "author"])
def test_a_flipped_byte_in_a_cell_is_found_and_named(world: Any, tmp_path: Path, column: str, step: int) -> None:
    entries = world.story()
    path = world.write(tmp_path / "node.db", entries)
    for entry, at, result in flips(world, path, column, entries, step):
        wrong = [p for p in result.problems if f"/{entry.seq} (" in p.where and column in p.what]
        assert wrong, f"byte {at} of {column} of {entry.name}: {result.problems}"
        if column == "raw":  # one damaged entry is one report: its successor is not blamed
            assert names(result) == {entry.name}
    assert verify_store(path).ok


@pytest.mark.parametrize(
    ("sql", "words"),
    [
        ("UPDATE entry SET round = 9 WHERE seq = 2", "round: the column has 9, the entry says 0"),
        ("UPDATE entry SET kind = 'model' WHERE seq = 2", "kind: the column has model, the entry says receipts"),
        ("UPDATE entry SET seq = 9 WHERE seq = 2", "seq: the column has 9, the entry says 2"),
        ("UPDATE entry SET incarnation = 1 WHERE seq = 2", "incarnation: the column has 1, the entry says 0"),
        ("UPDATE entry SET raw = x'00' WHERE seq = 2", "raw: is no entry"),
        ("UPDATE entry SET raw = (SELECT raw FROM entry WHERE seq = 1) WHERE seq = 2", "the column has 2"),
    ],
)
def test_a_column_that_disagrees_is_found_and_named(world: Any, tmp_path: Path, sql: str, words: str) -> None:
    entries = world.story()
    path = world.write(tmp_path / "node.db", entries)
    tamper(path, sql)
    found = [problem for problem in verify_store(path).problems if words in problem.what]
    assert len(found) == 1
    assert entries[2].id.hex()[:8] in found[0].where


def test_a_removed_entry_is_a_gap_before_the_next(world: Any, tmp_path: Path) -> None:
    entries = world.story(windows=2)
    path = world.write(tmp_path / "node.db", entries)
    tamper(path, "DELETE FROM entry WHERE seq IN (2, 3)")
    (problem,) = verify_store(path).problems
    assert problem.where == entries[4].name
    assert problem.what == "the feed has a gap before it: seq 2 to 3 missing"


def test_a_rewritten_history_breaks_at_its_seam(world: Any, tmp_path: Path) -> None:
    """Somebody with the key signs another past, and puts it in place of the true one."""
    entries = world.story()
    path = world.write(tmp_path / "node.db", entries)
    true = entries[1]
    false = make(
        world.alice, world.net, (0, 1), true.prev, true.round, "delta.reveal", ((*true.payload[0][:4], 1, "x"),)
    )
    tamper(path, "UPDATE entry SET raw = ?, id = ? WHERE seq = 1", false.raw, false.id)
    (problem,) = verify_store(path).problems
    assert problem.where == entries[2].name
    assert problem.what.startswith("predecessor: expected ")


def test_a_second_entry_at_one_position_is_found(world: Any, tmp_path: Path) -> None:
    entries = world.story()
    path = world.write(tmp_path / "node.db", entries)
    other = make(world.alice, world.net, (0, 1), entries[1].prev, 0, "note", [])
    columns = "author BLOB, incarnation INTEGER, seq INTEGER, id BLOB, kind TEXT, round INTEGER, raw BLOB"
    for sql in (
        "ALTER TABLE entry RENAME TO was",
        f"CREATE TABLE entry({columns})",  # without its keys
        "INSERT INTO entry SELECT * FROM was",
        "DROP TABLE was",
    ):
        tamper(path, sql)
    row = (other.author, 0, 1, other.id, other.kind, 0, other.raw)
    tamper(path, "INSERT INTO entry VALUES (?, ?, ?, ?, ?, ?, ?)", *row)
    second = [problem for problem in verify_store(path).problems if "second entry" in problem.what]
    assert [problem.where for problem in second] == [other.name]


def test_totals_that_do_not_add_up_are_found(world: Any, tmp_path: Path) -> None:
    feed, first = world.opened(world.alice)
    bob, digest = world.bob.node, world.digest

    def receipts(feed: Feed, *rows: tuple[int, int, int, int]) -> tuple[Feed, Entry]:
        payload = [Receipt(bob, 0, 0, digest, size, verdict, count, total) for size, verdict, count, total in rows]
        return append(feed, world.alice, 0, "receipts", payload)

    feed, good = receipts(feed, (10, 0, 1, 10), (10, 2, 1, 10))
    feed, more = receipts(feed, (10, 0, 2, 20), (10, 0, 4, 30))
    feed, less = receipts(feed, (10, 0, 1, 10))
    path = world.write(tmp_path / "node.db", [first, good, more, less])
    assert [(p.where, p.what) for p in verify_store(path).problems] == [
        (more.name, "receipt 1: expected totals (3, 30), the entry says (4, 30)"),
        (less.name, "receipt 0: expected totals (5, 40), the entry says (1, 10)"),
    ]


def test_a_later_incarnation_goes_on_with_the_totals_of_a_backup(world: Any, tmp_path: Path) -> None:
    """What a node took before its disk was restored it has taken; from the first receipt on totals must add up."""

    def receipt(seq: int, count: int) -> Receipt:
        return Receipt(world.bob.node, 0, seq, world.digest, 800, 0, count, 800 * count)

    for counts, good in (((7, 8), True), ((7, 9), False)):
        feed, opening = append(Feed(world.net, world.alice.node, 1), world.alice, 0, "feed.open", [1, world.digest])
        rows = [receipt(seq, count) for seq, count in enumerate(counts)]
        feed, entry = append(feed, world.alice, 0, "receipts", rows)
        path = world.write(tmp_path / str(good) / "node.db", [*world.story(), opening, entry])
        assert verify_store(path).ok == good


def test_after_a_damaged_entry_totals_are_taken_up_again(world: Any, tmp_path: Path) -> None:
    entries = world.story(windows=3)
    path = world.write(tmp_path / "node.db", entries)
    tamper(path, "UPDATE entry SET raw = x'c0' WHERE seq = 2")
    assert names(verify_store(path)) == {entries[2].name}


@pytest.mark.parametrize("damage", ["byte", "peer", "key", "network"])
def test_an_answer_that_its_author_did_not_sign_is_found(world: Any, tmp_path: Path, damage: str) -> None:
    good = world.answer()
    head, key = bytearray(good.value), good.key
    match damage:
        case "byte":
            head[-1] ^= 1
        case "peer":
            key = receipt_key(world.alice.node, 0, 0)
        case "key":
            key = key[:-1]
        case "network":
            world = type("Other", (type(world),), {"net": bytes(32)})()
    path = world.write(tmp_path / "node.db", world.story(), Put("receipt", key, bytes(head)))
    result = verify_store(path)
    assert names(result) == {f"receipt {key.hex()}"}


def test_an_unknown_kind_is_counted_and_no_problem(world: Any, tmp_path: Path) -> None:
    feed, first = world.opened(world.alice)
    _, later = append(feed, world.alice, 0, "later.kind", [[1, b"x"]])
    result = verify_store(world.write(tmp_path / "node.db", [first, later]))
    assert (result.ok, result.num_unknown) == (True, 1)


# ------------------------------------------------------------------------------------ every byte of the file


def stored(path: Path) -> list[tuple[Any, ...]]:
    with open_reader(path) as reader:
        return [tuple(row) for row in reader.rows()]


@pytest.mark.parametrize("step", [pytest.param(29, id="sampled"), pytest.param(1, id="all", marks=pytest.mark.slow)])
def test_a_flipped_byte_in_the_file_is_found_and_named(world: Any, tmp_path: Path, step: int) -> None:
    """Of each entry's record: author, id, kind and raw, where they lie in the file."""
    entries = world.story()
    path = world.write(tmp_path / "node.db", entries)
    good = path.read_bytes()
    for entry in entries:
        begin = good.index(entry.raw)
        record = good[:begin].rindex(entry.author)  # author .. id, kind, round, raw
        for at in range(record + entry.seq % step, begin + len(entry.raw), step):
            bad = bytearray(good)
            bad[at] ^= 1 << (at % 8)
            path.write_bytes(bad)
            where = names(verify_store(path))
            mentions = (f"/{entry.seq} (", entry.id.hex()[:8])
            assert any(m in name for m in mentions for name in where), f"byte {at - record} of {entry.name}: {where}"
    path.write_bytes(good)
    assert verify_store(path).ok


class GoodFile:
    """A good store's file, its bytes, and the rows that are read from it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.bytes = path.read_bytes()
        self.rows = stored(path)


@pytest.fixture
def good_file(world: Any, tmp_path: Path) -> GoodFile:
    return GoodFile(world.write(tmp_path / "node.db", world.story(), world.answer()))


def check_damaged(file: GoodFile, bad: bytes) -> None:
    """The answer is never a crash, and never "ok" to other entries than were written."""
    file.path.write_bytes(bad)
    try:
        ok = verify_store(file.path).ok
    except P2PFLError:
        return
    assert not ok or stored(file.path) == file.rows


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(damage=st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(1, 255)), min_size=1, max_size=3))
def test_whatever_is_found_good_is_the_original(good_file: GoodFile, damage: list[tuple[float, int]]) -> None:
    bad = bytearray(good_file.bytes)
    for place, mask in damage:
        bad[int(place * len(bad))] ^= mask
    check_damaged(good_file, bytes(bad))


@pytest.mark.slow
@pytest.mark.parametrize("mask", [0x01, 0x80])
def test_no_byte_of_the_whole_file_changes_an_entry_unseen(good_file: GoodFile, mask: int) -> None:
    for at in range(0, len(good_file.bytes), 11):
        bad = bytearray(good_file.bytes)
        bad[at] ^= mask
        check_damaged(good_file, bytes(bad))
