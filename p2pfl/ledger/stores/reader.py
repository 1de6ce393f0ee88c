"""Reading a node's store from outside: while the node runs, after a crash, or in a read-only copy. Never writes.

Opening a write-ahead-logged database, even with `mode=ro`, makes files beside it. So: a store without a log was closed
cleanly and is opened as immutable; one with a log and its index is opened with a read-only index; a log without index
(an incomplete copy) is copied to a temporary folder and read there.

All that one reader reads is of one moment, that of its opening: the writer goes on and is not seen, so that a tip, a
state and the entries below them fit each other. Its log grows meanwhile, so a reader is opened for one question.
"""

import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from p2pfl.core.ids import short
from p2pfl.errors import BrokenChain, ConfigError, HostError
from p2pfl.ledger.feeds.records import BRANCH, RECEIPT
from p2pfl.ledger.stores.migrations import FEEDS_ONLY, FORMAT, check_known

STORE = "node.db"
"""What the file is called in a run's folder."""

APPLICATION_ID = 0x50325046
"""`P2PF` in the file's header: ours, and not another program's database."""

DAMAGE = (sqlite3.Error, UnicodeDecodeError)
"""What reading a damaged file can raise: SQLite quotes damaged names, and Python decodes the message."""


class Row(NamedTuple):
    """A row of the entry table as it lies there. In a damaged file a cell may be of any type."""

    author: object
    incarnation: object
    seq: object
    id: object
    kind: object
    round: object
    raw: object

    @property
    def name(self) -> str:
        """As `Entry.name`, from the columns, whatever they hold."""
        author = short(self.author) if isinstance(self.author, bytes) else repr(self.author)
        id_ = short(self.id) if isinstance(self.id, bytes) else repr(self.id)
        return f"{author}/{self.incarnation}/{self.seq} ({id_})"


class Cell(NamedTuple):
    """A row of the kv table as it lies there; `check` is None in a store of the format before."""

    space: object
    key: object
    value: object
    check: object


class Reader:
    """A store opened for reading. Spaces are read from tables, not indexes: a damaged index must not hide a row."""

    def __init__(self, db: sqlite3.Connection, path: Path, format_: int = FORMAT) -> None:
        self._db = db
        self.path = path
        self.format = format_

    def rows(self) -> Iterator[Row]:
        """All entries by author, incarnation and seq. Raises BrokenChain where the file cannot be read on."""
        sql = (
            "SELECT author, incarnation, seq, id, kind, round, raw FROM entry NOT INDEXED "
            "ORDER BY author, incarnation, seq"
        )
        row: Row | None = None
        try:
            for cells in self._db.execute(sql):
                row = Row._make(cells)
                yield row
        except DAMAGE as error:
            last = row.name if row else "the beginning"
            raise BrokenChain(f"{self.path}: entries cannot be read after {last}: {error}") from None

    def count_entries(self) -> int:
        """How many there are, final or not."""
        try:
            return int(self._db.execute("SELECT count(*) FROM entry").fetchone()[0])
        except DAMAGE as error:
            raise BrokenChain(f"{self.path}: entries cannot be counted: {error}") from None

    def receipts(self) -> Iterator[tuple[object, object]]:
        """Keys and values of the space "receipt". Raises BrokenChain where the file cannot be read on."""
        for cell in self.cells(RECEIPT):
            yield cell.key, cell.value

    def cells(self, space: str | None = None) -> Iterator[Cell]:
        """All rows of the kv table (of one space, if given) by space and key. Raises BrokenChain as `rows`."""
        check = "check_value" if self.format > FEEDS_ONLY else "NULL"
        where = "" if space is None else "WHERE space = CAST(? AS TEXT) "
        sql = f"SELECT space, key, value, {check} FROM kv NOT INDEXED {where}ORDER BY space, key"
        cell: Cell | None = None
        try:
            for cells in self._db.execute(sql, () if space is None else (space,)):
                cell = Cell._make(cells)
                yield cell
        except DAMAGE as error:
            last = f"{_text(cell.space)} {cell.key!r}" if cell else "the beginning"
            raise BrokenChain(f"{self.path}: records cannot be read after {last}: {error}") from None

    def value(self, space: str, key: bytes) -> bytes | None:
        """One value, by the index; None if there is none. Raises BrokenChain if the file cannot be read there."""
        sql = "SELECT value FROM kv WHERE space = CAST(? AS TEXT) AND key = ?"
        try:
            row = self._db.execute(sql, (space, key)).fetchone()
        except DAMAGE as error:
            raise BrokenChain(f"{self.path}: {space} {key.hex()} cannot be read: {error}") from None
        return row[0] if row and isinstance(row[0], bytes) else None

    def entry(self, id_: bytes) -> bytes | None:
        """The raw entry with this id, by the index: of a feed, or of a branch that became final instead of it."""
        raw = self._raw("SELECT raw FROM entry WHERE id = ?", (id_,))
        return raw if raw is not None else self.value(BRANCH, id_)

    def stretch(self, author: bytes, incarnation: int, first: int, last: int) -> list[bytes]:
        """The raw entries at first <= seq <= last of a feed, as far as they are here, by the index."""
        sql = "SELECT raw FROM entry WHERE author = ? AND incarnation = ? AND seq BETWEEN ? AND ? ORDER BY seq"
        try:
            return [
                raw for (raw,) in self._db.execute(sql, (author, incarnation, first, last)) if isinstance(raw, bytes)
            ]
        except DAMAGE as error:
            raise BrokenChain(f"{self.path}: entries cannot be read: {error}") from None

    def entries_between(self, low: bytes, high: bytes, limit: int) -> list[bytes]:
        """Raw entries whose id is in low..high, by the index."""
        sql = "SELECT raw FROM entry WHERE id BETWEEN ? AND ? ORDER BY id LIMIT ?"
        try:
            return [raw for (raw,) in self._db.execute(sql, (low, high, limit)) if isinstance(raw, bytes)]
        except DAMAGE as error:
            raise BrokenChain(f"{self.path}: entries cannot be read: {error}") from None

    def _raw(self, sql: str, values: tuple[object, ...]) -> bytes | None:
        try:
            row = self._db.execute(sql, values).fetchone()
        except DAMAGE as error:
            raise BrokenChain(f"{self.path}: an entry cannot be read: {error}") from None
        return row[0] if row and isinstance(row[0], bytes) else None

    def copy_into(self, path: Path) -> None:
        """Make `path` (new or empty) a store that is closed cleanly and holds what this one held at one moment.

        The writer goes on meanwhile: its log grows until the copy is done. Raises HostError if `path` refuses.
        """
        try:
            with closing(sqlite3.connect(path, isolation_level=None)) as copy:
                self._db.backup(copy)
                copy.execute("PRAGMA journal_mode = DELETE")  # one file, with nothing beside it
        except sqlite3.Error as error:
            raise HostError(f"cannot copy {self.path} to {path}: {error}") from None

    def integrity(self) -> list[str]:
        """What SQLite itself finds wrong with the file."""
        try:
            lines = [_text(line) for (line,) in self._db.execute("PRAGMA integrity_check(100)")]
        except DAMAGE as error:
            return [str(error)]
        return [] if lines == ["ok"] else [line for text in lines for line in text.splitlines()]


