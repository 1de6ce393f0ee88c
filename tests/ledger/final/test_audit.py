"""The second opinion on what is final: every changed byte of every record is found, and the record is named."""

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from p2pfl.core.ids import NodeId
from p2pfl.ledger.blocks.cut import order
from p2pfl.ledger.check.audit import causal, cell_name, check_cell
from p2pfl.ledger.check.verify import Verification, check_row, verify_store
from p2pfl.ledger.feeds.entry import Entry
from p2pfl.ledger.feeds.records import check_of
from p2pfl.ledger.stores.reader import Cell, Row, open_reader
from p2pfl.ledger.stores.sqlite import SqliteStore

TRIGGERS = ("entry_no_update", "entry_no_delete", "entry_no_replace", "kv_no_update", "kv_no_delete")


class Damaged:
    """A good store of some 200 entries, and one connection to spoil it with."""

    def __init__(self, network: Any, path: Path) -> None:
        self.network, self.path = network, network.write(path)
        self.db = sqlite3.connect(path, isolation_level=None)
        self.db.execute("PRAGMA synchronous = OFF")
        for trigger in TRIGGERS:
            self.db.execute(f"DROP TRIGGER {trigger}")

    def cells(self) -> list[tuple[str, bytes, bytes]]:
        return self.db.execute("SELECT space, key, value FROM kv ORDER BY space, key").fetchall()

    def put(self, space: str, key: bytes, value: bytes, honest: bool) -> None:
        """`honest`: with the check value that fits, as somebody would who knows the format."""
        check = check_of(space, key, value) if honest else None
        sql = "UPDATE kv SET value = ?, check_value = coalesce(?, check_value) WHERE space = ? AND key = ?"
        self.db.execute(sql, (value, check, space, key))

    def run(self, sql: str, *values: object) -> Verification:
        self.db.execute("BEGIN")
        self.db.execute(sql, values)
        self.db.execute("COMMIT")
        return verify_store(self.path)


@pytest.fixture
def damaged(make_played: Any, tmp_path: Path) -> Iterator[Damaged]:
    damaged = Damaged(make_played(13), tmp_path / "node.db")
    yield damaged
    damaged.db.close()


def named(result: Verification) -> set[str]:
    return {problem.where for problem in result.problems}


def test_a_good_ledger_is_good(damaged: Damaged) -> None:
    result = verify_store(damaged.path)
    assert result.problems == ()
    network = damaged.network
    assert (result.height, result.num_final) == (13, len(network.entries))
    assert result.num_final >= 200
    assert result.root == network.tip.log.root()
    assert verify_store(damaged.path, network.genesis).ok


def test_a_genesis_with_another_comment_is_not_the_stored_one(damaged: Damaged) -> None:
    """The network's id is of the values; the record is of every byte."""
    text = damaged.network.genesis.to_toml()
    damaged.put("genesis", b"", text.replace("# Genesis", "# genesis").encode(), honest=True)
    (problem,) = verify_store(damaged.path).problems
    assert problem.where == "the record genesis"
    damaged.put("genesis", b"", text.encode(), honest=True)
    assert verify_store(damaged.path).ok


def test_another_genesis_is_another_network(damaged: Damaged, make_network: Any) -> None:
    other = make_network(name="other").genesis
    problems = verify_store(damaged.path, other).problems
    assert "the record genesis" in {problem.where for problem in problems}
    assert any("network: expected" in problem.what for problem in problems)


