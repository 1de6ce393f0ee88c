"""A validator of a whole network votes twice in each view: all convict it, and the proof outlives a crash."""

from hashlib import sha256

import pytest
from click.testing import CliRunner

from p2pfl.cli import root
from p2pfl.core.party import Put
from p2pfl.hosts.faults import Crash, Faults
from p2pfl.ledger.blocks.block import DOUBLE_VOTE
from p2pfl.ledger.blocks.genesis import parse_genesis
from p2pfl.ledger.blocks.rule import Kind
from p2pfl.ledger.blocks.votes import sign_vote
from p2pfl.ledger.check.verify import verify_store
from p2pfl.ledger.finality.journal import FAULT
from p2pfl.ledger.finality.simplex import Finality
from p2pfl.ledger.finality.talk import Ballots
from p2pfl.ledger.finality.tip import GENESIS, restore_tip
from p2pfl.ledger.outcome.contract import Accounts
from p2pfl.ledger.stores.sqlite import SqliteStore
from p2pfl.peer import keeper
from p2pfl.runs.network import ledger_agreement
from p2pfl.runs.simulate import World, simulated


class DoubleVoter(Finality):
    """Votes for a block that nobody proposed, beside each that it votes for."""

    def _cast(self, round_, kind, hash_, block=None):
        super()._cast(round_, kind, hash_, block)
        if kind is Kind.NOTARIZE:
            other = sha256(hash_).digest()
            self._say(Ballots((sign_vote(self.signer, self.terms.net, kind, self.poll.epoch, round_.view, other),)))

    def _fall_silent(self, vote):
        """It knows what it signed."""


@pytest.fixture
def liar(monkeypatch):
    """The key of the node that is to lie, to be added by the test."""
    keys = set()

    class Replica(keeper.Replica):
        def __init__(self, terms, signer, *args, **more):
            super().__init__(terms, signer, *args, **more)
            if signer.node in keys:
                self.finality.__class__ = DoubleVoter

    monkeypatch.setattr(keeper, "Replica", Replica)
    return keys


def state_of(store):
    restored = store.load()
    genesis = parse_genesis(restored[GENESIS][b""].decode(), "here")
    return restore_tip(genesis.digest, Accounts(genesis).first_state(), restored).state


@pytest.mark.parametrize("family", ["ring", pytest.param("complete", marks=pytest.mark.slow)])
def test_who_votes_twice_is_convicted_by_all(kit, liar, tmp_path, family):
    ledger = {"genesis": "genesis.toml", "interval_s": 0.2}
    config = kit.document(4, family, 40, model={"args": {"hidden": [8]}}, mix={"clip": "off"}, ledger=ledger)
    victim, culprit = config.nodes[0], simulated(config).nodes[2]
    liar.add(culprit.key)
    crashes = tuple(Crash(victim.key, at=at, restart_after=0.2, after_effects=2) for at in (0.3, 0.6))
    played = kit.play(config, World(faults=Faults(delay_s=0.005, crashes=crashes)))
    played.check()
    assert played.trace.counts["crashed"] == 2
    stores = [played.simulation.host.store(node) for node in played.simulation.shared.ids.values()]
    found = ledger_agreement([store.load().get("final", {}) for store in stores])
    assert found["ledger_agrees"]
    for store in stores:
        frozen = dict(state_of(store).items("frozen"))
        assert {parts[0]: value[0] for parts, value in frozen.items()} == {culprit.key: DOUBLE_VOTE}
        assert not store.load().get(FAULT), "what is in a block need not wait any more"
    path = tmp_path / "node.db"
    copy = SqliteStore(path)
    copy.commit([Put(space, key, value) for space, rows in stores[0].load().items() for key, value in rows.items()])
    copy.close()
    assert verify_store(path).problems == ()
    shown = CliRunner().invoke(root, ["ledger", "forks", str(path)])
    assert shown.exit_code == 0
    assert "signed two conflicting votes in one view" in shown.output
    assert culprit.key.hex()[:8] in shown.output or culprit.name in shown.output