@contextmanager
def open_reader(path: Path) -> Iterator[Reader]:
    """A Reader of the store `path` as it is now. Raises ConfigError if there is none, or it is not of this version."""
    if not path.is_file():
        raise ConfigError(f"{path}: expected a node's store, found {'a folder' if path.is_dir() else 'nothing'}")
    with ExitStack() as stack:
        try:
            db = sqlite3.connect(_uri(path, stack), uri=True, isolation_level=None)
            stack.callback(db.close)
            db.text_factory = bytes  # a damaged text must be seen, not raise
            db.execute("BEGIN")  # the first read within it fixes the moment
            format_ = check_format(db, path)
        except (*DAMAGE, OSError) as error:
            raise ConfigError(f"cannot read {path} as a node's store: {error}") from None
        yield Reader(db, path, format_)


def _uri(path: Path, stack: ExitStack) -> str:
    log, index = (path.with_name(path.name + suffix) for suffix in ("-wal", "-shm"))
    if not log.exists():
        return f"{path.resolve().as_uri()}?mode=ro&immutable=1"
    if index.exists():
        return f"{path.resolve().as_uri()}?mode=ro&readonly_shm=1"
    folder = Path(stack.enter_context(TemporaryDirectory(prefix="p2pfl-")))
    copy = folder / path.name
    shutil.copyfile(path, copy)
    shutil.copyfile(log, folder / log.name)
    return f"{copy.as_uri()}?mode=rw"


def check_format(db: sqlite3.Connection, path: Path) -> int:
    """The format of the file. Raises ConfigError unless it is a store of this version or one before."""
    application = db.execute("PRAGMA application_id").fetchone()[0]
    version = db.execute("PRAGMA user_version").fetchone()[0]
    if application != APPLICATION_ID:
        raise ConfigError(f"{path} is a database, but not of a p2pfl node")
    return check_known(version, path)


def _text(cell: object) -> str:
    return cell.decode("utf-8", "replace") if isinstance(cell, bytes) else str(cell)
