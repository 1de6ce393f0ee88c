"""Files that older versions wrote, kept as they wrote them, become files of this version; newer ones are refused."""

import gzip
import sqlite3
from pathlib import Path

import pytest

from p2pfl.errors import ConfigError
from p2pfl.ledger.check.verify import verify_store
from p2pfl.ledger.stores.migrations import FORMAT, STEPS, check_known, steps_from
from p2pfl.ledger.stores.reader import open_reader
from p2pfl.ledger.stores.sqlite import SqliteStore

VECTORS = Path(__file__).resolve().parents[1] / "vectors"


def test_the_chain_has_no_gap() -> None:
    assert sorted(STEPS) == list(range(1, FORMAT))
    assert [len(steps_from(version)) for version in range(1, FORMAT + 1)] == list(range(FORMAT - 1, -1, -1))


def test_there_is_a_file_of_every_older_format() -> None:
    assert {int(path.name.split(".")[1][1:]) for path in VECTORS.glob("store.v*.db.gz")} == set(STEPS)


@pytest.mark.parametrize("version", sorted(STEPS))
def test_what_an_older_version_wrote_is_all_there_afterwards(version: int, tmp_path: Path) -> None:
    path = tmp_path / "node.db"
    path.write_bytes(gzip.decompress((VECTORS / f"store.v{version}.db.gz").read_bytes()))
    with open_reader(path) as reader:
        assert reader.format == version
        rows, cells = list(reader.rows()), [cell[:3] for cell in reader.cells()]
    SqliteStore(path).close()
    with open_reader(path) as reader:
        assert reader.format == FORMAT
        assert list(reader.rows()) == rows
        assert [cell[:3] for cell in reader.cells()] == cells
        assert all(isinstance(cell.check, int) for cell in reader.cells())
    assert len(rows) == 4
    assert verify_store(path).ok


def test_a_migrated_file_has_the_tables_of_a_new_one(tmp_path: Path) -> None:
    path = tmp_path / "old.db"
    path.write_bytes(gzip.decompress((VECTORS / "store.v1.db.gz").read_bytes()))
    for name in ("old.db", "new.db"):
        SqliteStore(tmp_path / name).close()
    old, new = (described(tmp_path / name) for name in ("old.db", "new.db"))
    assert old == new


def described(path: Path) -> list[object]:
    db = sqlite3.connect(path)
    try:
        tables = [db.execute(f"PRAGMA table_info({table})").fetchall() for table in ("entry", "kv")]
        names = db.execute("SELECT type, name, tbl_name FROM sqlite_master ORDER BY name").fetchall()
        return [*tables, names]
    finally:
        db.close()


@pytest.mark.parametrize(
    ("version", "words"), [(FORMAT + 1, "update p2pfl on this machine"), (0, f"1 to {FORMAT}, got 0"), ("x", "got 'x'")]
)
def test_other_formats_are_refused_with_what_to_do(version: object, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        check_known(version, "node.db")
