"""Networks with a ledger: while they learn, and through loss and a crash, all make the same entries final."""

from itertools import takewhile

import pytest

from p2pfl.hosts.faults import Crash, Faults
from p2pfl.ledger.blocks.genesis import parse_genesis
from p2pfl.ledger.finality.journal import FINAL, parse_decided
from p2pfl.ledger.finality.tip import GENESIS, restore_tip
from p2pfl.ledger.outcome.contract import Accounts
from p2pfl.ledger.outcome.state import State
from p2pfl.runs.simulate import WINDOW, World


def document(kit, rounds=40, nodes=4, family="ring", **sections):
    ledger = {"genesis": "genesis.toml", "interval_s": 0.2}
    return kit.document(
        nodes, family, rounds, model={"args": {"hidden": [8]}}, mix={"clip": "off"}, ledger=ledger, **sections
    )


def chains(played):
    """Of each node: the hashes of its final blocks, in order."""
    found = {}
    for name, node in played.simulation.shared.ids.items():
        rows = played.simulation.host.store(node).load((FINAL,)).get(FINAL, {})
        found[name] = [parse_decided(raw).block.hash for raw in rows.values()]
    return found


def state_of(played, name) -> State:
    """What a node's store says, read as its next start would."""
    restored = played.simulation.host.store(played.simulation.shared.ids[name]).load()
    genesis = parse_genesis(restored[GENESIS][b""].decode(), "here")
    return restore_tip(genesis.digest, Accounts(genesis).first_state(), restored).state


def check_final(played):
    """One prefix everywhere; everybody's last entry is final; the supply of each closed window is spent once."""
    found = list(chains(played).values())
    longest = max(found, key=len)
    assert all(chain == longest[: len(chain)] for chain in found)
    nodes = played.simulation.nodes
    assert not any(node.party.keeper.parting.awaited for node in nodes.values())
    for name in nodes:
        state = state_of(played, name)
        settled = [value for _, value in state.items("settled")]
        assert len(settled) == state.number("height") // WINDOW > 0
        balances = sum(int(amount) for _, (amount,) in state.items("balance"))
        assert balances == sum(paid for _, _, _, paid in settled) == state.number("issued")
        assert all(paid in (0, supply) for _, _, supply, paid in settled)


def faulty(config):
    victim = config.nodes[1].key
    crash = Crash(victim, at=1.0, restart_after=0.5, after_effects=3)
    faults = Faults(delay_s=0.005, jitter_s=0.01, request_loss=0.05, reply_loss=0.05, crashes=(crash,))
    return World(faults=faults, persist_s=0.002)


def test_a_quiet_network_ends_with_everything_final(kit):
    config = document(kit)
    played = kit.play(config, World())
    played.check()
    check_final(played)
    assert played.summary["ledger_agrees"]
    assert played.summary["ledger_final_height"] == max(len(chain) for chain in chains(played).values())
    left = [emit for told in played.emitted.values() for emit in told if emit.name == "ledger.left"]
    assert len(left) == 4
    assert all(emit.fields["all_final"] for emit in left)
    lasts = [node.party.keeper.witness.last for node in played.simulation.nodes.values()]
    assert all(last is not None and last.enough for last in lasts)


@pytest.mark.slow
def test_loss_and_a_crash_do_not_split_the_ledger(kit):
    config = document(kit)
    played = kit.play(config, faulty(config))
    played.check()
    assert played.trace.counts["crashed"] == 1
    check_final(played)
    assert kit.play(config, faulty(config)).trace.digest == played.trace.digest, "one seed, one trace"


def test_without_a_quorum_the_nodes_learn_and_leave(kit):
    """Two of four never come back: nothing is final any more, and nobody waits for ever."""
    config = document(kit, rounds=30, pace={"timeout_s": 0.5, "gather_s": 1.0})
    gone = tuple(Crash(entry.key, at=0.5, restart_after=None) for entry in config.nodes[:2])
    played = kit.play(config, World(faults=Faults(crashes=gone)))
    assert played.trace.outcome == "stopped"
    assert {stop.code for stop in played.trace.stopped.values()} == {0}
    assert len(played.trace.stopped) == 2
    assert played.trace.now < 120.0


def test_the_ledger_changes_nothing_that_is_learned(kit):
    """In lockstep, where the outcome does not hang on who is first, models with and without a ledger are the same."""
    pace = {"mode": "lockstep"}
    with_ledger = kit.play(document(kit, 10, pace=pace), World())
    without = kit.play(
        kit.document(4, "ring", 10, model={"args": {"hidden": [8]}}, mix={"clip": "off"}, pace=pace), World()
    )
    rounds = [[row["accuracy"] for row in played.summary["per_node"]] for played in (with_ledger, without)]
    assert rounds[0] == rounds[1]
    assert len(rounds[0]) == 4
    assert without.summary["ledger_final_height"] is None


SHAPES = [("ring", 7), ("line", 5), ("star", 6)]


def check_many_faults(kit, topology, nodes, seed):
    """Requests and replies get lost and a node crashes; votes need several steps to get around. All becomes final."""
    config = document(kit, rounds=150, nodes=nodes, family=topology, seed=seed)
    played = kit.play(config, faulty(config))
    played.check()
    check_final(played)
    prefixes = list(chains(played).values())
    assert len(list(takewhile(lambda row: len(set(row)) == 1, zip(*prefixes, strict=False)))) > WINDOW


@pytest.mark.slow
def test_seven_nodes_through_many_faults(kit):
    check_many_faults(kit, "ring", 7, 1)


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(2, 12))
@pytest.mark.parametrize(("topology", "nodes"), SHAPES)
def test_shapes_through_many_faults(kit, topology, nodes, seed):
    check_many_faults(kit, topology, nodes, seed)
