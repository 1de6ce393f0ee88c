"""`p2pfl ledger`: what it prints, how it chooses nodes and entries, its exit codes. It reads files and changes none."""

import json
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from p2pfl.cli import main
from p2pfl.ledger.feeds.entry import Entry
from p2pfl.ledger.feeds.feed import Feed, append, append_rows
from p2pfl.ledger.feeds.kinds import ACCEPTED, REJECTED, ModelDigest, Opening, Reveal
from p2pfl.ledger.feeds.records import put_entry
from p2pfl.ledger.feeds.tally import Tally
from p2pfl.ledger.stores.sqlite import SqliteStore
from p2pfl.wire.keyfile import Signer

NET = bytes(32)
DIGEST = b"\xd1" * 32
NODES = {"alice": Signer(b"\1" * 32), "bob": Signer(b"\2" * 32)}


def feed(signer: Signer, peer: Signer, num_receipts: int = 2) -> list[Entry]:
    chain, opening = append(Feed(NET, signer.node), signer, 0, "feed.open", Opening(1, DIGEST))
    sent = [Reveal(peer.node, 0, seq, DIGEST, 700, "int8") for seq in range(3)]
    chain, reveals = append_rows(chain, signer, 0, "delta.reveal", sent)
    tally, rows = Tally(), []
    for seq in range(num_receipts):
        tally, row = tally.add(peer.node, 0, seq, DIGEST, 650, REJECTED if seq == 1 else ACCEPTED)
        rows.append(row)
    chain, receipts = append_rows(chain, signer, 0, "receipts", rows)
    chain, unknown = append(chain, signer, 1, "later.kind", [b"x", 1])
    _, model = append(chain, signer, 1, "model", ModelDigest(DIGEST, 1))
    return [opening, *reveals, *receipts, unknown, model]


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run's folder with a store for each of two nodes."""
    for name, peer in (("alice", "bob"), ("bob", "alice")):
        folder = tmp_path / "run" / name
        folder.mkdir(parents=True)
        store = SqliteStore(folder / "node.db")
        store.commit([put_entry(entry) for entry in feed(NODES[name], NODES[peer])])
        store.close()
    return tmp_path / "run"


@pytest.fixture
def entries() -> list[Entry]:
    return feed(NODES["alice"], NODES["bob"])


def called(capsys: pytest.CaptureFixture[str], *argv: object) -> tuple[int, str, str]:
    code = main(["ledger", *map(str, argv)])
    out, err = capsys.readouterr()
    return code, out, err


def called_json(capsys: pytest.CaptureFixture[str], *argv: object) -> tuple[int, Any]:
    code, out, err = called(capsys, *argv, "--json")
    assert err == ""
    return code, json.loads(out)


