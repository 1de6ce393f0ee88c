"""One node's durable memory: one SQLite file, one writer. Knows rows; knows no meaning but that entries are for ever.

Durability is the point: write-ahead log, `synchronous=FULL`, one transaction per commit, so what `commit` returned from
survives power loss, and half a commit never shows. A commit costs one flush of the disk whatever its size, so callers
that have several waiting use `commit_many`. Tables, settings and versions: docs/formats/store.md.

Called from one worker thread; a lock makes any thread safe. A second process is kept out by a lock file beside the
database; readers (`reader.py`) need none.
"""

import contextlib
import fcntl
import os
import sqlite3
import threading
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path

from p2pfl.core.limits import MIB
from p2pfl.core.party import Put, Restored
from p2pfl.errors import ConfigError, HostError
from p2pfl.ledger.feeds.records import ENTRY, FINAL, check_final, check_of, check_value, entry_key, entry_to_put, is_new
from p2pfl.ledger.stores.migrations import FORMAT, GUARDS, script_from
from p2pfl.ledger.stores.reader import APPLICATION_ID, DAMAGE, check_format

_BUSY_S = 5.0
_WAL_BYTES_KEPT = 64 * MIB

_SCHEMA = """
CREATE TABLE entry(
    author BLOB NOT NULL, incarnation INTEGER NOT NULL, seq INTEGER NOT NULL, id BLOB NOT NULL UNIQUE,
    kind TEXT NOT NULL, round INTEGER NOT NULL, raw BLOB NOT NULL, PRIMARY KEY(author, incarnation, seq)) STRICT;
CREATE TABLE kv(
    space TEXT NOT NULL, key BLOB NOT NULL, value BLOB NOT NULL, check_value INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY(space, key)) STRICT;
CREATE TRIGGER entry_no_update BEFORE UPDATE ON entry BEGIN SELECT RAISE(ABORT, 'entries are insert-only'); END;
CREATE TRIGGER entry_no_delete BEFORE DELETE ON entry BEGIN SELECT RAISE(ABORT, 'entries are insert-only'); END;
CREATE TRIGGER entry_no_replace BEFORE INSERT ON entry WHEN EXISTS (SELECT 1 FROM entry WHERE id = NEW.id
    OR (author = NEW.author AND incarnation = NEW.incarnation AND seq = NEW.seq))
    BEGIN SELECT RAISE(ABORT, 'entries are insert-only'); END;
"""


