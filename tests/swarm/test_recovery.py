"""A validator's disk is restored from a backup: with `ledger recover` it comes back, without it it stops. No fork."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from itertools import count

import pytest

from p2pfl.core.party import Put
from p2pfl.hosts.faults import Crash, Faults
from p2pfl.ledger.blocks.genesis import parse_genesis
from p2pfl.ledger.check.verify import verify_store
from p2pfl.ledger.feeds.entry import parse
from p2pfl.ledger.feeds.records import ENTRY
from p2pfl.ledger.finality.journal import FINAL
from p2pfl.ledger.finality.tip import GENESIS, restore_tip
from p2pfl.ledger.outcome.contract import Accounts
from p2pfl.ledger.stores.memory import MemoryStore
from p2pfl.ledger.stores.sqlite import SqliteStore
from p2pfl.peer.recovery import RECOVER
from p2pfl.runs.network import ledger_agreement
from p2pfl.runs.simulate import World, build_simulation, run_simulation


class Swarm:
    """Four validators on a ring; the disk of the second is rolled back while it is down."""

    def __init__(self, kit, recovers, rounds=60, disk="rolled-back"):
        self.recovers = recovers
        self.statements = defaultdict(set)
        self.emitted = defaultdict(list)
        numbers = count()
        swarm = self

        class Watched(MemoryStore):
            def __init__(self):
                super().__init__()
                if next(numbers) >= 4 and swarm.recovers:  # the operator, after the backup is restored
                    self.commit([Put(RECOVER, b"", bytes(8))])

            def commit_many(self, batches: Iterable[Sequence[Put]]) -> None:
                batches = [list(puts) for puts in batches]
                super().commit_many(batches)
                for put in (put for puts in batches for put in puts):
                    if put.space == ENTRY and put.value is not None:
                        swarm.statements[put.key].add(put.value)

        ledger = {"genesis": "genesis.toml", "interval_s": 0.2}
        pace = {"timeout_s": 1.0, "window": 2, "rounds": rounds}
        self.config = kit.document(
            4, "ring", rounds, model={"args": {"hidden": [8]}}, mix={"clip": "off"}, ledger=ledger, pace=pace
        )
        self.victim = self.config.nodes[1].key
        crash = Crash(self.victim, at=2.0, restart_after=0.5, disk=disk, copied_at=0.9)
        world = World(faults=Faults(delay_s=0.005, crashes=(crash,)), step_s=0.02)
        self.simulation = build_simulation(
            self.config, world, make_store=Watched, on_emit=lambda o, emit: self.emitted[o.name].append(emit)
        )
        self.trace = run_simulation(self.simulation, 10_000.0)
        assert self.trace.counts["crashed"] == 1
        self.stores = {name: self.simulation.host.store(node) for name, node in self.simulation.shared.ids.items()}

    def state(self, name):
        restored = self.stores[name].load()
        genesis = parse_genesis(restored[GENESIS][b""].decode(), "here")
        return restore_tip(genesis.digest, Accounts(genesis).first_state(), restored).state

    def check_no_fork(self):
        assert all(len(statements) == 1 for statements in self.statements.values())
        assert ledger_agreement([store.load().get(FINAL, {}) for store in self.stores.values()])["ledger_agrees"]
        assert all(not self.state(name).items("frozen") for name in self.stores)


@pytest.mark.slow
def test_a_restored_backup_resumes_in_a_new_incarnation(kit, tmp_path):
    swarm = Swarm(kit, recovers=True)
    swarm.check_no_fork()
    assert {stop.code for stop in swarm.trace.stopped.values()} == {0}
    assert len(swarm.trace.stopped) == 4
    names = list(swarm.stores)
    assert all(swarm.state(name).number("incarnation", swarm.victim) == 1 for name in names)
    own = [parse(raw) for key, raw in swarm.stores["n1"].load()[ENTRY].items() if key[:32] == swarm.victim]
    lost = [e for e in own if e.incarnation == 0]
    resumed = [e for e in own if e.incarnation == 1]
    resume = next(e for e in resumed if e.kind == "resume")
    assert resume.payload[:3] == (0, lost[-1].seq, lost[-1].id), "the whole old feed came back from the others"
    assert len(resume.payload[3]) >= 2, "f + 1 validators of four, not counting itself"
    assert RECOVER not in swarm.stores["n1"].load(), "the record is gone once resume is final"
    assert swarm.simulation.nodes["n1"].party.keeper.status()["votes"]
    assert "ledger.resumed" in [emit.name for emit in swarm.emitted["n1"]]
    assert "receipts" in [e.kind for e in resumed], "it learns and writes on in the new incarnation"
    for name, store in swarm.stores.items():
        copy = SqliteStore(tmp_path / f"{name}.db")
        copy.commit([Put(space, key, value) for space, rows in store.load().items() for key, value in rows.items()])
        copy.close()
        assert verify_store(copy.path).problems == ()


@pytest.mark.parametrize("disk", ["rolled-back", pytest.param("wiped", marks=pytest.mark.slow)])
def test_without_recover_the_node_stops_before_it_forks(kit, disk):
    swarm = Swarm(kit, recovers=False, disk=disk)
    swarm.check_no_fork()
    stop = swarm.trace.stopped[swarm.victim]
    assert stop.code == 2
    assert "run: p2pfl ledger recover" in stop.reason
    assert "\n" not in stop.reason
    assert {s.code for node, s in swarm.trace.stopped.items() if node != swarm.victim} == {0}
