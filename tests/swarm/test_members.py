"""A newcomer joins a running network's ledger: endorsed, paid, a validator; then a key gives way to another."""

import pytest

from p2pfl.core.party import TimerFired
from p2pfl.hosts.faults import Faults
from p2pfl.ledger.blocks.genesis import Genesis, parse_genesis
from p2pfl.ledger.feeds.kinds import VALIDATOR, WORKER
from p2pfl.ledger.feeds.statements import consent
from p2pfl.ledger.finality.journal import FINAL
from p2pfl.ledger.finality.tip import GENESIS, restore_tip
from p2pfl.ledger.outcome.contract import Accounts
from p2pfl.ledger.outcome.members import granted, validators_of
from p2pfl.peer.request import Request
from p2pfl.runs import simulate
from p2pfl.runs.network import ledger_agreement
from p2pfl.runs.simulate import World, build_simulation, run_simulation
from p2pfl.wire.keyfile import Signer

SUPPLY = 1000
HEIR = Signer(b"the new key".ljust(32, b"\0"))


class Swarm:
    """Five nodes on a ring; four of them are in the genesis, and two of those must endorse whoever comes."""

    def __init__(self, kit, monkeypatch, rounds=60):
        ledger = {"genesis": "genesis.toml", "interval_s": 0.2}
        pace = {"timeout_s": 1.0, "window": 2, "rounds": rounds}
        self.config = kit.document(
            5, "ring", rounds, model={"args": {"hidden": [8]}}, mix={"clip": "off"}, ledger=ledger, pace=pace
        )
        self.keys = [entry.key for entry in self.config.nodes]
        first = tuple(sorted(self.keys[:4]))
        genesis = Genesis("four", first, first, sponsors=2, supply=SUPPLY, window=3, epoch=4)
        monkeypatch.setattr(simulate, "simulated_genesis", lambda config: genesis)
        world = World(faults=Faults(delay_s=0.005), step_s=0.03)
        self.simulation = build_simulation(self.config, world)

    def request(self, index, at, kind, *payload):
        """Somebody at this node's machine asks it, as the spool in its run folder would: again and again."""
        host = self.simulation.host
        request = Request(f"{kind} at {at}", kind, payload)

        def bring():
            life = host._machines[self.keys[index]].life
            if life is not None:
                life.deliver(TimerFired(request))

        for again in (at, at + 0.3):
            host._agenda.at(again, bring)

    def run(self):
        trace = run_simulation(self.simulation, 10_000.0)
        assert {stop.code for stop in trace.stopped.values()} == {0}
        self.stores = [self.simulation.host.store(key) for key in self.keys]
        assert ledger_agreement([store.load().get(FINAL, {}) for store in self.stores])["ledger_agrees"]
        states = [self.state(store) for store in self.stores]
        assert len({state.root() for state in states}) == 1
        return states[0]

    def state(self, store):
        restored = store.load()
        genesis = parse_genesis(restored[GENESIS][b""].decode(), "here")
        return restore_tip(genesis.digest, Accounts(genesis).first_state(), restored).state


@pytest.fixture
def swarm(kit, monkeypatch):
    return Swarm(kit, monkeypatch)


@pytest.mark.slow
def test_a_newcomer_is_endorsed_paid_and_votes(swarm):
    newcomer = swarm.keys[4]
    swarm.request(4, 0.5, "join", WORKER | VALIDATOR)
    swarm.request(0, 1.0, "endorse", newcomer, WORKER | VALIDATOR)
    swarm.request(2, 1.2, "endorse", newcomer, WORKER | VALIDATOR)
    state = swarm.run()
    assert granted(state, newcomer) == WORKER | VALIDATOR
    assert state.number("balance", newcomer) > 0
    assert newcomer in validators_of(state)
    assert len(validators_of(state)) == 5
    settled = [value for _, value in state.items("settled")]
    assert sum(int(amount) for _, (amount,) in state.items("balance")) == sum(paid for *_, paid in settled)
    assert all(paid in (0, SUPPLY) for *_, paid in settled)


@pytest.mark.slow
def test_one_sponsor_is_not_enough(swarm):
    newcomer = swarm.keys[4]
    swarm.request(4, 0.5, "join", WORKER)
    swarm.request(0, 1.0, "endorse", newcomer, WORKER)
    swarm.request(4, 1.2, "endorse", newcomer, WORKER)
    state = swarm.run()
    assert granted(state, newcomer) == 0
    assert state.number("balance", newcomer) == 0
    assert len(validators_of(state)) == 4


def test_a_key_gives_way_to_another_and_a_member_leaves(swarm):
    old = swarm.keys[1]
    net = swarm.simulation.shared.network
    swarm.request(1, 2.5, "key.rotate", HEIR.node, consent(HEIR, net, old))
    swarm.request(3, 1.0, "leave", WORKER)
    state = swarm.run()
    assert state.get("rotated", old) == (HEIR.node,)
    assert granted(state, old) == 0
    assert granted(state, HEIR.node) & (WORKER | VALIDATOR) == WORKER | VALIDATOR
    assert state.number("balance", HEIR.node) > 0
    assert state.number("balance", old) == 0
    assert not granted(state, swarm.keys[3]) & WORKER