class SqliteStore:
    """`core.party.Store` over the file `path`, made if it is not there. Its folder must be.

    Raises ConfigError if another process uses the file, or it is not a store of this version.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._guard = threading.Lock()
        self._held: int | None = _hold(path)
        try:
            self._db: sqlite3.Connection | None = _open(path)
        except BaseException:
            self._release()
            raise

    def load(self, spaces: Collection[str] | None = None) -> Restored:
        """All that was committed (of these `spaces` only, if given), keys in ascending order."""
        with self._guard:
            db = self._opened()
            try:
                return _load(db, spaces)
            except DAMAGE as error:
                raise HostError(f"cannot read {self.path}: {error}") from None

    def commit(self, puts: Sequence[Put]) -> None:
        """All or nothing; durable on return."""
        self.commit_many([puts])

    def commit_many(self, batches: Iterable[Sequence[Put]]) -> None:
        """Several commits as one: all or nothing, one flush of the disk.

        Raises LedgerError for a second entry at one position, and HostError when the disk refuses: then nothing was
        kept that a later `load` must show, and whoever cannot go on without it should stop and load again.
        """
        with self._guard:
            db = self._opened()
            try:
                db.execute("BEGIN IMMEDIATE")
                for puts in batches:
                    for put in puts:
                        _write(db, put)
                db.execute("COMMIT")
            except DAMAGE as error:
                raise HostError(f"cannot write {self.path}: {error}; nothing of this write was kept") from None
            finally:
                _roll_back(db)

    def close(self) -> None:
        """Fold the write-ahead log into the file and let others in. Closing twice is fine."""
        with self._guard:
            db, self._db = self._db, None
            try:
                if db is not None:
                    db.close()
            except sqlite3.Error as error:
                raise HostError(f"cannot close {self.path}: {error}") from None
            finally:
                self._release()

    def _opened(self) -> sqlite3.Connection:
        if self._db is None:
            raise HostError(f"the store {self.path} is closed")
        return self._db

    def _release(self) -> None:
        if self._held is not None:
            os.close(self._held)
            self._held = None


# ----------------------------------------------------------------------------------------------------- rows


def _load(db: sqlite3.Connection, spaces: Collection[str] | None) -> Restored:
    restored: dict[str, dict[bytes, bytes]] = {}
    if spaces is None or ENTRY in spaces:
        rows = db.execute("SELECT author, incarnation, seq, raw FROM entry ORDER BY author, incarnation, seq")
        restored[ENTRY] = {entry_key(author, incarnation, seq): raw for author, incarnation, seq, raw in rows}
    names = [row[0] for row in db.execute("SELECT DISTINCT space FROM kv ORDER BY space")]
    for space in names:
        if spaces is None or space in spaces:
            restored[space] = dict(db.execute("SELECT key, value FROM kv WHERE space = ? ORDER BY key", (space,)))
    return {space: rows for space, rows in restored.items() if rows}


def _write(db: sqlite3.Connection, put: Put) -> None:
    if put.space == ENTRY:
        _insert(db, put)
        return
    if put.space in FINAL:
        sql = "SELECT value FROM kv WHERE space = ? AND key = ?"
        row = db.execute(sql, (put.space, put.key)).fetchone()
        check_final(put, row[0] if row else None)
    if put.value is None:
        db.execute("DELETE FROM kv WHERE space = ? AND key = ?", (put.space, put.key))
    else:
        check_value(put)
        db.execute(
            "INSERT INTO kv VALUES (?, ?, ?, ?) ON CONFLICT (space, key) "
            "DO UPDATE SET value = excluded.value, check_value = excluded.check_value",
            (put.space, put.key, put.value, check_of(put.space, put.key, put.value)),
        )


def _insert(db: sqlite3.Connection, put: Put) -> None:
    entry = entry_to_put(put)
    place = (entry.author, entry.incarnation, entry.seq)
    columns = (*place, entry.id, entry.kind, entry.round, entry.raw)
    try:
        db.execute("INSERT INTO entry VALUES (?, ?, ?, ?, ?, ?, ?)", columns)
    except sqlite3.IntegrityError:  # nearly always the position is free: looked at only when it is not
        row = db.execute("SELECT raw FROM entry WHERE author = ? AND incarnation = ? AND seq = ?", place).fetchone()
        if is_new(row[0] if row else None, entry):
            raise


def _roll_back(db: sqlite3.Connection) -> None:
    """Undo what an error left open. SQLite has often done so itself, and a broken disk may refuse even this."""
    with contextlib.suppress(sqlite3.Error):
        if db.in_transaction:
            db.execute("ROLLBACK")


# -------------------------------------------------------------------------------------------------- opening


def _hold(path: Path) -> int:
    """A lock on `path`.lock that ends with the process, however that ends. Never a lock on the database itself:
    closing that descriptor would drop SQLite's own locks."""
    beside = path.with_name(path.name + ".lock")
    try:
        handle = os.open(beside, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise ConfigError(f"cannot write beside {path}: {error.strerror}") from None
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        owner = os.read(handle, 20).decode("ascii", "replace").strip()
        os.close(handle)
        raise ConfigError(f"another process{f' (pid {owner})' if owner else ''} uses {path}: stop it first") from None
    os.ftruncate(handle, 0)
    os.write(handle, f"{os.getpid()}\n".encode())
    return handle


def _open(path: Path) -> sqlite3.Connection:
    try:
        db = sqlite3.connect(path, timeout=_BUSY_S, isolation_level=None, check_same_thread=False)
        try:
            _prepare(db, path)
        except BaseException:
            db.close()
            raise
    except DAMAGE as error:
        raise ConfigError(f"cannot use {path} as a node's store: {error}") from None
    return db


def _prepare(db: sqlite3.Connection, path: Path) -> None:
    """Settings, and the tables if the file is new. Ends with a write lock taken and left, to see that we can write."""
    new = not db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
    format_ = FORMAT if new else check_format(db, path)
    for pragma in (
        "auto_vacuum = INCREMENTAL",  # before the first page, so that pruning can give space back
        "journal_mode = WAL",
        "synchronous = FULL",
        "fullfsync = ON",  # macOS: a real flush
        "checkpoint_fullfsync = ON",
        f"journal_size_limit = {_WAL_BYTES_KEPT}",
        "recursive_triggers = ON",  # INSERT OR REPLACE deletes through the trigger
        "trusted_schema = OFF",
        "cell_size_check = ON",
    ):
        db.execute(f"PRAGMA {pragma}")
    if db.execute("PRAGMA journal_mode").fetchone()[0] != "wal":
        raise ConfigError(f"{path}: this file system does not carry a write-ahead log; choose a local disk")
    if new:
        stamp = f"PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {FORMAT};"
        db.executescript(f"BEGIN IMMEDIATE; {_SCHEMA} {GUARDS} {stamp} COMMIT;")
        _flush_folder(path.parent)
    elif format_ != FORMAT:
        _migrate(db, format_)
    db.execute("BEGIN IMMEDIATE")
    db.execute("ROLLBACK")


def _migrate(db: sqlite3.Connection, format_: int) -> None:
    """A store of an older format, made into one of this: all of it or nothing."""
    db.create_function("check_of", 3, check_of, deterministic=True)
    try:
        db.executescript(script_from(format_))
    finally:
        _roll_back(db)


def _flush_folder(folder: Path) -> None:
    """Make the new file's name durable too."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
