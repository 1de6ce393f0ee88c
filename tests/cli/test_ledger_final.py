"""`p2pfl ledger` on what is final: every command on a run's folder and at a URL, its JSON, its exit codes."""

import csv
import importlib.util
import json
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from p2pfl.cli import main
from p2pfl.ledger.blocks.faults import fork_fault, vote_fault
from p2pfl.ledger.blocks.rule import Kind
from p2pfl.ledger.blocks.votes import sign_vote
from p2pfl.ledger.check.source import FileSource
from p2pfl.ledger.check.verify import verify_store
from p2pfl.ledger.feeds.evidence import evidence_of
from p2pfl.ledger.finality.journal import Journal
from p2pfl.ledger.stores.reader import open_reader


def builder() -> Any:
    path = Path(__file__).parents[1] / "ledger" / "final" / "conftest.py"
    spec = importlib.util.spec_from_file_location("final_network", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


BUILD = builder()
NAMES = ("alice", "bob", "carol", "dave")


@pytest.fixture(scope="module")
def network() -> Any:
    return BUILD.played(10)


@pytest.fixture(scope="module")
def folder(network: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A trial network's folder: its document, its genesis, and the stores of two nodes."""
    folder = tmp_path_factory.mktemp("trial")
    nodes = "".join(
        f'[[nodes]]\nname = "{name}"\nkey = "{signer.node.hex()}"\nurl = "http://127.0.0.1:1"\n'
        for name, signer in zip(NAMES, network.nodes, strict=True)
    )
    (folder / "network.toml").write_text(f'name = "trial"\n{nodes}')
    (folder / "genesis.toml").write_text(network.genesis.to_toml())
    network.write(folder / "alice" / "node.db")
    network.write(folder / "bob" / "node.db")
    return folder


@pytest.fixture(scope="module")
def url(folder: Path) -> Iterator[str]:
    """A node's read-only routes over its file, as a node serves them."""

    class Routes(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            with open_reader(folder / "alice" / "node.db") as reader:
                piece = FileSource(reader).get(self.path.removeprefix("/v1/ledger/"))
            self.send_response(404 if piece is None else 200)
            self.end_headers()
            self.wfile.write(piece or b"")

        def log_message(self, *_: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Routes)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def called(capsys: pytest.CaptureFixture[str], *argv: object) -> tuple[int, str, str]:
    code = main(["ledger", *map(str, argv)])
    out, err = capsys.readouterr()
    return code, out, err


def called_json(capsys: pytest.CaptureFixture[str], *argv: object) -> tuple[int, Any]:
    code, out, err = called(capsys, *argv, "--json")
    assert err == ""
    return code, json.loads(out)


@pytest.fixture(params=["folder", "url"])
def run(request: pytest.FixtureRequest, folder: Path) -> Any:
    return str(folder) if request.param == "folder" else request.getfixturevalue("url")


def test_status(run: str, network: Any, capsys: pytest.CaptureFixture[str]) -> None:
    code, value = called_json(capsys, "status", run)
    assert code == 0
    assert (value["height"], value["network"]) == (10, network.net.hex())
    assert value["root"] == network.tip.log.root().hex()
    assert (value["validators"], value["tolerated"], value["quorum"], value["cosigned_by"]) == (3, 0, 3, 3)
    assert "f = 0" in value["finality"]
    _, out, _ = called(capsys, "status", run)
    assert "tolerate no failure" in out


def test_balance(run: str, network: Any, capsys: pytest.CaptureFixture[str]) -> None:
    _, value = called_json(capsys, "balance", run)
    assert value["issued"] == 2000
    assert {row["key"]: row["balance"] for row in value["nodes"]} == {
        signer.node.hex(): network.balance(who) for who, signer in enumerate(network.nodes)
    }
    _, value = called_json(capsys, "balance", run, network.nodes[1].node.hex()[:6])
    assert [row["balance"] for row in value["nodes"]] == [network.balance(1)]


def test_nodes_have_the_names_of_the_network_document(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _, out, _ = called(capsys, "balance", folder, "carol")
    assert "carol (" in out
    code, _, err = called(capsys, "balance", folder, "zed")
    assert (code, err.count("\n")) == (2, 1)
    assert "no node 'zed' in this ledger; there are: alice (" in err


def test_validators_peers_and_forks(run: str, network: Any, capsys: pytest.CaptureFixture[str]) -> None:
    _, value = called_json(capsys, "validators", run)
    voters = {signer.node.hex() for signer in network.nodes[:2]}
    assert voters < {row["key"] for row in value["validators"]}
    assert all(row["signed"] == value["certificates"] for row in value["validators"])
    _, value = called_json(capsys, "peers", run)
    assert len(value) == 12
    assert all(row["sent"] == row["taken"] for row in value)
    assert called_json(capsys, "forks", run) == (0, [])


def test_explain(run: str, network: Any, capsys: pytest.CaptureFixture[str]) -> None:
    key = network.nodes[2].node.hex()[:8]
    code, value = called_json(capsys, "explain", run, key, "--window", 0)
    (window,) = value["windows"]
    assert (code, window["closed"], window["heights"]) == (0, True, [1, 4])
    assert window["credits"] == network.outcomes[3].settlement.payouts[network.nodes[2].node]
    _, out, _ = called(capsys, "explain", run, key)
    assert "got" in out
    assert "counting messages" in out


def test_a_round_that_is_not_final_yet_is_exit_code_3(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert called(capsys, "explain", folder, "alice", "--round", 0)[0] == 0
    code, out, _ = called(capsys, "explain", folder, "alice", "--round", 77)
    assert code == 3
    assert "nothing that" in out
    code, _, err = called(capsys, "explain", folder, "alice", "--window", 99)
    assert code == 2
    assert "window 99 has not begun" in err


def test_log_of_what_is_final(run: str, network: Any, capsys: pytest.CaptureFixture[str]) -> None:
    _, value = called_json(capsys, "log", run, "--final", "--limit", 0)
    assert [row["id"] for row in value["entries"]] == [entry.id.hex() for entry in network.entries]
    _, value = called_json(capsys, "log", run, "--final", "--kind", "endorse")
    assert len(value["entries"]) == 2
    _, value = called_json(capsys, "log", run, "--since", 10, "--author", network.nodes[0].node.hex()[:8])
    assert {row["height"] for row in value["entries"]} == {10}
    assert {row["author"] for row in value["entries"]} == {network.nodes[0].node.hex()}


def test_show_by_every_kind_of_name(run: str, network: Any, capsys: pytest.CaptureFixture[str]) -> None:
    entry, block = network.entries[12], network.blocks[4]
    index = next(i for i in range(30) if called_json(capsys, "show", run, f"#{i}")[1]["id"] == entry.id.hex())
    for name in (entry.id.hex()[:12], entry.id.hex().upper(), f"#{index}"):
        _, value = called_json(capsys, "show", run, name)
        assert (value["id"], value["signed"]) == (entry.id.hex(), True)
        assert value["final"]["index"] == index
    for name in (block.hash.hex()[:12], "h5", f"#{block.header.next_index - 1}"):
        _, value = called_json(capsys, "show", run, name)
        assert (value["id"], value["height"], len(value["cut"])) == (block.hash.hex(), 5, len(block.cut))


@pytest.mark.parametrize(
    ("name", "words"),
    [("#9999", "not final yet"), ("h99", "expected a height of 1 to 10"), ("ffffffff", "begins with 'ffffffff'")],
)
def test_what_is_not_there_is_one_line(run: str, name: str, words: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = called(capsys, "show", run, name)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert words in err


def test_show_says_who_confirmed(folder: Path, network: Any, capsys: pytest.CaptureFixture[str]) -> None:
    entry = next(e for e in network.entries if e.kind == "delta.reveal")
    _, value = called_json(capsys, "show", folder, entry.id.hex())
    assert len(value["confirmed_by"]) >= 1


def test_proofs_are_made_here_and_checked_anywhere(
    run: str, folder: Path, network: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    genesis = folder / "genesis.toml"
    note, early = tmp_path / "c.txt", tmp_path / "early.txt"
    assert called(capsys, "checkpoint", run, "-o", note)[0] == 0
    assert called(capsys, "checkpoint", run, "--height", 3, "-o", early)[0] == 0
    for argv, words in (
        ((network.entries[5].id.hex()[:10],), network.entries[5].name),
        (("h4",), "is the header of height 4"),
        (("--balance", network.nodes[0].node.hex()[:8]), f"is {network.balance(0)} after height 10"),
        (("--since", early), "nothing in it was changed"),
    ):
        proof = tmp_path / "p.json"
        code, out, err = called(capsys, "prove", run, *argv, "-o", proof)
        assert (code, err) == (0, "")
        for more in ((), ("--checkpoint", note)):
            code, out, _ = called(capsys, "verify-proof", proof, "--genesis", genesis, *more)
            assert code == 0, out
            assert out.startswith("PROVEN: ")
            assert words in out
        code, out, _ = called(capsys, "verify-proof", proof, "--genesis", genesis, "--checkpoint", early)
        assert code == 1
        assert out.startswith("NOT PROVEN: the checkpoint's tree is smaller")


def test_a_proof_of_another_network_fails_with_the_reason(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    proof, other = tmp_path / "p.json", tmp_path / "other.toml"
    called(capsys, "prove", folder, "#3", "-o", proof)
    other.write_text(BUILD.Network(name="other").genesis.to_toml())
    code, value = called_json(capsys, "verify-proof", proof, "--genesis", other)
    assert (code, value["ok"]) == (1, False)
    assert value["reason"].startswith("the proof is of network")


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (("prove", "{run}"), "expected one of ID"),
        (("prove", "{run}", "#1", "--balance", "alice"), "expected one of ID"),
        (("verify-proof", "{run}/genesis.toml", "--genesis", "{run}/genesis.toml"), "expected a proof"),
        (("verify-proof", "{run}/none", "--genesis", "{run}/genesis.toml"), "cannot read"),
        (("export", "{run}", "x.txt"), "expected a file that ends with .csv or .parquet"),
        (("status", "http://127.0.0.1:9"), "does not answer"),
        (("status", "{run}/nothing"), "found nothing there"),
    ],
)
def test_unusable_input_is_one_line_with_code_2(
    folder: Path, argv: tuple[str, ...], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    code, _, err = called(capsys, *(arg.format(run=folder) for arg in argv))
    assert (code, err.count("\n")) == (2, 1), err
    assert words in err


def test_a_run_with_feeds_only_has_no_ledger(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    network = BUILD.played(2)
    network.puts = [put for put in network.puts if put.space == "entry"]
    network.write(tmp_path / "node.db")
    code, _, err = called(capsys, "balance", tmp_path)
    assert (code, err.count("\n")) == (2, 1)
    assert "no finalized ledger in it" in err
    assert called(capsys, "log", tmp_path)[0] == 0
    assert called(capsys, "verify", tmp_path)[0] == 0


def test_verify_from_a_genesis_that_is_given(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = called(capsys, "verify", folder, "--genesis", folder / "genesis.toml")
    assert code == 0
    assert "final up to height 10" in out
    other = tmp_path / "other.toml"
    other.write_text(BUILD.Network(name="other").genesis.to_toml())
    assert called(capsys, "verify", folder, "--genesis", other)[0] == 1


def test_diff_of_the_same(folder: Path, url: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert called_json(capsys, "diff", folder / "alice", folder / "bob") == (0, {"same": True, "differences": []})
    assert called(capsys, "diff", folder / "bob", url)[0] == 0


def test_diff_names_the_state_key_and_the_entry_that_touched_it(
    network: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from p2pfl.ledger.feeds.records import check_of
    from p2pfl.ledger.outcome.state import cell_text, key_of

    for name in ("one", "other"):
        network.write(tmp_path / name / "node.db")
    sender, receiver = network.nodes[0].node, network.nodes[1].node
    key = key_of("pair", sender, receiver)
    cell = network.tip.state.cell(key)
    assert cell is not None
    bad = cell_text(cell._replace(value=(cell.value[0] + 1, *cell.value[1:])))
    db = sqlite3.connect(tmp_path / "other" / "node.db")
    with db:
        sql = "UPDATE kv SET value = ?, check_value = ? WHERE space = 'state' AND key = ?"
        db.execute(sql, (bad, check_of("state", key, bad), key))
    db.close()
    code, out, _ = called(capsys, "diff", tmp_path / "one", tmp_path / "other")
    assert code == 1
    assert f"state key pair {sender.hex()[:8]} {receiver.hex()[:8]}:" in out
    assert f"last touched by leaf {cell.touched}: " in out


def test_diff_names_the_first_block_that_differs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, extra in (("one", False), ("other", True)):
        network = BUILD.Network()
        for height in range(1, 7):
            network.say(0, "model", [b"\x11" * 32, 0], round_=5 if extra and height == 4 else 0)
            network.close()
        network.write(tmp_path / name / "node.db")
    code, out, _ = called(capsys, "diff", tmp_path / "one", tmp_path / "other")
    assert code == 1
    assert out.startswith("height 4: two blocks: ")
    assert "other: cut_hash, state_root" in out


def test_forks_show_the_proof(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from p2pfl.ledger.feeds.entry import make

    network = BUILD.Network()
    entry = network.say(1, "model", [b"\x11" * 32, 0])
    other = make(network.nodes[1], network.net, (0, entry.seq), entry.prev, 0, "model", [b"\x22" * 32, 0])
    network.close(fork_fault(evidence_of(entry, other)))
    network.write(tmp_path / "node.db")
    _, (fork,) = called_json(capsys, "forks", tmp_path)
    assert (fork["height"], fork["author"], fork["where"]) == (1, entry.author.hex(), f"incarnation 0, seq {entry.seq}")
    assert {proof["raw"] for proof in fork["proofs"]} == {entry.raw.hex(), other.raw.hex()}
    _, out, _ = called(capsys, "forks", tmp_path)
    assert "two entries at one position of its feed" in out


def test_forks_show_double_votes_that_wait_for_a_block(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    network = BUILD.Network()
    network.close()
    liar = network.nodes[1]
    votes = [sign_vote(liar, network.net, Kind.NOTARIZE, 0, 7, bytes([number]) * 32) for number in (1, 2)]
    network.puts.append(Journal().fault(liar.node, vote_fault(*votes)))
    network.write(tmp_path / "node.db")
    _, (fork,) = called_json(capsys, "forks", tmp_path)
    assert (fork["height"], fork["author"], fork["where"]) == (0, liar.node.hex(), "epoch 0, view 7")
    assert fork["what"] == "two conflicting votes in one view"
    proof = tmp_path / "proof.json"
    _, out, _ = called(capsys, "forks", tmp_path, "--out", proof)
    assert "not final yet" in out
    (tmp_path / "genesis.toml").write_text(network.genesis.to_toml())
    code, out, _ = called(capsys, "verify-proof", proof, "--genesis", tmp_path / "genesis.toml")
    assert (code, out.count("PROVEN")) == (0, 1)


def test_watch_prints_each_height(run: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = called(capsys, "watch", run, "--from", 3, "--until", 6, "--every", 0)
    assert code == 0
    assert [line for line in out.splitlines() if line.startswith("height")] == [
        line for line in out.splitlines() if line.startswith(("height 3:", "height 4:", "height 5:", "height 6:"))
    ]
    assert out.count("height ") == 4


@pytest.mark.parametrize("table", ["entries", "balances", "pairs", "payouts"])
def test_export(run: str, network: Any, tmp_path: Path, table: str, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "x.csv"
    assert called(capsys, "export", run, out, "--table", table)[0] == 0
    rows = list(csv.DictReader(out.read_text().splitlines()))
    if table == "entries":
        assert [row["id"] for row in rows] == [entry.id.hex() for entry in network.entries]
    if table == "balances":
        assert sum(int(row["balance"]) for row in rows) == 2000
    if table == "payouts":
        assert sum(int(row["credits"]) for row in rows) == 2000
    parquet = pytest.importorskip("pyarrow.parquet")
    same = tmp_path / "x.parquet"
    assert called_json(capsys, "export", run, same, "--table", table)[1]["num_rows"] == len(rows)
    found = parquet.read_table(same).to_pylist()
    assert [{name: str(value) for name, value in row.items()} for row in found] == rows


def test_parquet_without_pyarrow_says_what_to_install(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    code, _, err = called(capsys, "export", folder, tmp_path / "x.parquet")
    assert (code, err.count("\n")) == (2, 1)
    assert "pip install 'p2pfl-node[parquet]'" in err


def test_recover_marks_the_store(
    folder: Path, network: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "network.toml").write_text((folder / "network.toml").read_text())
    path = network.write(tmp_path / "alice" / "node.db")
    code, value = called_json(capsys, "recover", tmp_path / "alice")
    mine = [entry for entry in network.entries if entry.author == network.nodes[0].node]
    assert (code, value["incarnation"], value["seq"], value["next_incarnation"]) == (0, 0, mine[-1].seq, 1)
    with open_reader(path) as reader:
        assert reader.value("recover", b"") == bytes(8)
    assert verify_store(path).ok


def test_a_damaged_ledger_is_one_line(network: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = network.write(tmp_path / "node.db")
    db = sqlite3.connect(path)
    with db:
        db.execute("UPDATE kv SET value = x'00' WHERE space = 'tip'")
    db.close()
    code, _, err = called(capsys, "status", tmp_path)
    assert (code, err.count("\n")) == (2, 1)
    assert "see: p2pfl ledger verify" in err
    assert called(capsys, "verify", tmp_path)[0] == 1


def test_nothing_is_changed_and_nothing_heavy_is_imported(folder: Path, tmp_path: Path) -> None:
    def files() -> dict[Path, tuple[bytes, int]]:
        return {p: (p.read_bytes(), p.stat().st_mtime_ns) for p in sorted(folder.rglob("*")) if p.is_file()}

    before = files()
    script = (
        "import sys\nfrom p2pfl.cli import main\n"
        f"run, out = {str(folder)!r}, {str(tmp_path)!r}\n"
        "for argv in (['status', run], ['balance', run], ['validators', run], ['peers', run], ['forks', run],\n"
        "             ['explain', run, 'alice'], ['log', run, '--final'], ['show', run, '#3'], ['checkpoint', run],\n"
        "             ['prove', run, '#3', '-o', out + '/p'], ['diff', run + '/alice', run + '/bob'],\n"
        "             ['verify-proof', out + '/p', '--genesis', run + '/genesis.toml'], ['verify', run],\n"
        "             ['export', run, out + '/x.csv'], ['watch', run, '--from', '9', '--until', '10']):\n"
        "    assert main(['ledger', *argv]) == 0, argv\n"
        "assert not {'torch', 'asyncio', 'aiohttp', 'networkx', 'sklearn', 'pyarrow'} & set(sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert files() == before
