"""What only a file can do: be locked, full, foreign, of another version, or cut off by a killed process."""

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from p2pfl.core.party import Put
from p2pfl.errors import ConfigError, HostError
from p2pfl.ledger.check.verify import verify_store
from p2pfl.ledger.feeds.records import ENTRY, put_entry
from p2pfl.ledger.stores.reader import APPLICATION_ID, open_reader
from p2pfl.ledger.stores.sqlite import SqliteStore


def ask(path: Path, sql: str) -> Any:
    db = sqlite3.connect(path)
    try:
        with db:
            return db.execute(sql).fetchall()
    finally:
        db.close()


def test_the_file_says_what_it_is(world: Any, tmp_path: Path) -> None:
    path = world.write(tmp_path / "node.db", world.story())
    assert ask(path, "PRAGMA application_id") == [(APPLICATION_ID,)]
    assert APPLICATION_ID.to_bytes(4, "big") == b"P2PF"
    assert ask(path, "PRAGMA user_version") == [(2,)]
    assert ask(path, "PRAGMA journal_mode") == [("wal",)]
    assert ask(path, "PRAGMA auto_vacuum") == [(2,)]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["node.db", "node.db.lock"]


def test_every_commit_is_flushed(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "node.db")
    assert store._db is not None
    assert store._db.execute("PRAGMA synchronous").fetchone() == (2,)
    store.close()


@pytest.mark.parametrize(
    "sql",
    [
        "UPDATE entry SET round = 7",
        "DELETE FROM entry",
        "REPLACE INTO entry SELECT author, incarnation, seq, id, kind, 99, raw FROM entry",
        "INSERT OR REPLACE INTO entry SELECT author, 7, seq, id, kind, 99, raw FROM entry",
    ],
)
def test_the_tables_themselves_refuse_to_change_an_entry(world: Any, tmp_path: Path, sql: str) -> None:
    path = world.write(tmp_path / "node.db", world.story())
    with pytest.raises(sqlite3.IntegrityError, match="insert-only"):
        ask(path, sql)
    assert verify_store(path).ok


def test_one_writer_in_a_process(tmp_path: Path) -> None:
    path = tmp_path / "node.db"
    store = SqliteStore(path)
    with pytest.raises(ConfigError, match=f"another process .pid {os.getpid()}. uses"):
        SqliteStore(path)
    store.close()
    SqliteStore(path).close()


HOLD = """
import sys
from pathlib import Path
from p2pfl.core.party import Put
from p2pfl.ledger.stores.sqlite import SqliteStore
store = SqliteStore(Path(sys.argv[1]))
for number in range(5):
    store.commit([Put("journal", bytes([number]), bytes(100))])
store._db.execute("BEGIN IMMEDIATE")
store._db.execute("INSERT INTO kv VALUES ('journal', x'ff', x'00', 0)")
print("ready", flush=True)
sys.stdin.readline()
"""


def test_another_process_is_kept_out_and_its_death_lets_us_in(tmp_path: Path) -> None:
    """A killed process leaves what it had committed, and not the transaction it was in."""
    path = tmp_path / "node.db"
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"ready\n"
        with pytest.raises(ConfigError, match=f"pid {other.pid}.*stop it first"):
            SqliteStore(path)
        other.send_signal(signal.SIGKILL)
    assert (tmp_path / "node.db-wal").stat().st_size > 0
    store = SqliteStore(path)
    assert store.load() == {"journal": {bytes([number]): bytes(100) for number in range(5)}}
    store.close()


def test_a_full_disk_is_one_line_and_keeps_what_was_there(world: Any, tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "node.db")
    first = put_entry(world.story()[0])
    store.commit([first])
    assert store._db is not None
    store._db.execute("PRAGMA max_page_count = 20")
    with pytest.raises(HostError, match=r"cannot write .*node\.db: database or disk is full; nothing") as caught:
        store.commit([Put("snapshot", b"small", b"1"), Put("snapshot", b"big", bytes(1 << 20))])
    assert "\n" not in str(caught.value)
    assert store.load() == {ENTRY: {first.key: first.value}}
    store._db.execute("PRAGMA max_page_count = 100000")
    store.commit([Put("snapshot", b"big", bytes(1 << 20))])
    store.close()