@pytest.mark.parametrize("honest", [False, True], ids=["damage", "forgery"])
@pytest.mark.parametrize(
    "step", [pytest.param(2503, id="sampled"), pytest.param(41, id="more", marks=pytest.mark.soak)]
)
def test_a_changed_byte_of_a_record_is_found_and_named(damaged: Damaged, step: int, honest: bool) -> None:
    at = 0
    for space, key, value in damaged.cells():
        if space == "checkpoint" and honest:
            continue  # a signature line with another name is another witness's: nothing is wrong with it
        while at < len(value):
            bad = bytearray(value)
            bad[at] ^= 1 << (at % 8)
            damaged.put(space, key, bytes(bad), honest)
            names = named(verify_store(damaged.path))
            assert names, f"byte {at} of {cell_name(space, key)}"
            if space == "genesis":  # perhaps another network: nothing follows from it any more
                assert "the record genesis" in names, f"byte {at}: {names}"
            else:
                number = int.from_bytes(key, "big") if space == "final" else 0
                assert names & {cell_name(space, key), f"certificate at height {number}"}, f"{space} {at}: {names}"
            damaged.put(space, key, value, True)
            at += step
        at -= len(value)
    assert verify_store(damaged.path).ok


@pytest.mark.parametrize(
    "step", [pytest.param(5003, id="sampled"), pytest.param(41, id="more", marks=pytest.mark.soak)]
)
def test_a_changed_byte_of_an_entry_is_found_and_named(damaged: Damaged, step: int) -> None:
    at = 0
    for entry in damaged.network.entries:
        while at < len(entry.raw):
            bad = bytearray(entry.raw)
            bad[at] ^= 1 << (at % 8)
            names = named(damaged.run("UPDATE entry SET raw = ? WHERE id = ?", bytes(bad), entry.id))
            assert entry.name in names
            damaged.run("UPDATE entry SET raw = ? WHERE id = ?", entry.raw, entry.id)
            at += step
        at -= len(entry.raw)


@pytest.mark.slow
def test_no_byte_of_any_record_or_entry_can_change_unseen(damaged: Damaged) -> None:
    """Each byte of the store of 200 entries, by the check that every object goes through; the wiring is above."""
    for space, key, value in damaged.cells():
        good = check_of(space, key, value)
        for at in range(len(value)):
            bad = value[:at] + bytes([value[at] ^ (1 << (at % 8))]) + value[at + 1 :]
            assert check_cell(Cell(space.encode(), key, bad, good), space), f"byte {at} of {cell_name(space, key)}"
    for e in damaged.network.entries:
        for at in range(len(e.raw)):
            raw = e.raw[:at] + bytes([e.raw[at] ^ (1 << (at % 8))]) + e.raw[at + 1 :]
            row = Row(e.author, e.incarnation, e.seq, e.id, e.kind.encode(), e.round, raw)
            assert check_row(row)[1], f"byte {at} of {e.name}"


@pytest.mark.parametrize("place", ["key", "space", "check_value"])
def test_other_columns_are_covered_too(damaged: Damaged, place: str) -> None:
    for space, key, _ in damaged.cells()[::197]:
        sql = f"SELECT rowid, {place} FROM kv WHERE space = ? AND key = ?"
        row, value = damaged.db.execute(sql, (space, key)).fetchone()
        bad = {
            "key": key + b"\1",
            "space": space + "x",
            "check_value": value ^ 1 if place == "check_value" else 0,
        }
        assert not damaged.run(f"UPDATE kv SET {place} = ? WHERE rowid = ?", bad[place], row).ok
        assert damaged.run(f"UPDATE kv SET {place} = ? WHERE rowid = ?", value, row).ok


def test_a_missing_record_is_found_and_named(damaged: Damaged) -> None:
    for space, key, value in damaged.cells()[::83]:
        check = check_of(space, key, value)
        result = damaged.run("DELETE FROM kv WHERE space = ? AND key = ?", space, key)
        names = named(result)
        height = int.from_bytes(key, "big") if len(key) == 8 else 0
        expected = {cell_name(space, key), f"block at height {height + 1}", f"block at height {height - 1}"}
        assert space == "checkpoint" or names & expected or (space == "genesis" and names), (
            f"{space} {key.hex()}: {names}"
        )
        damaged.run("INSERT INTO kv VALUES (?, ?, ?, ?)", space, key, value, check)


