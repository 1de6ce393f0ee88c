"""`p2pfl genesis`: one permanent document out of keys, and what is refused."""

import json
from pathlib import Path
from typing import Any

import pytest

from p2pfl.cli import main
from p2pfl.config import load_network
from p2pfl.config.identity import load_genesis
from p2pfl.errors import ConfigError
from p2pfl.wire.keyfile import Signer

KEYS = [Signer(bytes([number]) * 32).node.hex() for number in range(1, 5)]


def test_a_trial_has_one_with_everybody_in_it(tmp_path: Path) -> None:
    folder = tmp_path / "trial"
    assert main(["init", str(folder), "--nodes", "4"]) == 0
    network = load_network(folder / "network.toml")
    assert network.ledger.genesis == folder / "genesis.toml"
    genesis = load_genesis(folder / "genesis.toml")
    assert set(genesis.validators) == set(genesis.authorities) == {entry.key for entry in network.nodes}


def test_keys_and_names_are_chosen_from(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder, out = tmp_path / "trial", tmp_path / "made.toml"
    main(["init", str(folder), "--nodes", "4"])
    capsys.readouterr()
    arguments = ["genesis", str(folder / "network.toml"), KEYS[0], "--validator", "n1", "--validator", KEYS[0]]
    assert main([*arguments, "--out", str(out), "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    genesis = load_genesis(out)
    network = load_network(folder / "network.toml")
    assert set(genesis.validators) == {network.node("n1").key, bytes.fromhex(KEYS[0])}
    assert len(genesis.authorities) == 5
    assert said["network"] == genesis.digest.hex()
    assert (said["validators"], said["f"]) == (2, 0)


def test_it_says_what_the_validators_withstand(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["genesis", *KEYS, "--name", "ward", "--out", str(tmp_path / "g.toml")]) == 0
    said = capsys.readouterr().out
    assert "n = 4, f = 1" in said
    assert load_genesis(tmp_path / "g.toml").name == "ward"


WEAK = "01" + "00" * 31
"""A point of small order: anybody can sign for it."""


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([WEAK], "weak or malformed"),
        (["ff"], "expected"),
        ([KEYS[0], "--validator", "nobody"], "expected"),
        ([KEYS[0], "--sponsors", "2"], "sponsors"),
    ],
)
def test_refusals_are_one_line(
    arguments: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["genesis", *arguments, "--out", str(tmp_path / "g.toml")]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert said in error
    assert error.count("\n") == 1
    assert not (tmp_path / "g.toml").exists()


def test_one_that_is_there_is_never_overwritten(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "g.toml"
    main(["genesis", KEYS[0], "--out", str(path)])
    before = path.read_text()
    assert main(["genesis", KEYS[1], "--out", str(path)]) == 2
    assert "permanent" in capsys.readouterr().err
    assert path.read_text() == before


def test_a_changed_document_is_another_network(tmp_path: Path) -> None:
    path = tmp_path / "g.toml"
    main(["genesis", *KEYS, "--out", str(path)])
    before = load_genesis(path).digest
    path.write_text(path.read_text().replace("supply = 1000000", "supply = 1000001"))
    assert load_genesis(path).digest != before


def test_a_missing_genesis_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot read the genesis"):
        load_genesis(tmp_path / "none.toml")


def test_the_genesis_is_the_networks_id(tmp_path: Path) -> None:
    from p2pfl.assemble.network import assemble

    folder = tmp_path / "trial"
    main(["init", str(folder)])
    shared: Any = assemble(load_network(folder / "network.toml"))
    assert shared.network == load_genesis(folder / "genesis.toml").digest


def test_a_rule_has_its_parameters(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    key = Signer(b"\7" * 32).node.hex()
    out = tmp_path / "genesis.toml"
    assert main(["genesis", key, "--rule", "reputation", "--set", "gain=50000", "--out", str(out)]) == 0
    assert load_genesis(out).parameters == (("gain", 50_000),)
    for argv, words in (
        (["--rule", "shapley"], "expected a rule of receipts, score"),
        (["--set", "gain=5"], "the rule receipts has no parameter 'gain'"),
        (["--set", "cap"], "--set cap: expected KEY=N"),
    ):
        assert main(["genesis", key, *argv, "--out", str(tmp_path / "other.toml")]) == 2
        assert words in capsys.readouterr().err
