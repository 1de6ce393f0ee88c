"""The ledger explorer: windows, a member's steps with proofs, receipts, validators, evidence; a log that grows."""

import importlib.util
import json
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from p2pfl.cli.dashboard_ledger import Local, Remembered, make_explorer
from p2pfl.errors import ConfigError, P2PFLError
from p2pfl.ledger.blocks.faults import fork_fault
from p2pfl.ledger.check.explain import explain, explain_since
from p2pfl.ledger.check.proofs import parse_proof, verify_proof
from p2pfl.ledger.check.source import FileSource, View
from p2pfl.ledger.feeds.entry import make
from p2pfl.ledger.feeds.evidence import evidence_of
from p2pfl.ledger.stores.reader import open_reader
from p2pfl.web.chronicle import Chronicle
from p2pfl.web.proving import Prover


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


def write(network: Any, folder: Path) -> Path:
    nodes = "".join(
        f'[[nodes]]\nname = "{name}"\nkey = "{signer.node.hex()}"\nurl = "http://127.0.0.1:1"\n'
        for name, signer in zip(NAMES, network.nodes, strict=False)
    )
    folder.mkdir(exist_ok=True)
    (folder / "network.toml").write_text(f'name = "trial"\n{nodes}')
    network.write(folder / "node.db")
    return folder


@pytest.fixture(scope="module")
def network() -> Any:
    return BUILD.played(10)


