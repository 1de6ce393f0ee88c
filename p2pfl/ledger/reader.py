"""Reading a node's store from outside: while the node runs, after a crash, or in a read-only copy. Never writes.

Opening a write-ahead-logged database, even with `mode=ro`, makes files beside it. So: a store without a log was closed
cleanly and is opened as immutable; one with a log and its index is opened with a read-only index; a log without index
(an incomplete copy) is copied to a temporary folder and read there.
"""

import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from p2pfl.core.ids import short
from p2pfl.errors import BrokenChain, ConfigError
from p2pfl.ledger.records import RECEIPT

APPLICATION_ID = 0x50325046
"""`P2PF` in the file's header: ours, and not another program's database."""

FORMAT = 1
"""`user_version` of the file."""


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


class Reader:
    """A store opened for reading. Reads tables, not indexes: a damaged index must not hide a row."""

    def __init__(self, db: sqlite3.Connection, path: Path) -> None:
        self._db = db
        self.path = path

    def rows(self) -> Iterator[Row]:
        """All entries by author, incarnation and seq. Raises BrokenChain where the file cannot be read on."""
        sql = (
            "SELECT author, incarnation, seq, id, kind, round, raw FROM entry NOT INDEXED "
            "ORDER BY author, incarnation, seq"
        )
        last = "the beginning"
        try:
            for cells in self._db.execute(sql):
                row = Row(*cells)
                last = row.name
                yield row
        except DAMAGE as error:
            raise BrokenChain(f"{self.path}: entries cannot be read after {last}: {error}") from None

    def receipts(self) -> Iterator[tuple[object, object]]:
        """Keys and values of the space "receipt". Raises BrokenChain where the file cannot be read on."""
        sql = "SELECT key, value FROM kv NOT INDEXED WHERE space = CAST(? AS TEXT) ORDER BY key"
        try:
            yield from self._db.execute(sql, (RECEIPT,))
        except DAMAGE as error:
            raise BrokenChain(f"{self.path}: receipts cannot be read: {error}") from None

    def integrity(self) -> list[str]:
        """What SQLite itself finds wrong with the file."""
        try:
            lines = [_text(line) for (line,) in self._db.execute("PRAGMA integrity_check(100)")]
        except DAMAGE as error:
            return [str(error)]
        return [] if lines == ["ok"] else [line for text in lines for line in text.splitlines()]


@contextmanager
def open_reader(path: Path) -> Iterator[Reader]:
    """A Reader of the store `path`. Raises ConfigError if there is none, or it is not one of this version."""
    if not path.is_file():
        raise ConfigError(f"{path}: expected a node's store, found {'a folder' if path.is_dir() else 'nothing'}")
    with ExitStack() as stack:
        try:
            db = sqlite3.connect(_uri(path, stack), uri=True, isolation_level=None)
            stack.callback(db.close)
            db.text_factory = bytes  # a damaged text must be seen, not raise
            check_format(db, path)
        except (*DAMAGE, OSError) as error:
            raise ConfigError(f"cannot read {path} as a node's store: {error}") from None
        yield Reader(db, path)


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


def check_format(db: sqlite3.Connection, path: Path) -> None:
    """Raises ConfigError unless the file is a store of this version."""
    application = db.execute("PRAGMA application_id").fetchone()[0]
    version = db.execute("PRAGMA user_version").fetchone()[0]
    if application != APPLICATION_ID:
        raise ConfigError(f"{path} is a database, but not of a p2pfl node")
    if version != FORMAT:
        raise ConfigError(f"{path}: expected store format {FORMAT}, got {version}: made by another version of p2pfl")


def _text(cell: object) -> str:
    return cell.decode("utf-8", "replace") if isinstance(cell, bytes) else str(cell)
