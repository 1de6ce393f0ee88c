"""`p2pfl ledger rules`, `p2pfl ledger stake` and `p2pfl task`: what they show, ask a node for, and refuse."""

import importlib.util
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from p2pfl.cli import main
from p2pfl.ledger.feeds.statements import seal
from p2pfl.ledger.outcome.rules import RULES
from p2pfl.runs.spool import Spool

NAMES = ("alice", "bob", "carol", "dave", "eve")


def builder() -> Any:
    path = Path(__file__).parents[1] / "ledger" / "rules" / "conftest.py"
    spec = importlib.util.spec_from_file_location("cli_market", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Town:
    """A market with a closed task, one that is open for bids, and a proposal. Alice to dave vote; eve does not."""

    def __init__(self) -> None:
        self.market = market = builder().Market()
        self.closed = self.publish(500)
        market.window()
        market.bid(1, self.closed, 4, 40)
        market.bid(2, self.closed, 4, 800)
        market.bid(3, self.closed, 4, 400)
        market.window()
        for who, ask in ((1, 40), (2, 800)):
            market.reveal(who, self.closed, 4, ask)
        market.window()
        market.work(1, 1)
        market.say(2, "stake.lock", [50])
        market.window()
        self.open = self.publish(300, price=30)
        self.proposal = market.say(1, "rule.propose", ["receipts", [["cap", 1]], 99]).id
        market.close()

    def publish(self, budget: int, price: int = 500) -> bytes:
        entry = self.market.say(0, "task.publish", ["label the scans", "auction", budget, price, 1, 1, 1])
        id_: bytes = entry.id
        return id_


@pytest.fixture(scope="module")
def town() -> Town:
    return Town()


@pytest.fixture
def run(town: Town, tmp_path: Path) -> Path:
    home = tmp_path / "trial"
    nodes = "".join(
        f'[[nodes]]\nname = "{name}"\nkey = "{signer.node.hex()}"\nurl = "http://127.0.0.1:1"\n'
        for name, signer in zip(NAMES, town.market.nodes, strict=True)
    )
    for name in NAMES:
        folder = home / "nodes" / name / "run"
        town.market.write(folder / "node.db")
        (folder / "config.toml").write_text(f'name = "{name}"\n')
        (folder / "network.toml").write_text(f'name = "trial"\n{nodes}')
    return home / "nodes"


def called(capsys: pytest.CaptureFixture[str], *argv: object) -> tuple[int, str, str]:
    code = main([str(each) for each in argv])
    out, err = capsys.readouterr()
    return code, out, err


def asked(town: Town, run: Path, name: str) -> dict[str, tuple[Any, ...]]:
    node = town.market.key(NAMES.index(name))
    requests, refused = Spool(run / name / "run", town.market.net, node).waiting()
    assert refused == []
    return {request.kind: request.payload for request in requests}


# ------------------------------------------------------------------------------------------------- rules


def test_the_rules_that_there_are(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = called(capsys, "ledger", "rules", "list", "--json")
    found = {row["rule"]: row["parameters"] for row in json.loads(out)}
    assert code == 0
    assert found["receipts"] == {"cap": 64, "receivers": 2}
    assert set(found) == {"receipts", "score", "reputation", "stake"}
    assert "reputation" in called(capsys, "ledger", "rules", "list")[1]


def test_what_is_in_force_and_proposed(town: Town, run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = called(capsys, "ledger", "rules", "show", run, "--json", "--history")
    found = json.loads(out)
    assert (code, found["in_force"]["rule"], len(found["history"])) == (0, "receipts", 1)
    (row,) = found["proposals"]
    assert (row["rule"], row["from_height"], row["for"], row["needed"]) == ("receipts, cap = 1", 99, 1, 3)
    assert row["by"].startswith("bob")
    assert "in force since height 1: receipts" in called(capsys, "ledger", "rules", "show", run, "--history")[1]


def test_a_replay_says_who_gains_and_who_loses(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Window 4 had work of bob alone; the others' work was in window 0."""
    argv = ("ledger", "rules", "test", run, "--rule", "receipts", "--set", "receivers=5", "--replay")
    code, out, _ = called(capsys, *argv, "--json")
    rows = {row["node"].split()[0]: row for row in json.loads(out)["nodes"]}
    assert code == 0
    assert {name: row["would_be_paid"] for name, row in rows.items()} == dict.fromkeys(NAMES, 0)
    assert rows["bob"] == {**rows["bob"], "paid": 12_000, "difference": -12_000}
    code, out, _ = called(capsys, *argv, "--window", "4", "--why", "bob")
    assert code == 0
    assert "windows 4 to 4, as they were and under receipts, cap = 64, receivers = 5" in out
    assert "4 of 5 needed receivers confirm: nothing counts" in out
    same = json.loads(called(capsys, "ledger", "rules", "test", run, "--rule", "receipts", "--replay", "--json")[1])
    assert all(row["difference"] == 0 for row in same["nodes"])


OWN = """
from dataclasses import dataclass
from typing import ClassVar
from p2pfl.ledger.outcome.rules import split

@dataclass(frozen=True)
class Equal:
    name: ClassVar[str] = "equal"
    least: int = 1

    def __call__(self, state, window):
        return split(window.supply, {node: self.least for node in window.members})

    def reasons(self, state, window, node):
        return [f"all alike: {self(state, window).get(node, 0)}"]

@dataclass(frozen=True)
class Greedy(Equal):
    def __call__(self, state, window):
        return {node: window.supply for node in window.members}
"""


def test_a_rule_of_ones_own_is_tried(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "own.py").write_text(OWN)
    argv = ("ledger", "rules", "test", run, "--rule", f"{tmp_path / 'own.py'}:Equal", "--replay", "--json")
    code, out, err = called(capsys, *argv)
    assert code == 0, err
    assert {row["would_be_paid"] for row in json.loads(out)["nodes"]} == {10_000}
    code, out, _ = called(capsys, "ledger", "rules", "test", "--rule", f"{tmp_path / 'own.py'}:Greedy")
    assert code == 1
    assert "of a supply of" in out


def test_a_validator_proposes_and_votes(
    town: Town, run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "rule.toml"
    file.write_text('rule = "reputation"\n[parameters]\ngain = 50000\n')
    argv = ("ledger", "rules", "propose", run, "--node", "alice", "--height", "60")
    assert called(capsys, *argv, "--file", file, "--set", "loss=600000")[0] == 0
    assert asked(town, run, "alice") == {"rule.propose": ("reputation", (("gain", 50_000), ("loss", 600_000)), 60)}
    code, out, _ = called(capsys, "ledger", "rules", "vote", run, town.proposal.hex()[:6], "--node", "carol")
    assert (code, "is for receipts, cap = 1" in out) == (0, True)
    assert asked(town, run, "carol") == {"rule.vote": (town.proposal, 1)}
    assert called(capsys, "ledger", "rules", "vote", run, "", "--node", "bob", "--against")[0] == 0
    assert asked(town, run, "bob") == {"rule.vote": (town.proposal, 0)}


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        ("propose --node alice --height 60", "expected a rule: either --rule NAME or --file FILE"),
        ("propose --node alice --height 60 --rule shapley", "expected a rule of receipts, score, reputation, stake"),
        ("propose --node alice --height 60 --rule score --set floor=x", "--set floor=x: expected KEY=N"),
        ("propose --node alice --height 60 --rule score --set flor=1", "the rule score has no parameter 'flor'"),
        ("propose --node alice --height 3 --rule score", "--height: expected more than 12, got 3"),
        ("propose --node bob --height 60 --rule score", "bob has a proposal open"),
        ("propose --node eve --height 60 --rule score", "eve is no validator in this epoch; validators are: "),
        ("vote --node alice ffff", "expected one open proposal whose id begins with 'ffff', found 0; open: "),
        ("vote --node bob ID", "bob is for the proposal"),
        ("vote --node alice ID --against", "alice is not for the proposal"),
        ("test --rule score --replay --window 9", "nothing to compare: windows 0 to 4 have closed"),
        ("test --rule no.such:Rule", "there is no module 'no.such'"),
    ],
)
def test_what_would_be_in_vain_is_refused_in_one_line(
    town: Town, run: Path, argv: str, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    verb, *rest = argv.replace("ID", town.proposal.hex()[:8]).split()
    code, _, err = called(capsys, "ledger", "rules", verb, run, *rest)
    assert (code, err.count("\n")) == (2, 1), err
    assert words in err
    assert not list(run.rglob("*.request"))


# ------------------------------------------------------------------------------------------------- tasks


def test_a_closed_task_is_told_whole(town: Town, run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = called(capsys, "task", "show", run, town.closed.hex()[:8], "--json")
    found = json.loads(out)
    assert (code, found["phase"], found["returned"]) == (0, "closed", 0)
    offers = {row["node"].split()[0]: row for row in found["offers"]}
    assert (offers["bob"]["delivered"], offers["bob"]["paid"]) == (4, 500)
    assert offers["carol"]["because"] == "its bid of 800 credits is above the budget of 500"
    assert found["never_opened"][0].startswith("dave")
    text = called(capsys, "task", "show", run, town.closed.hex()[:8])[1]
    assert "sealed a bid and never opened it" in text
    assert len(json.loads(called(capsys, "task", "show", run, "--all", "--json")[1])) == 2
    (row,) = json.loads(called(capsys, "task", "show", run, "--json")[1])
    assert (row["id"], row["phase"], row["budget"]) == (town.open.hex(), "bidding", 300)
    assert "label the scans" in called(capsys, "task", "show", run)[1]


def test_publishing(town: Town, run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    argv = ("task", "publish", run, "--node", "bob", "--title", "more scans", "--budget", "90", "--rule", "posted")
    assert called(capsys, *argv, "--price", "3", "--working", "2")[0] == 0
    assert asked(town, run, "bob") == {"task.publish": ("more scans", "posted", 90, 3, 1, 1, 2)}


def test_a_bid_is_sealed_and_its_opening_waits(town: Town, run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    market = town.market
    argv = ("task", "bid", run, town.open.hex()[:8], "--node", "carol", "--units", "10")
    for ask in (200, 250):  # the second takes the place of the first
        code, out, err = called(capsys, *argv, "--ask", ask)
        assert (code, "opens the bid when window" in out) == (0, True), err
    found = asked(town, run, "carol")
    task, units, ask, salt = found["bid.reveal"]
    assert (task, units, ask) == (town.open, 10, 250)
    assert found["bid.commit"] == (town.open, seal(market.net, task, market.key(2), units, ask, salt))
    assert len(list((run / "carol").rglob("*.request"))) == 2


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        ("bid OPEN --node alice --units 1 --ask 1", "alice has published the task"),
        (
            "bid OPEN --node bob --units 1 --ask 301",
            "--ask: expected at most the task's budget of 300 credits, got 301",
        ),
        ("bid OPEN --node bob --units 2 --ask 61", "the task pays at most 30 credits a unit, 60 for 2; got 61"),
        ("bid CLOSED --node bob --units 2 --ask 61", "expected one open task whose id begins with"),
        ("publish --node bob --title x --budget 99999999", "--budget: expected at most the balance of"),
        ("publish --node bob --title x --budget 5 --price 6", "--price: expected at most the budget of 5 credits"),
        ("publish --node bob --title x --budget 5 --rule posted", "--rule posted: expected --price"),
        ("show 0000", "expected one task whose id begins with '0000', found 0"),
    ],
)
def test_bids_and_tasks_in_vain_are_refused(
    town: Town, run: Path, argv: str, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    verb, *rest = argv.replace("OPEN", town.open.hex()[:8]).replace("CLOSED", town.closed.hex()[:8]).split()
    code, _, err = called(capsys, "task", verb, run, *rest)
    assert (code, err.count("\n")) == (2, 1), err
    assert words in err
    assert not list(run.rglob("*.request"))


# ------------------------------------------------------------------------------------------------- stakes


def test_staking(town: Town, run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert called(capsys, "ledger", "stake", run, 100, "--node", "bob")[0] == 0
    assert asked(town, run, "bob") == {"stake.lock": (100,)}
    assert called(capsys, "ledger", "unstake", run, 50, "--node", "carol")[0] == 0
    assert asked(town, run, "carol") == {"stake.release": (50,)}
    for verb, amount, words in (("stake", 10**9, "at most the balance of"), ("unstake", 51, "at most the stake of 50")):
        code, _, err = called(capsys, "ledger", verb, run, amount, "--node", "carol")
        assert (code, words in err) == (2, True)
    rows = json.loads(called(capsys, "ledger", "balance", run, "--json")[1])["nodes"]
    assert {row["name"].split()[0]: row["stake"] for row in rows}["carol"] == 50
    assert "at stake" in called(capsys, "ledger", "balance", run)[1]


# -------------------------------------------------------------------------------------------- a rule of one's own


@pytest.fixture
def own(tmp_path: Path) -> Iterator[str]:
    (tmp_path / "own.py").write_text(OWN)
    yield f"{tmp_path / 'own.py'}:Equal"
    RULES.pop("equal", None)


def test_a_ledger_is_paid_by_a_rule_of_ones_own(own: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    document = tmp_path / "genesis.toml"
    key = builder().BUILD.Network().nodes[0].node.hex()
    argv = ("--rule", "equal", "--set", "least=3", "--out", document)
    code, _, err = called(capsys, "genesis", key, *argv)
    assert (code, "expected a rule of receipts" in err) == (2, True)
    assert called(capsys, "genesis", key, "--own-rule", own, *argv)[0] == 0
    assert 'rule = "equal"' in document.read_text()
    market = builder().Market(rule="equal", parameters=(("least", 3),))
    assert [market.balance(who) for who in range(5)] == [2000] * 5
    market.write(tmp_path / "run" / "node.db")
    del RULES["equal"]  # another process
    code, _, err = called(capsys, "ledger", "explain", tmp_path / "run", market.key(0).hex())
    assert (code, "expected a rule of" in err) == (2, True)
    code, out, _ = called(capsys, "ledger", "--own-rule", own, "explain", tmp_path / "run", market.key(0).hex())
    assert (code, "all alike: 2000" in out) == (0, True)


def test_what_is_no_rule_is_not_added(own: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "bad.py").write_text(OWN.replace('"equal"', '"receipts"') + "\nnothing = 5\n")
    for name, words in (("Equal", "there is a rule 'receipts' already"), ("nothing", "expected a rule: a frozen")):
        code, _, err = called(capsys, "ledger", "--own-rule", f"{tmp_path / 'bad.py'}:{name}", "rules", "list")
        assert (code, words in err) == (2, True)
    code, out, _ = called(capsys, "ledger", "--own-rule", own, "rules", "list", "--json")
    assert json.loads(out)[-1]["rule"] == "equal"


def test_a_network_document_names_rules_of_ones_own(own: str, tmp_path: Path) -> None:
    from p2pfl.assemble.network import assemble
    from p2pfl.config import load_network

    folder = tmp_path / "trial"
    assert main(["init", str(folder), "--nodes", "4"]) == 0
    document = folder / "network.toml"
    document.write_text(document.read_text().replace("[ledger]", '[ledger]\nrules = ["../own.py:Equal"]'))
    assert "equal" not in RULES
    assemble(load_network(document))
    assert RULES["equal"](least=4).least == 4  # type: ignore[attr-defined]
