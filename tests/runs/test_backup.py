"""Copies of a store: whole and verified while its writer writes, never over something, and marked when put back."""

import gzip
import sqlite3
import threading
from pathlib import Path

import pytest

from p2pfl.core.party import Put
from p2pfl.errors import ConfigError, HostError
from p2pfl.ledger.blocks.log import index_key
from p2pfl.ledger.check.verify import verify_store
from p2pfl.ledger.stores.reader import open_reader
from p2pfl.ledger.stores.sqlite import SqliteStore
from p2pfl.peer.recovery import RECOVER
from p2pfl.runs.backup import back_up, mark_restored, restore
from p2pfl.runs.migrate import migrate, planned

OLD = Path(__file__).resolve().parents[1] / "vectors" / "store.v1.db.gz"


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """A store of format 1 with one feed of four entries, in incarnation 0."""
    path = tmp_path / "run" / "node.db"
    path.parent.mkdir()
    path.write_bytes(gzip.decompress(OLD.read_bytes()))
    return path


def author_of(store: Path) -> bytes:
    return verify_store(store).chains[0].author


def mark_in(store: Path) -> bytes | None:
    with open_reader(store) as reader:
        return reader.value(RECOVER, b"")


def test_a_copy_is_of_one_moment_though_the_writer_goes_on(store: Path, tmp_path: Path) -> None:
    writer, stop = SqliteStore(store), threading.Event()

    def write() -> None:
        number = 0
        while not stop.is_set():  # every commit changes both records, so a torn copy would show two numbers
            number += 1
            value = number.to_bytes(8, "big") * 2000
            writer.commit([Put("journal", b"a", value), Put("journal", b"z", value)])

    thread = threading.Thread(target=write)
    thread.start()
    try:
        copies = [back_up(store, tmp_path / f"copy{n}.db") for n in range(5)]
    finally:
        stop.set()
        thread.join()
        writer.close()
    for copy in copies:
        with open_reader(copy.path) as reader:
            assert reader.value("journal", b"a") == reader.value("journal", b"z")
        assert copy.found.ok
        assert copy.found.num_entries == 4
        assert copy.path.stat().st_mode & 0o777 == 0o600
    assert sorted(p.name for p in tmp_path.iterdir()) == [*(f"copy{n}.db" for n in range(5)), "run"]


def test_nothing_is_overwritten(store: Path, tmp_path: Path) -> None:
    (tmp_path / "copy.db").write_text("precious")
    with pytest.raises(ConfigError, match="exists already"):
        back_up(store, tmp_path / "copy.db")
    with pytest.raises(ConfigError, match="move it away"):
        restore(store, store.parent, None, as_it_was=False)


def test_a_damaged_store_is_not_taken_for_a_backup(store: Path, tmp_path: Path) -> None:
    db = sqlite3.connect(store)
    db.execute("DROP TRIGGER entry_no_update")
    db.execute("UPDATE entry SET raw = zeroblob(length(raw)) WHERE seq = 2")
    db.commit()
    db.close()
    with pytest.raises(HostError, match="does not verify, so it was not copied"):
        back_up(store, tmp_path / "copy.db")
    assert [p.name for p in tmp_path.iterdir()] == ["run"]


def test_a_folder_that_cannot_be_written_is_named(store: Path, tmp_path: Path) -> None:
    with pytest.raises(HostError, match=r"cannot write .*nowhere"):
        back_up(store, tmp_path / "nowhere" / "copy.db")


def test_what_is_put_back_is_marked_unless_nothing_was_signed_since(store: Path, tmp_path: Path) -> None:
    copy = back_up(store, tmp_path / "copy.db").path
    assert mark_in(restore(copy, tmp_path / "a", None, as_it_was=False).path) == index_key(0)
    assert mark_in(restore(copy, tmp_path / "b", None, as_it_was=True).path) is None
    assert [p.name for p in (tmp_path / "a").iterdir()] == ["node.db"]
    assert verify_store(tmp_path / "a" / "node.db").num_entries == 4


def test_a_backup_of_an_older_version_is_put_back(store: Path, tmp_path: Path) -> None:
    copy = back_up(store, tmp_path / "copy.db").path
    assert planned(copy).before == 1
    restored = restore(copy, tmp_path / "a", author_of(store), as_it_was=False)
    assert planned(restored.path).before == 2
    assert verify_store(restored.path).ok


def test_without_a_feed_there_is_nothing_to_mark(store: Path) -> None:
    assert mark_restored(store, bytes(32)) is None


def test_migrating_keeps_the_old_file(store: Path) -> None:
    before = list(feeds(store))
    done = migrate(store)
    assert (done.before, done.kept) == (1, store.with_name("node.v1.db"))
    assert done.kept is not None
    assert planned(done.kept).before == 1
    assert list(feeds(done.kept)) == list(feeds(store)) == before
    assert migrate(store) == planned(store)
    assert planned(store).adds == ()


def test_a_store_in_use_is_not_migrated(store: Path) -> None:
    import fcntl
    import os

    lock = os.open(store.with_name("node.db.lock"), os.O_RDWR | os.O_CREAT)
    fcntl.flock(lock, fcntl.LOCK_EX)
    try:
        with pytest.raises(ConfigError, match="stop it first"):
            migrate(store)
    finally:
        os.close(lock)
    assert planned(store).before == 1
    assert not store.with_name("node.v1.db").exists()


def feeds(store: Path) -> list[object]:
    with open_reader(store) as reader:
        return list(reader.rows())