LIMITED = """
import resource, signal, sys
from pathlib import Path
from p2pfl.core.party import Put
from p2pfl.errors import HostError
from p2pfl.ledger.stores.sqlite import SqliteStore
store = SqliteStore(Path(sys.argv[1]))
store.commit([Put("journal", b"kept", bytes(100))])
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, resource.RLIM_INFINITY))
try:
    store.commit([Put("journal", b"a", b"1"), Put("snapshot", b"big", bytes(1 << 20))])
except HostError as error:
    print(str(error).count("\\n"), sorted(store.load()["journal"]))
"""


def test_a_disk_that_refuses_bytes_is_a_host_error(tmp_path: Path) -> None:
    """The operating system itself refuses, in the middle of a write."""
    path = tmp_path / "node.db"
    done = subprocess.run([sys.executable, "-c", LIMITED, str(path)], capture_output=True, text=True, check=True)
    assert done.stdout == "0 [b'kept']\n"
    store = SqliteStore(path)
    assert store.load() == {"journal": {b"kept": bytes(100)}}
    store.close()


def test_what_is_not_our_file_is_refused_and_left_alone(world: Any, tmp_path: Path) -> None:
    text = tmp_path / "text.db"
    text.write_text("this is no database, but it is long enough to look at. " * 20)
    foreign = tmp_path / "foreign.db"
    ask(foreign, "CREATE TABLE t(x)")
    newer = world.write(tmp_path / "newer.db", world.story())
    ask(newer, "PRAGMA user_version = 3")
    for path, words in (
        (text, "not a database"),
        (foreign, "not of a p2pfl node"),
        (newer, "format 2 or older, got 3"),
    ):
        before = path.read_bytes()
        with pytest.raises(ConfigError, match=words):
            SqliteStore(path)
        with pytest.raises(ConfigError, match=words), open_reader(path):
            pass
        assert path.read_bytes() == before
    with pytest.raises(ConfigError, match="No such file"):
        SqliteStore(tmp_path / "nowhere" / "node.db")


def test_threads_take_turns(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "node.db")

    def write(name: int) -> None:
        for number in range(10):
            store.commit([Put("journal", bytes([name, number]), b"x")])

    threads = [threading.Thread(target=write, args=(name,)) for name in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(store.load()["journal"]) == 40
    store.close()


# ------------------------------------------------------------------------------------------------- reading


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize("state", ["closed", "crashed", "copied without index"])
def test_reading_changes_nothing(world: Any, tmp_path: Path, state: str) -> None:
    live, folder = tmp_path / "live", tmp_path / "copy"
    live.mkdir()
    entries = world.story(windows=3)
    store = SqliteStore(live / "node.db")
    for entry in entries:
        store.commit([put_entry(entry)])
    if state == "closed":
        store.close()
    shutil.copytree(live, folder)  # with the log and its index, unless it was closed: as a power loss leaves them
    store.close()
    if state == "copied without index":
        (folder / "node.db-shm").unlink()
    before = contents(folder)
    assert ("node.db-wal" in before) == (state != "closed")
    result = verify_store(folder / "node.db")
    assert (result.ok, result.num_entries) == (True, len(entries))
    assert contents(folder) == before


WRITE_ON = """
import sys
from pathlib import Path
from p2pfl.core.party import Put
from p2pfl.ledger.stores.sqlite import SqliteStore
store = SqliteStore(Path(sys.argv[1]))
for line in sys.stdin:
    store.commit([Put("journal", line.encode(), bytes(3000))])
    print("done", flush=True)
store.close()
"""


def test_reading_beside_a_running_node(world: Any, tmp_path: Path) -> None:
    entries = world.story()
    path = world.write(tmp_path / "node.db", entries)
    with subprocess.Popen(
        [sys.executable, "-c", WRITE_ON, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as node:
        assert node.stdin is not None
        assert node.stdout is not None
        for number in range(4):
            node.stdin.write(f"{number}\n")
            node.stdin.flush()
            assert node.stdout.readline() == "done\n"
            before = {name: raw for name, raw in contents(tmp_path).items() if not name.endswith("-shm")}
            result = verify_store(path)
            assert (result.ok, result.num_entries) == (True, len(entries))
            after = {name: raw for name, raw in contents(tmp_path).items() if not name.endswith("-shm")}
            assert after == before
        node.stdin.close()
        assert node.wait() == 0
    store = SqliteStore(path)
    assert len(store.load()["journal"]) == 4
    store.close()