def test_entries_missing_at_the_end_of_a_finalized_feed_are_found(damaged: Damaged) -> None:
    last = damaged.network.entries[-1]
    problems = damaged.run("DELETE FROM entry WHERE id = ?", last.id).problems
    assert any(last.name in problem.what and "not here" in problem.what for problem in problems)


def test_a_block_that_no_certificate_proves_is_found(make_network: Any, tmp_path: Path) -> None:
    network = make_network()
    network.say(0, "leave", [1])
    network.close()
    network.close(certified=False)
    assert named(verify_store(network.write(tmp_path / "node.db"))) == {"block at height 2"}


def test_a_branch_that_became_final_instead_of_the_stored_one_is_followed(make_network: Any, tmp_path: Path) -> None:
    """The entry table holds what this node saw first; finality chose the other branch."""
    from p2pfl.core.party import Put
    from p2pfl.ledger.feeds.entry import make
    from p2pfl.ledger.feeds.records import put_entry

    network = make_network()
    entry = network.say(1, "model", [b"\x11" * 32, 0])
    network.close()
    mine = make(network.nodes[1], network.net, (0, entry.seq), entry.prev, 0, "model", [b"\x22" * 32, 0])
    first = put_entry(entry)
    network.puts = [put_entry(mine) if put == first else put for put in network.puts]
    network.puts.append(Put("branch", entry.id, entry.raw))
    assert verify_store(network.write(tmp_path / "node.db")).ok


def test_what_is_final_is_never_changed_by_the_store(damaged: Damaged, make_played: Any, tmp_path: Path) -> None:
    path = make_played(3).write(tmp_path / "other.db")
    db = sqlite3.connect(path)
    for sql in ("UPDATE kv SET value = x'00' WHERE space = 'node'", "DELETE FROM kv WHERE space = 'leaf'"):
        with pytest.raises(sqlite3.IntegrityError, match="insert-only"):
            db.execute(sql)
    db.close()


def test_writing_the_same_again_is_harmless(make_played: Any, tmp_path: Path) -> None:
    network = make_played(3)
    path = network.write(tmp_path / "node.db")
    store = SqliteStore(path)
    store.commit(network.puts[-40:])
    store.close()
    assert verify_store(path).ok


class Stub:
    """As much of an entry as its order takes."""

    def __init__(self, number: int, author: int, seq: int, refs: set[int]) -> None:
        self.id, self.author = bytes([number]) * 32, NodeId(bytes([author]) * 32)
        self.incarnation, self.seq = 0, seq
        self.prev = bytes(32)
        self.refs = tuple(bytes([ref]) * 32 for ref in sorted(refs))


@settings(max_examples=100, deadline=None)
@given(data=st.data())
def test_both_orders_are_the_same(data: st.DataObject) -> None:
    """Finality's way and the auditor's, on random feeds with random references to earlier entries."""
    feeds: dict[int, list[Stub]] = {}
    stubs: list[Stub] = []
    for number in range(1, data.draw(st.integers(1, 30))):
        author = data.draw(st.integers(0, 4))
        refs = data.draw(st.sets(st.integers(1, max(1, number - 1)), max_size=3)) if number > 1 else set()
        chain = feeds.setdefault(author, [])
        stub = Stub(number, author, len(chain), {ref for ref in refs if ref < number})
        if chain:
            stub.prev = chain[-1].id
        chain.append(stub)
        stubs.append(stub)
    entries: list[Entry] = stubs  # type: ignore[assignment]
    chains: Any = feeds.values()
    assert causal(reversed(entries)) == order(chains)


def test_the_reader_finds_branches_by_id(make_played: Any, tmp_path: Path) -> None:
    network = make_played(2)
    with open_reader(network.write(tmp_path / "node.db")) as reader:
        assert reader.entry(network.entries[0].id) == network.entries[0].raw
        assert reader.entry(b"\0" * 32) is None
