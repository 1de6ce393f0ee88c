"""A node that forks its feed on purpose is convicted by all, without anybody in the middle; the others go on."""

import importlib.util
from pathlib import Path

import pytest

from p2pfl.hosts.faults import Faults
from p2pfl.ledger.blocks.genesis import parse_genesis
from p2pfl.ledger.finality.book import FORK, fork_from
from p2pfl.ledger.finality.tip import GENESIS, restore_tip
from p2pfl.ledger.outcome.contract import Accounts
from p2pfl.ledger.outcome.members import granted
from p2pfl.runs.simulate import World


def beside(name):
    spec = importlib.util.spec_from_file_location(f"swarm_{name}", Path(__file__).with_name(f"{name}.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


FORKER = "n1"


@pytest.fixture
def played(kit, monkeypatch):
    monkeypatch.setattr("p2pfl.assemble.network.Peer", beside("forker").forking(FORKER))
    ledger = {"genesis": "genesis.toml", "interval_s": 0.2}
    config = kit.document(
        5, "ring", 60, model={"args": {"hidden": [8]}}, mix={"clip": "off"}, ledger=ledger, pace={"window": 2}
    )
    return kit.play(config, World(faults=Faults(delay_s=0.005), step_s=0.03))


@pytest.mark.slow
def test_a_forker_is_frozen_everywhere_and_the_others_learn_on(played):
    simulation = played.simulation
    assert {stop.code for stop in played.trace.stopped.values()} == {0}
    key = simulation.shared.ids[FORKER]
    place = simulation.nodes[FORKER].party.forked_at
    assert place is not None
    roots = set()
    for node in simulation.shared.ids.values():
        restored = simulation.host.store(node).load()
        ((where, raw),) = restored[FORK].items()
        fork = fork_from(where, raw)
        assert (where[:32], fork.seq) == (key, place[1]), "the proof is with everybody"
        genesis = parse_genesis(restored[GENESIS][b""].decode(), "here")
        state = restore_tip(genesis.digest, Accounts(genesis).first_state(), restored).state
        kind, incarnation, ceiling = state.get("frozen", key)
        assert (kind, incarnation) == (0, place[0])
        assert granted(state, key) == 0
        next_seq, _ = state.get("feed", key, 0)
        assert next_seq <= max(ceiling, place[1]) + 1, "nothing after the fork is final, but what was final stays"
        paid = sum(int(a) for _, (a,) in state.items("balance"))
        assert paid == state.number("issued")
        roots.add(state.root())
    assert len(roots) == 1
    rows = [row for row in played.summary["per_node"] if row["name"] != FORKER]
    assert all(row["round"] == row["rounds"] for row in rows)
    assert not played.summary["failures"]
    assert played.summary["feeds_verified"], "a store with a proof in it is sound"
