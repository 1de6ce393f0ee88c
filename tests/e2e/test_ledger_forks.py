"""A node that forks its feed over HTTP: every other node convicts it, and the proof needs the genesis only."""

import importlib.util
import json
from pathlib import Path

import pytest

from p2pfl.cli import main
from p2pfl.ledger.check.verify import verify_store
from p2pfl.runs.simulate import simulated_genesis

FORKER = "n1"


def forker():
    path = Path(__file__).parents[1] / "swarm" / "forker.py"
    spec = importlib.util.spec_from_file_location("e2e_forker", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def called(capsys, *arguments):
    code = main(["ledger", *map(str, arguments)])
    return code, capsys.readouterr().out


@pytest.mark.slow
def test_a_forker_is_convicted_over_http(kit, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("p2pfl.assemble.network.Peer", forker().forking(FORKER))
    genesis = tmp_path / "genesis.toml"
    config = kit.document(
        4, "ring", 120, ledger={"genesis": str(genesis), "interval_s": 0.2}, pace={"window": 3}, mix={"clip": "off"}
    )
    genesis.write_text(simulated_genesis(config).to_toml())
    served = kit.serve(config, tmp_path)
    assert {stop.code for stop in served.stops.values()} == {0}
    key = config.node(FORKER).key.hex()
    for name in ("n0", "n2", "n3"):
        store, proof = tmp_path / f"{name}.db", tmp_path / f"{name}.json"
        assert verify_store(store).problems == ()
        code, out = called(capsys, "forks", store, "--json", "--out", proof)
        (fork,) = json.loads(out)
        assert (code, fork["author"]) == (0, key)
        assert fork["height"] > 0, "a block with the proof is final"
        code, out = called(capsys, "verify-proof", proof, "--genesis", genesis)
        assert (code, out.count("PROVEN")) == (0, 1)
        assert key in out
    text = proof.read_text()
    last = fork["proofs"][1]["raw"]
    proof.write_text(text.replace(last, last[:-2] + ("00" if last[-2:] != "00" else "01")))
    code, out = called(capsys, "verify-proof", proof, "--genesis", genesis)
    assert code == 1
    assert "NOT PROVEN" in out
