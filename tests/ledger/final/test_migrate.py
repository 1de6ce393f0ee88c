"""A store of the format before holds feeds only: it is read as it is, and a writer makes it one of this format."""

import sqlite3
from pathlib import Path
from typing import Any

import pytest

from p2pfl.core.party import Put
from p2pfl.errors import ConfigError
from p2pfl.ledger.check.verify import verify_store
from p2pfl.ledger.feeds.records import put_entry
from p2pfl.ledger.stores.reader import APPLICATION_ID, open_reader
from p2pfl.ledger.stores.sqlite import SqliteStore

FORMAT_1 = """
CREATE TABLE entry(
    author BLOB NOT NULL, incarnation INTEGER NOT NULL, seq INTEGER NOT NULL, id BLOB NOT NULL UNIQUE,
    kind TEXT NOT NULL, round INTEGER NOT NULL, raw BLOB NOT NULL, PRIMARY KEY(author, incarnation, seq)) STRICT;
CREATE TABLE kv(space TEXT NOT NULL, key BLOB NOT NULL, value BLOB NOT NULL, PRIMARY KEY(space, key)) STRICT;
CREATE TRIGGER entry_no_update BEFORE UPDATE ON entry BEGIN SELECT RAISE(ABORT, 'entries are insert-only'); END;
CREATE TRIGGER entry_no_delete BEFORE DELETE ON entry BEGIN SELECT RAISE(ABORT, 'entries are insert-only'); END;
CREATE TRIGGER entry_no_replace BEFORE INSERT ON entry WHEN EXISTS (SELECT 1 FROM entry WHERE id = NEW.id
    OR (author = NEW.author AND incarnation = NEW.incarnation AND seq = NEW.seq))
    BEGIN SELECT RAISE(ABORT, 'entries are insert-only'); END;
"""


def old_store(network: Any, path: Path) -> list[tuple[str, bytes, bytes]]:
    """A store as format 1 wrote it: the feeds, a journal and a snapshot."""
    others = [("journal", bytes([n]), bytes([n]) * 40) for n in range(5)] + [("snapshot", b"meta", b"\x93\1\2\3")]
    db = sqlite3.connect(path)
    db.executescript(f"PRAGMA journal_mode = WAL; {FORMAT_1}")
    for e in network.entries:
        columns = (e.author, e.incarnation, e.seq, e.id, e.kind, e.round, e.raw)
        db.execute("INSERT INTO entry VALUES (?, ?, ?, ?, ?, ?, ?)", columns)
    db.executemany("INSERT INTO kv VALUES (?, ?, ?)", others)
    db.commit()
    db.executescript(f"PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = 1;")
    db.close()
    return others


@pytest.fixture
def network(make_played: Any) -> Any:
    return make_played(4)


def test_an_old_store_is_read_and_verified_as_it_is(network: Any, tmp_path: Path) -> None:
    path = tmp_path / "node.db"
    old_store(network, path)
    before = path.read_bytes()
    result = verify_store(path)
    assert (result.ok, result.num_entries, result.height) == (True, len(network.entries), 0)
    assert path.read_bytes() == before
    with open_reader(path) as reader:
        assert reader.format == 1
        assert {cell.check for cell in reader.cells()} == {None}


def test_a_writer_migrates_it_and_everything_is_still_there(network: Any, tmp_path: Path) -> None:
    path = tmp_path / "node.db"
    others = old_store(network, path)
    store = SqliteStore(path)
    loaded = store.load()
    assert {(space, key, value) for space in loaded if space != "entry" for key, value in loaded[space].items()} == set(
        others
    )
    assert len(loaded["entry"]) == len(network.entries)
    entries = {put.value for put in map(put_entry, network.entries)}
    assert set(loaded["entry"].values()) == entries
    store.commit(network.puts)  # the ledger begins
    store.close()
    assert verify_store(path).ok
    assert verify_store(path).height == 4
    with open_reader(path) as reader:
        assert reader.format == 2
    db = sqlite3.connect(path)
    with pytest.raises(sqlite3.IntegrityError, match="insert-only"):
        db.execute("DELETE FROM kv WHERE space = 'node'")
    db.execute("UPDATE kv SET value = x'00' WHERE space = 'journal' AND key = x'03'")
    db.commit()
    db.close()
    assert [problem.where for problem in verify_store(path).problems] == ["journal 03"]


def test_migrating_twice_is_once(network: Any, tmp_path: Path) -> None:
    path = tmp_path / "node.db"
    old_store(network, path)
    SqliteStore(path).close()
    after = path.read_bytes()
    SqliteStore(path).close()
    assert path.read_bytes() == after


def test_a_migration_that_fails_leaves_the_old_store(network: Any, tmp_path: Path) -> None:
    path = tmp_path / "node.db"
    old_store(network, path)
    db = sqlite3.connect(path)
    db.execute("CREATE TRIGGER full BEFORE UPDATE ON kv BEGIN SELECT RAISE(ABORT, 'database or disk is full'); END")
    db.commit()
    db.close()
    with pytest.raises(ConfigError, match="disk is full"):
        SqliteStore(path)
    with open_reader(path) as reader:
        assert reader.format == 1
    db = sqlite3.connect(path)
    db.execute("DROP TRIGGER full")
    db.close()
    store = SqliteStore(path)
    store.commit([Put("journal", b"\x09", b"new")])
    store.close()
    assert verify_store(path).ok