def test_log_lists_each_nodes_feed(run: Path, entries: list[Entry], capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = called(capsys, "log", run)
    assert code == 0
    assert f"alice ({entries[0].author.hex()[:8]}): 5 entries" in out
    assert "bob (" in out
    for words in (
        "format 1, recipe d1d1d1d1",
        "3 sent to",
        "2.1 kB",
        "1 refused",
        "unknown kind, 2 fields",
        "final",
    ):
        assert words in out
    for entry in entries:
        assert entry.id.hex()[:10] in out


def test_log_as_json_is_whole(run: Path, entries: list[Entry], capsys: pytest.CaptureFixture[str]) -> None:
    code, value = called_json(capsys, "log", run)
    assert code == 0
    assert [node["node"] for node in value["nodes"]] == ["alice", "bob"]
    alice = value["nodes"][0]
    assert [entry["id"] for entry in alice["entries"]] == [entry.id.hex() for entry in entries]
    assert alice["entries"][2]["payload"][1] == {
        "sender": NODES["bob"].node.hex(),
        "epoch": 0,
        "seq": 1,
        "digest": DIGEST.hex(),
        "size_bytes": 650,
        "verdict": "rejected",
        "num_accepted": 1,
        "total_bytes": 650,
    }


@pytest.mark.parametrize(("limit", "shown"), [(2, 2), (5, 5), (9, 5), (0, 5)])
def test_log_shows_the_last_entries(run: Path, limit: int, shown: int, capsys: pytest.CaptureFixture[str]) -> None:
    _, value = called_json(capsys, "log", run / "alice", "--limit", limit)
    assert [entry["seq"] for entry in value["nodes"][0]["entries"]] == list(range(5))[-shown:]
    _, out, _ = called(capsys, "log", run / "alice", "--limit", limit)
    assert ("--limit 0 shows all" in out) == (shown < 5)


def test_a_run_is_a_folder_of_nodes_or_a_node_or_its_file(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for where, names in (
        (run, ["alice", "bob"]),
        (run.parent, ["alice", "bob"]),
        (run / "bob", ["bob"]),
        (run / "bob" / "node.db", ["bob"]),
    ):
        _, value = called_json(capsys, "log", where)
        assert [node["node"] for node in value["nodes"]] == names


def test_a_node_is_chosen_by_name_or_key(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for choice in ("bob", NODES["bob"].node.hex()[:6], NODES["bob"].node.hex().upper()):
        for command in ("log", "verify"):
            _, value = called_json(capsys, command, run, "--node", choice)
            assert [node["node"] for node in value["nodes"]] == ["bob"]
    code, _, err = called(capsys, "log", run, "--node", "carol")
    assert (code, err.count("\n")) == (2, 1)
    assert "no node 'carol'" in err
    assert "alice (" in err


def test_show_finds_an_entry_by_its_first_digits(
    run: Path, entries: list[Entry], capsys: pytest.CaptureFixture[str]
) -> None:
    for entry in entries:
        code, value = called_json(capsys, "show", run, entry.id.hex()[:12])
        assert (code, value["raw"], value["signed"], value["node"]) == (0, entry.raw.hex(), True, "alice")
        code, out, _ = called(capsys, "show", run, entry.id.hex().upper())
        assert code == 0
        assert entry.id.hex() in out
        assert entry.raw.hex() in out


def test_show_refuses_what_is_ambiguous_or_not_there(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = called(capsys, "show", run, "")
    assert (code, err.count("\n")) == (2, 1)
    assert "10 entries' ids begin with ''" in err
    assert "(alice)" in err
    code, _, err = called(capsys, "show", run, "not hex")
    assert code == 2
    assert "no entry's id begins with 'not hex'" in err


def test_verify_says_ok_with_code_0(run: Path, entries: list[Entry], capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = called(capsys, "verify", run)
    assert code == 0
    assert "alice: ok: 5 entries, 0 answers of other sides, 1 of kinds this version does not know" in out
    assert f"head {entries[-1].id.hex()[:10]}" in out
    code, value = called_json(capsys, "verify", run)
    assert (code, value["ok"]) == (0, True)
    assert value["nodes"][0]["feeds"][0]["head"] == entries[-1].id.hex()


def test_verify_names_a_damaged_entry_with_code_1(
    run: Path, entries: list[Entry], capsys: pytest.CaptureFixture[str]
) -> None:
    db = sqlite3.connect(run / "alice" / "node.db")
    with db:
        db.execute("DROP TRIGGER entry_no_update")
        db.execute("UPDATE entry SET raw = ? WHERE seq = 2", (entries[2].raw[:-1] + b"\0",))
    db.close()
    code, out, err = called(capsys, "verify", run)
    assert (code, err) == (1, "")
    assert "alice: 1 PROBLEM: " in out
    assert f"{entries[2].name}: raw: the signature is not the author's" in out
    assert "bob: ok" in out
    code, value = called_json(capsys, "verify", run)
    assert (code, value["ok"], [node["ok"] for node in value["nodes"]]) == (1, False, [False, True])
    code, out, _ = called(capsys, "show", run, entries[2].id.hex())
    assert "NOT THE AUTHOR" in out


def test_a_row_that_is_no_entry_is_listed_and_not_hidden(
    run: Path, entries: list[Entry], capsys: pytest.CaptureFixture[str]
) -> None:
    db = sqlite3.connect(run / "alice" / "node.db")
    with db:
        db.execute("DROP TRIGGER entry_no_update")
        db.execute("UPDATE entry SET raw = x'c0' WHERE seq = 2")
    db.close()
    code, out, _ = called(capsys, "log", run / "alice")
    assert (code, out.count("DAMAGED")) == (0, 1)
    _, value = called_json(capsys, "log", run / "alice")
    assert value["nodes"][0]["entries"][2]["name"] == entries[2].name
    code, _, err = called(capsys, "show", run / "alice", entries[2].id.hex())
    assert code == 2
    assert "is damaged" in err


@pytest.mark.parametrize("command", ["log", "verify"])
def test_unusable_input_is_one_line_with_code_2(
    tmp_path: Path, command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "text.db").write_text("hello")
    for name in ("nothing", "folder", "text.db"):
        code, out, err = called(capsys, command, tmp_path / name)
        assert (code, out, err.count("\n")) == (2, "", 1)
        assert err.startswith("error: ")
        assert name in err


def test_nothing_is_changed(run: Path, entries: list[Entry], capsys: pytest.CaptureFixture[str]) -> None:
    def files() -> dict[Path, tuple[bytes, int]]:
        return {p: (p.read_bytes(), p.stat().st_mtime_ns) for p in sorted(run.rglob("*")) if p.is_file()}

    before = files()
    for argv in (["log", run], ["show", run, entries[0].id.hex()], ["verify", run]):
        assert called(capsys, *argv)[0] == 0
    assert files() == before


def test_no_command_of_the_ledger_imports_torch(run: Path, entries: list[Entry]) -> None:
    script = (
        "import sys\nfrom p2pfl.cli import main\n"
        f"run, id_ = {str(run)!r}, {entries[0].id.hex()!r}\n"
        "for argv in (['log', run], ['show', run, id_], ['verify', run]):\n"
        "    assert main(['ledger', *argv]) == 0\n"
        "assert not {'torch', 'asyncio', 'aiohttp', 'networkx', 'sklearn'} & set(sys.modules), 'a heavy import'\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
