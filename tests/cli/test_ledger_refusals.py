"""What must not be believed is refused, each with its reason in one line: the list of docs/threat_model.md."""

import importlib.util
from pathlib import Path
from typing import Any

import pytest

from p2pfl.cli import main
from p2pfl.errors import ConfigError, LedgerError, Reject
from p2pfl.ledger.blocks.genesis import parse_genesis
from p2pfl.ledger.feeds.records import put_entry
from p2pfl.ledger.finality.book import Book
from p2pfl.ledger.stores.sqlite import SqliteStore
from p2pfl.peer.recovery import Recovery

SMALL_ORDER = "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa"


def builder() -> Any:
    path = Path(__file__).parents[1] / "ledger" / "final" / "conftest.py"
    spec = importlib.util.spec_from_file_location("refusals_network", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


BUILD = builder()


@pytest.fixture(scope="module")
def network() -> Any:
    return BUILD.played(6)


@pytest.fixture(scope="module")
def home(network: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A node's store, its genesis, a proof and a checkpoint."""
    home = tmp_path_factory.mktemp("home")
    network.write(home / "alice" / "node.db")
    (home / "genesis.toml").write_text(network.genesis.to_toml())
    for argv in (
        ["prove", home / "alice", "#3", "--out", home / "proof"],
        ["checkpoint", home / "alice", "-o", home / "c"],
    ):
        assert main(["ledger", *map(str, argv)]) == 0
    return home


def called(capsys: pytest.CaptureFixture[str], *argv: object) -> tuple[int, str, str]:
    code = main(["ledger", *map(str, argv)])
    out, err = capsys.readouterr()
    return code, out, err


def test_a_genesis_that_differs_by_one_byte(home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = tmp_path / "genesis.toml"
    other.write_text((home / "genesis.toml").read_text().replace("supply = 1000", "supply = 1001"))
    code, out, _ = called(capsys, "verify", home / "alice", "--genesis", other)
    assert code == 1
    assert "the record genesis: is of network" in out
    code, out, _ = called(capsys, "verify-proof", home / "proof", "--genesis", other)
    assert code == 1
    assert "NOT PROVEN: the proof is of network" in out


def test_a_validator_key_that_is_a_point_of_small_order(home: Path, network: Any) -> None:
    text = network.genesis.to_toml().replace(network.genesis.validators[-1].hex(), SMALL_ORDER)
    with pytest.raises(ConfigError, match="a weak or malformed point that no key file has") as refused:
        parse_genesis(text, "genesis.toml")
    assert "\n" not in str(refused.value)
    assert main(["genesis", SMALL_ORDER, "--out", str(home / "weak.toml")]) == 2
    assert not (home / "weak.toml").exists()


def test_an_entry_of_another_network(network: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    stranger = BUILD.Network(name="other", n=5)
    other = stranger.say(4, "model", [b"\x11" * 32, 0])
    with pytest.raises(Reject, match="is of another network"):
        Book(network.net).add(other)
    path = network.write(tmp_path / "node.db")
    store = SqliteStore(path)
    store.commit([put_entry(entry) for entry in stranger.pending])
    store.close()
    code, out, _ = called(capsys, "verify", path)
    assert code == 1
    assert f"network: expected {network.net.hex()[:8]}, the entry says {stranger.net.hex()[:8]}" in out


def test_a_restored_backup_that_would_fork(network: Any) -> None:
    me = network.nodes[0]
    own = [entry for entry in network.entries if entry.author == me.node]
    recovery = Recovery(me, network.net, [network.nodes[1].node])
    recovery.begin({"entry": {put.key: put.value or b"" for put in map(put_entry, own[:-1])}}, bytes(32))
    with pytest.raises(LedgerError, match=r"restored from a backup.*run: p2pfl ledger recover"):
        recovery.check([put_entry(own[-1])])


def test_a_checkpoint_from_the_future(home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = (home / "c").read_text().split("\n")
    future = tmp_path / "future"
    future.write_text("\n".join([lines[0], str(int(lines[1]) + 50), *lines[2:]]))
    code, out, _ = called(
        capsys, "verify-proof", home / "proof", "--genesis", home / "genesis.toml", "--checkpoint", future
    )
    assert code == 1
    assert "NOT PROVEN: the checkpoint's tree is larger" in out
    code, _, err = called(capsys, "prove", home / "alice", "--since", future)
    assert (code, err.count("\n")) == (2, 1)
    assert "no cosigned checkpoint covers leaf" in err


def test_a_checkpoint_of_another_network_and_a_forged_root(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = (home / "c").read_text().split("\n")
    for name, changed, words in (
        ("network", ["p2pfl/" + "00" * 32, *lines[1:]], "network"),
        ("root", [*lines[:2], "A" * 43 + "=", *lines[3:]], "root"),
    ):
        path = tmp_path / name
        path.write_text("\n".join(changed))
        code, out, _ = called(
            capsys, "verify-proof", home / "proof", "--genesis", home / "genesis.toml", "--checkpoint", path
        )
        assert code == 1
        assert "NOT PROVEN" in out
        assert words in out
