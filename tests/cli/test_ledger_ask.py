"""`p2pfl ledger join, endorse, leave, rotate, recover`: what they ask a node for, and what they refuse to."""

import importlib.util
import json
from pathlib import Path
from typing import Any

import pytest

from p2pfl.cli import main
from p2pfl.ledger.blocks.faults import fork_fault
from p2pfl.ledger.feeds.evidence import evidence_of
from p2pfl.ledger.feeds.kinds import VALIDATOR, WORKER
from p2pfl.ledger.feeds.statements import is_consent
from p2pfl.ledger.stores.sqlite import SqliteStore
from p2pfl.peer.recovery import RECOVER
from p2pfl.runs.spool import Spool
from p2pfl.wire import keyfile

NAMES = ("alice", "bob", "carol", "dave")


def builder() -> Any:
    path = Path(__file__).parents[1] / "ledger" / "final" / "conftest.py"
    spec = importlib.util.spec_from_file_location("ask_network", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def network() -> Any:
    """Alice and bob vote and sponsor; carol has asked to be a worker; dave is nobody."""
    network = builder().Network(sponsors=2)
    network.sends(0, 1)
    network.say(2, "join", [WORKER])
    network.close()
    return network


@pytest.fixture
def run(network: Any, tmp_path: Path) -> Path:
    """A folder as `p2pfl demo` leaves it: nodes/NAME/run, each with its configuration beside its store."""
    return written(network, tmp_path / "trial")


def written(network: Any, home: Path) -> Path:
    nodes = "".join(
        f'[[nodes]]\nname = "{name}"\nkey = "{signer.node.hex()}"\nurl = "http://127.0.0.1:1"\n'
        for name, signer in zip(NAMES, network.nodes, strict=True)
    )
    for name in NAMES:
        folder = home / "nodes" / name / "run"
        network.write(folder / "node.db")
        (folder / "config.toml").write_text(f'name = "{name}"\n')
        (folder / "network.toml").write_text(f'name = "trial"\n{nodes}')
    return home / "nodes"


def called(capsys: pytest.CaptureFixture[str], *argv: object) -> tuple[int, str, str]:
    code = main(["ledger", *map(str, argv)])
    out, err = capsys.readouterr()
    return code, out, err


def asked(network: Any, run: Path, name: str) -> list[tuple[str, tuple[Any, ...]]]:
    """What waits in a node's folder."""
    node = network.nodes[NAMES.index(name)].node
    requests, refused = Spool(run / name / "run", network.net, node).waiting()
    assert refused == []
    return [(request.kind, request.payload) for request in requests]


def test_join_leaves_a_request_and_says_who_must_speak(
    network: Any, run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, _ = called(capsys, "join", run / "dave" / "run", "--role", "worker", "--role", "validator")
    assert code == 0
    assert "asks to be: worker, validator" in out
    assert "needs 2 of the sponsors" in out
    assert network.nodes[3].node.hex() in out
    assert asked(network, run, "dave") == [("join", (WORKER | VALIDATOR,))]
    code, out, _ = called(capsys, "join", run, "--node", "dave", "--json")
    assert (code, json.loads(out)["kind"]) == (0, "join")
    assert len(asked(network, run, "dave")) == 2


def test_a_sponsor_endorses_by_name_or_key(network: Any, run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    carol = network.nodes[2].node
    assert called(capsys, "endorse", run / "alice" / "run", "carol")[0] == 0
    assert called(capsys, "endorse", run / "alice" / "run", carol.hex())[0] == 0
    assert asked(network, run, "alice") == [("endorse", (carol, WORKER))]


def test_a_rotation_carries_the_new_keys_consent(
    network: Any, run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    new = keyfile.create(tmp_path / "new")
    code, out, _ = called(capsys, "rotate", run / "bob" / "run", tmp_path / "new")
    assert (code, new.node.hex() in out) == (0, True)
    ((kind, (key, consent)),) = asked(network, run, "bob")
    assert (kind, key) == ("key.rotate", new.node)
    assert is_consent(network.net, network.nodes[1].node, new.node, consent)


def test_leaving(network: Any, run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert called(capsys, "leave", run / "bob" / "run", "--role", "validator")[0] == 0
    assert asked(network, run, "bob") == [("leave", (VALIDATOR,))]


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (("join", "alice/run"), "has asked for this already; it has: worker, validator, sponsor"),
        (("join", "carol/run"), "has asked for this already; it has: no role"),
        (("join", "."), "expected one node, found 4: choose it with --node"),
        (("endorse", "carol/run", "dave"), "carol is no sponsor in this ledger; sponsors are: "),
        (("endorse", "alice/run", "eve"), "no node 'eve' in this ledger; there are: "),
        (("endorse", "alice/run", "01" + "00" * 31), "a weak or malformed point"),
        (("leave", "dave/run"), "neither has nor asks for what it would give up; it has: no role"),
        (("rotate", "alice/run", "no-such-key"), "cannot read the key file"),
    ],
)
def test_what_would_be_in_vain_is_refused_in_one_line(
    run: Path, argv: tuple[str, ...], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    code, _, err = called(capsys, argv[0], run / argv[1], *argv[2:])
    assert (code, err.count("\n")) == (2, 1), err
    assert words in err
    assert not list(run.rglob("*.request"))


def test_a_key_that_the_ledger_knows_takes_nothing_over(
    network: Any, run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, seed in (("own", bytes([2]) * 32), ("known", bytes([1]) * 32)):
        path = tmp_path / name
        path.write_text(f"p2pfl-key-v1 {seed.hex()}\n")
        path.chmod(0o600)
        code, _, err = called(capsys, "rotate", run / "bob" / "run", path)
        assert code == 2
        assert "expected a key that the ledger does not know" in err


def test_a_frozen_node_asks_for_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from p2pfl.ledger.feeds.entry import make

    network = builder().Network()
    entry = network.say(1, "model", [b"\x11" * 32, 0])
    other = make(network.nodes[1], network.net, (0, entry.seq), entry.prev, 0, "model", [b"\x22" * 32, 0])
    network.close(fork_fault(evidence_of(entry, other)))
    run = written(network, tmp_path)
    code, _, err = called(capsys, "leave", run / "bob" / "run")
    assert code == 2
    assert "frozen for good" in err
    assert "p2pfl ledger forks" in err


# ------------------------------------------------------------------------------------------------ recover


def test_recover_leaves_its_record(network: Any, run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = called(capsys, "recover", run / "alice" / "run")
    assert code == 0
    assert "incarnation 1" in out
    store = SqliteStore(run / "alice" / "run" / "node.db")
    assert store.load([RECOVER]) == {RECOVER: {b"": bytes(8)}}
    store.close()


def test_recover_refuses_a_running_node_and_one_that_wrote_nothing(
    network: Any, run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, _, err = called(capsys, "recover", run / "dave" / "run")
    assert code == 2
    assert "has no feed of its own" in err
    store = SqliteStore(run / "alice" / "run" / "node.db")
    try:
        code, _, err = called(capsys, "recover", run / "alice" / "run")
    finally:
        store.close()
    assert code == 2
    assert "stop it first" in err
