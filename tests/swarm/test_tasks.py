"""A network that learns, and buys and sells work while it does: publication, sealed bids that nodes open by themselves
when the time has come, pay for messages that were confirmed, and a vote on the rule. All of it through finality.
"""

from itertools import pairwise
from pathlib import Path

import pytest

from p2pfl.core.party import Put, TimerFired
from p2pfl.errors import ConfigError
from p2pfl.hosts.faults import Faults, Partition
from p2pfl.ledger.blocks.genesis import Genesis
from p2pfl.ledger.check.explain import explain
from p2pfl.ledger.check.source import FileSource, View
from p2pfl.ledger.check.stories import rules_told, tasks_told
from p2pfl.ledger.check.verify import verify_store
from p2pfl.ledger.feeds.statements import seal
from p2pfl.ledger.finality.journal import FINAL
from p2pfl.ledger.outcome.rulebook import in_force, proposals
from p2pfl.ledger.outcome.tasks import tasks_of
from p2pfl.ledger.stores.reader import open_reader
from p2pfl.ledger.stores.sqlite import SqliteStore
from p2pfl.peer.request import Request
from p2pfl.runs import simulate
from p2pfl.runs.network import ledger_agreement
from p2pfl.runs.simulate import World, build_simulation, run_simulation

SALT = b"\x5a" * 32


class Bazaar:
    """Five nodes on a ring, all of them workers and four of them validators. Windows of 3 heights."""

    def __init__(self, kit, monkeypatch, rounds=120, interval_s=0.2, step_s=0.03, cut=None):
        ledger = {"genesis": "genesis.toml", "interval_s": interval_s}
        pace = {"timeout_s": 1.0, "window": 2, "rounds": rounds}
        config = kit.document(
            5, "ring", rounds, model={"args": {"hidden": [8]}}, mix={"clip": "off"}, ledger=ledger, pace=pace
        )
        self.keys = sorted(entry.key for entry in config.nodes)
        genesis = Genesis("bazaar", tuple(self.keys), tuple(self.keys[:4]), sponsors=1, supply=1000, window=3, epoch=60)
        monkeypatch.setattr(simulate, "simulated_genesis", lambda config: genesis)
        self.net = genesis.digest
        partitions = (Partition((frozenset(self.keys[:2]),), *cut),) if cut else ()  # neither half has a quorum
        self.simulation = build_simulation(
            config, World(faults=Faults(delay_s=0.005, partitions=partitions), step_s=step_s)
        )

    def every(self, index, ask, first=0.5, until=60.0, pause=0.1):
        """`ask(state)` gives the requests that lie in the node's folder: they are brought again and again."""
        host = self.simulation.host

        def bring():
            life = host._machines[self.keys[index]].life
            if life is None:
                return
            for kind, payload in ask(host.party(self.keys[index]).keeper.tip.state, self.keys[index]):
                life.deliver(TimerFired(Request(f"{kind} {payload!r}", kind, payload)))

        for number in range(int((until - first) / pause)):
            host._agenda.at(first + number * pause, bring)

    def run(self, folder: Path) -> Path:
        trace = run_simulation(self.simulation, 10_000.0)
        assert {stop.code for stop in trace.stopped.values()} == {0}
        stores = [self.simulation.host.store(key) for key in self.keys]
        assert ledger_agreement([store.load().get(FINAL, {}) for store in stores])["ledger_agrees"]
        store = SqliteStore(folder / "node.db")
        store.commit([Put(space, *cell) for space, cells in stores[0].load().items() for cell in cells.items()])
        store.close()
        return folder / "node.db"


def once(written, name, *requests):
    if name not in written:
        written.add(name)
        yield from requests


def publishes(written):
    def ask(state, me):
        if state.number("balance", me) >= 100:
            yield from once(written, "task", ("task.publish", ("label the scans", "auction", 100, 50, 1, 1, 2)))

    return ask


def bids(net, units, ask):
    def ask_for(state, me):
        for id_, task in tasks_of(state):
            if task.phase(state.get("window")[0]) == "bidding":
                yield "bid.commit", (id_, seal(net, id_, me, units, ask, SALT))
            yield "bid.reveal", (id_, units, ask, SALT)  # all the time: the node opens it when it is time

    return ask_for


@pytest.mark.slow
def test_work_is_bought_and_the_rule_changes_while_a_network_learns(kit, monkeypatch, tmp_path):
    bazaar, written = Bazaar(kit, monkeypatch), set()

    def propose(state, me):
        yield from once(written, "rule", ("rule.propose", ("receipts", (("cap", 5),), 15)))

    def vote(state, me):
        for id_, _ in proposals(state):
            yield "rule.vote", (id_, 1)

    bazaar.every(0, publishes(written))
    bazaar.every(1, bids(bazaar.net, 3, 20))
    bazaar.every(2, bids(bazaar.net, 3, 90))
    bazaar.every(0, propose)
    bazaar.every(2, vote)
    bazaar.every(3, vote)
    path = bazaar.run(tmp_path)
    assert verify_store(path).ok
    with open_reader(path) as reader:
        view = View(FileSource(reader))
        (story,) = tasks_told(view).values()
        assert story.picked is not None
        assert set(story.picked.bids) == {bazaar.keys[1], bazaar.keys[2]}, "both were opened in time, by the nodes"
        assert story.picked.withheld == ()
        assert story.paid is not None
        assert story.paid.payouts[bazaar.keys[1]] > 0
        assert sum(story.paid.payouts.values()) + story.paid.returned == 100
        assert in_force(view.state()).parameters == (("cap", 5),)
        assert [rule.name for rule in rules_told(view)] == ["receipts", "receipts"]
        assert "validators adopted it" in explain(view, bazaar.keys[1]).lines[0]


@pytest.mark.slow
def test_a_task_whose_windows_close_during_a_stall_is_paid_late_and_in_full(kit, monkeypatch, tmp_path):
    """The network falls in two halves for 66 seconds while the work is done: each learns on, and no block is final."""
    begins, ends = 33.0, 99.0
    bazaar = Bazaar(kit, monkeypatch, rounds=200, interval_s=1.0, step_s=0.5, cut=(begins, ends))
    bazaar.every(2, publishes(set()))
    bazaar.every(3, bids(bazaar.net, 15, 20))
    path = bazaar.run(tmp_path)
    assert verify_store(path).ok
    with open_reader(path) as reader:
        view = View(FileSource(reader))
        (story,) = tasks_told(view).values()
        times = [block.header.time_ms for block in view.blocks()]
        assert max(after - before for before, after in pairwise(times)) > 60_000, "finality stood still"
        assert story.paid is not None
        (won,) = story.paid.rows.values()
        assert (won.delivered, story.paid.returned) == (15, 0)
        lines = "\n".join(explain(view, bazaar.keys[3], story.task.working).lines)
        assert "is closed: it delivered 15 of 15 units: 100 of 100 credits" in lines
        stalled = [e for e in range(len(times)) if "stood still" in "\n".join(_lines(view, bazaar.keys[3], e // 3))]
        assert {e // 3 for e in stalled} <= {story.task.working - 1, story.task.working}, "while the work is done"
        assert stalled, "explain says in which window"


def _lines(view, node, window):
    try:
        return explain(view, node, window).lines
    except ConfigError:
        return ()