@pytest.fixture(scope="module")
def folder(network: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(network, tmp_path_factory.mktemp("trial"))


@pytest.fixture
def ask(folder: Path) -> Any:
    return make_explorer([str(folder)], dict)


def test_the_overview_says_how_far_it_is_and_what_each_window_paid(ask: Any, network: Any) -> None:
    found = ask("", "")
    assert (found["height"], found["issued"], found["leaves"]) == (10, 2000, network.tip.log.size)
    assert [row["window"] for row in found["windows"]] == [0, 1, 2]
    assert [row["closed"] for row in found["windows"]] == [True, True, False]
    paid = [outcome.settlement for outcome in network.outcomes if outcome.settlement is not None]
    assert [row["paid"] for row in found["windows"][:2]] == [sum(s.payouts.values()) for s in paid]
    balances = {member["key"]: member["balance"] for member in found["members"]}
    assert balances == {signer.node.hex(): network.balance(who) for who, signer in enumerate(network.nodes)}


def test_a_members_page_says_what_it_did_what_it_got_and_why(ask: Any, network: Any) -> None:
    key = network.nodes[2].node
    found = ask("node", "carol")
    assert found["name"] == f"carol ({key.hex()[:8]})"
    assert [w["window"] for w in found["windows"]] == [2, 1, 0]
    last = found["windows"][-1]
    assert last["credits"] == network.outcomes[3].settlement.payouts[key]
    assert any("counting messages" in line for line in last["because"])
    assert last["payout_proof"]["holds"] is True
    assert found["balance_proof"]["holds"] is True
    items = [item for step in last["steps"].values() for item in step]
    assert {step for step, found_ in last["steps"].items() if found_} >= {"revealed", "receipts"}
    assert all(item["proof"]["holds"] is True for item in items)
    assert sum(row["messages"] for row in last["confirmed"]) > 0
    assert all("(" in row["by"] for row in last["confirmed"]), "nodes have names"


def test_reasons_name_nodes(ask: Any, network: Any) -> None:
    lines = [line for window in ask("node", "carol")["windows"] for line in window["because"]]
    assert any("alice (" in line for line in lines)


def test_a_window_lists_everybody_with_what_they_did(ask: Any, network: Any) -> None:
    found = ask("window", "0")
    assert found["proof"]["holds"] is True
    credits = {member["key"]: member["credits"] for member in found["members"]}
    payouts = network.outcomes[3].settlement.payouts
    assert {key: value for key, value in credits.items() if value} == {k.hex(): v for k, v in payouts.items() if v}
    assert ask("window", "2")["proof"] is None


def test_the_receipts_of_all_time_and_of_a_window(ask: Any) -> None:
    whole = ask("receipts", "")
    assert len(whole["rows"]) == 12
    assert set(whole["names"]) == {row["from"] for row in whole["rows"]} | {row["to"] for row in whole["rows"]}
    first = ask("receipts", "0")
    pairs = {(row["from"], row["to"]): row["confirmed"] for row in whole["rows"]}
    assert all(row["confirmed"] <= pairs[row["from"], row["to"]] for row in first["rows"])


def test_validators_are_told_height_by_height(ask: Any) -> None:
    found = ask("validators", "")
    assert found["heights"] == list(range(1, 11))
    assert all(len(row["signed"]) == 10 for row in found["validators"])
    assert any(True in row["signed"] for row in found["validators"])


def test_an_entry_with_its_proof_for_others(ask: Any, network: Any) -> None:
    found = ask("entry", "3")
    assert found["proof"]["holds"] is True
    assert found["details"]["id"] == found["id"]
    proof = parse_proof(json.dumps(ask("proof", "3")), "proof")
    proven = verify_proof(proof, network.genesis)
    assert proven.entry is not None
    assert proven.entry.id.hex() == found["id"]


@pytest.mark.parametrize(
    ("what", "which", "words"),
    [
        ("window", "9", "expected a window of 0 to 2, got 9"),
        ("window", "<script>", "expected a number"),
        ("entry", "99999", "not final yet"),
        ("node", "zed", "no node 'zed'"),
        ("money", "", "expected one of window"),
    ],
)
def test_what_is_not_there_is_one_line(ask: Any, what: str, which: str, words: str) -> None:
    with pytest.raises(P2PFLError, match=words) as found:
        ask(what, which)
    assert "\n" not in str(found.value)


def test_evidence_with_both_signed_things(tmp_path: Path) -> None:
    network = BUILD.Network()
    entry = network.say(1, "model", [b"\x11" * 32, 0])
    other = make(network.nodes[1], network.net, (0, entry.seq), entry.prev, 0, "model", [b"\x22" * 32, 0])
    network.close(fork_fault(evidence_of(entry, other)))
    (fork,) = make_explorer([str(write(network, tmp_path / "run"))], dict)("evidence", "")["evidence"]
    assert fork["name"].startswith("bob (")
    assert {proof["raw"] for proof in fork["proofs"]} == {entry.raw.hex(), other.raw.hex()}


def test_why_a_node_earned_nothing(tmp_path: Path) -> None:
    network = BUILD.Network()
    for _ in range(4):
        network.sends(0, 1, taken=False)
        network.close()
    ask = make_explorer([str(write(network, tmp_path / "run"))], dict)
    member, stranger = ask("node", "alice")["windows"][-1], ask("node", "carol")["windows"][-1]
    assert (member["closed"], member["credits"], member["confirmed"]) == (True, 0, [])
    assert any(line.startswith("4 messages that it says it sent to bob (") for line in member["because"])
    assert stranger["because"][0].endswith("not a member: it has not asked to join")


# ------------------------------------------------------------------------------------------------ one pass


def test_all_windows_at_once_are_explained_as_one_by_one(folder: Path, network: Any) -> None:
    with open_reader(folder / "node.db") as reader:
        view = View(FileSource(reader))
        for signer in network.nodes:
            for first in (0, 1, 2):
                together = explain_since(view, signer.node, first)
                assert together == [explain(view, signer.node, number) for number in range(first, 3)]


def test_what_has_become_final_since_is_played_on(tmp_path: Path) -> None:
    """Law: following a log as it grows leads to what reading it at once does."""
    grows, at_once = Chronicle(), Chronicle()
    for heights in (2, 5, 9):
        network = BUILD.played(heights)
        path = network.write(tmp_path / f"{heights}.db")
        with open_reader(path) as reader:
            grows.follow(View(FileSource(reader)))
    with open_reader(tmp_path / "9.db") as reader:
        at_once.follow(View(FileSource(reader)))
    assert [vars(told) for told in grows.windows.values()] == [vars(told) for told in at_once.windows.values()]


def test_another_network_is_read_from_its_beginning(tmp_path: Path) -> None:
    chronicle = Chronicle()
    for name, network in (("one", BUILD.played(6)), ("other", BUILD.played(3, supply=7))):
        with open_reader(network.write(tmp_path / f"{name}.db")) as reader:
            chronicle.follow(View(FileSource(reader)))
    assert sum(told.num_entries for told in chronicle.windows.values()) == sum(
        told.num_entries for told in _fresh(tmp_path / "other.db").windows.values()
    )


def _fresh(path: Path) -> Chronicle:
    chronicle = Chronicle()
    with open_reader(path) as reader:
        chronicle.follow(View(FileSource(reader)))
    return chronicle


# ------------------------------------------------------------------------------------------------ proofs


def test_a_node_that_serves_another_entry_is_told_so(folder: Path) -> None:
    class Forger(FileSource):
        def get(self, what: str) -> bytes | None:
            found = super().get(what)
            if what.startswith("node/") and found is not None:
                return bytes(32)
            return found

    with open_reader(folder / "node.db") as reader:
        assert Prover().of_leaf(View(FileSource(reader)), 4)["holds"] is True
        forged = Prover().of_leaf(View(Forger(reader)), 4)
    assert forged["holds"] is False
    assert "does not lead" in forged["says"]


def test_what_is_not_final_is_not_provable_yet(folder: Path) -> None:
    with open_reader(folder / "node.db") as reader:
        found = Prover().of_height(View(FileSource(reader)), 11)
    assert found == {"holds": None, "says": "height 11 is not final yet"}


# ------------------------------------------------------------------------------------------------ sources


def test_the_first_source_that_has_a_ledger_is_read(folder: Path, tmp_path: Path) -> None:
    found = make_explorer(["http://127.0.0.1:1", str(folder)], dict)("", "")
    assert found["height"] == 10
    with pytest.raises(ConfigError, match="expected a run's folder"):
        make_explorer([str(tmp_path)], dict)("", "")


def test_which_node_of_a_folder_is_read_is_chosen_again_after_a_while(tmp_path: Path) -> None:
    now = 0.0
    for name, heights in (("a", 3), ("b", 6)):
        (tmp_path / name).mkdir()
        BUILD.played(heights).write(tmp_path / name / "node.db")
    local = Local(str(tmp_path), lambda: now)

    def height() -> int:
        with ExitStack() as stack:
            return int(local.open(stack).view.height)

    assert height() == 6
    (tmp_path / "a" / "node.db").unlink()
    BUILD.played(8).write(tmp_path / "a" / "node.db")
    assert height() == 6
    now = 1000.0
    assert height() == 8


def test_pieces_that_never_change_are_asked_for_once() -> None:
    class Counting:
        name = "http://node"

        def __init__(self) -> None:
            self.asked: list[str] = []

        def get(self, what: str) -> bytes | None:
            self.asked.append(what)
            return b"x" * 40

    source: Any = Counting()
    held = Remembered(source, limit=100)
    for what in ("tip", "tip", "final/1", "final/1", "final/2", "final/3", "final/1"):
        assert held.get(what) == b"x" * 40
    assert source.asked == ["tip", "tip", "final/1", "final/2", "final/3", "final/1"], "the oldest goes when it is full"
