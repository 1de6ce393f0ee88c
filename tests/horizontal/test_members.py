"""Neighbours that come and go in mid-run: new edges, kept edges, forgotten ones, and what they leave behind."""

from dataclasses import replace

import pytest
import torch

from p2pfl.core.party import SetTimer, TimerFired
from p2pfl.horizontal.terms.placing import neighbourhood_of
from p2pfl.hosts.faults import Crash, Faults
from p2pfl.hosts.life import lanes
from p2pfl.hosts.sim import SimHost
from p2pfl.ledger.stores.memory import MemoryStore
from p2pfl.membership.shape import Shape
from p2pfl.mixing import Average
from p2pfl.topology.graphs.graph import Topology, edge
from p2pfl.wire.post import Members

COUNT = 6


class Told:
    """A Party whose job is told of the members at given times: what a membership does, without one."""

    def __init__(self, party, views):
        self.party, self.views = party, views

    @property
    def job(self):
        return self.party.job

    def handle(self, event, now):
        match event:
            case TimerFired(key=("view", number)):
                _, alive, departed = self.views[number]
                return self.party._job(Members(number + 1, alive, departed), now)
            case _:
                effects = self.party.handle(event, now)
        if type(event).__name__ == "Started":
            effects = [*effects, *(SetTimer(("view", i), max(v[0], now)) for i, v in enumerate(self.views))]
        return effects


def shaped(kit, rule=None, **plan):
    """Nodes whose graph is the ring of those who are alive."""
    edges = [(i, (i + 1) % COUNT) for i in range(COUNT)]
    nodes = kit.nodes([(min(e), max(e)) for e in edges], rule, **plan)
    names = {node.id: f"n{i}" for i, node in enumerate(nodes)}
    shape = Shape(names, build=ring)
    for node in nodes:
        node.plan = replace(node.plan, shape=shape, nb=neighbourhood_of(shape, tuple(sorted(names)), node.id))
    return nodes, shape


def ring(names):
    if len(names) < 2:
        return Topology(tuple(names), frozenset())
    return Topology(tuple(names), frozenset(edge(a, b) for a, b in zip(names, [*names[1:], names[0]], strict=True)))


def run(nodes, views, faults=None, until=300.0, starts=None):
    emitted = []
    host = SimHost(7, faults or Faults(), lanes(0.02, 0.001), on_emit=lambda t, n, e: emitted.append((t, n, e)))
    for index, node in enumerate(nodes):
        mine = views(index)
        make = lambda node=node, mine=mine: Told(node.party(), mine)  # noqa: E731
        host.add(node.id, make, node.work, MemoryStore, (starts or {}).get(index, 0.0))
    return host, host.run(until), emitted


def job(host, node):
    return host.party(node.id).job


@pytest.mark.parametrize("rule", [None, Average()], ids=["pairs", "rows"])
def test_one_that_leaves_is_replaced_by_the_next_in_the_ring(kit, rule):
    mode = {} if rule is None else {"mode": "semi_sync"}
    nodes, _ = shaped(kit, rule, rounds=80, **mode)
    gone = nodes[2].id
    rest = tuple(sorted(node.id for node in nodes if node.id != gone))
    dies = Faults(crashes=(Crash(gone, 0.8, None),))
    host, trace, emitted = run(nodes, lambda _: [(1.0, rest, (gone,))], dies)
    assert trace.outcome == "stopped"
    assert {stop.code for stop in trace.stopped.values()} == {0}
    for left, right in ((1, 3), (3, 1)):
        found = job(host, nodes[left])
        assert nodes[right].id in found.nb.neighbours
        assert gone not in found.nb.neighbours
        if rule is None:
            assert gone not in found.exchange.edges
            assert found.exchange.edges[nodes[right].id].exchanges > 0
    assert sum(e.name == "neighbours" for _, _, e in emitted) >= 2


@pytest.mark.slow
def test_the_sum_of_the_drift_corrections_is_zero_again(kit):
    """What those who stay hold for the one that left is taken off, at both its neighbours."""
    nodes, _ = shaped(kit, rounds=10**6)
    gone = nodes[2].id
    rest = [node for node in nodes if node.id != gone]
    alive = tuple(sorted(node.id for node in rest))
    dies = Faults(crashes=(Crash(gone, 1.0, None),))
    host, _, _ = run(nodes, lambda _: [(1.2, alive, (gone,))], dies, until=1.19)
    z = [job(host, node).local.pair.z for node in rest]
    before = float(torch.stack(z).sum(0).norm())
    host.run(3.0)
    assert all(gone not in job(host, node).exchange.edges for node in rest)
    z = [job(host, node).local.pair.z for node in rest]
    after = float(torch.stack(z).sum(0).norm())
    in_flight = 0.25 * max(float(one.norm()) for one in z)  # an exchange that one end has applied before the other
    assert after < max(0.2 * before, in_flight)


def test_one_that_was_thought_dead_goes_on_where_it_was(kit):
    nodes, _ = shaped(kit, rounds=60)
    quiet = nodes[2].id
    everybody = tuple(sorted(node.id for node in nodes))
    rest = tuple(n for n in everybody if n != quiet)
    views = [(0.6, rest, (quiet,)), (0.7, everybody, ())]
    _, trace, emitted = run(nodes, lambda i: [] if i == 2 else views)
    assert trace.outcome == "stopped"
    begun = [e for _, n, e in emitted if e.name == "epoch" and n in (nodes[1].id, nodes[3].id)]
    assert all(quiet.hex()[:8] != e.fields["peer"] for e in begun)


@pytest.mark.slow
def test_a_member_that_comes_late_gets_edges_at_both_ends(kit):
    nodes, shape = shaped(kit, rounds=120, gather_s=2.0)
    everybody = tuple(sorted(node.id for node in nodes))
    first = tuple(n for n in everybody if n != nodes[5].id)
    for node in nodes[:5]:
        node.plan = replace(node.plan, nb=neighbourhood_of(shape, first, node.id))
    host, trace, emitted = run(nodes, lambda i: [] if i == 5 else [(2.0, everybody, ())], starts={5: 1.9})
    assert trace.outcome == "stopped"
    assert {stop.code for stop in trace.stopped.values()} == {0}
    assert [e for _, n, e in emitted if n == nodes[5].id and e.name == "joined"]
    edges = job(host, nodes[5]).exchange.edges
    assert all(edge.exchanges > 0 for edge in edges.values())


def test_what_two_have_added_is_kept_while_both_stay(kit):
    """A newcomer comes between them: their edge is forgotten at once, what it has added when one of them leaves."""
    nodes, shape = shaped(kit, rounds=10**6, gather_s=1.0)
    left, right, late = nodes[4].id, nodes[0].id, nodes[5].id
    everybody = tuple(sorted(node.id for node in nodes))
    first = tuple(n for n in everybody if n != late)
    rest = tuple(n for n in everybody if n != right)
    for node in nodes[:5]:
        node.plan = replace(node.plan, nb=neighbourhood_of(shape, first, node.id))
    views = [(1.0, everybody, ()), (2.5, rest, (right,))]
    dies = Faults(crashes=(Crash(right, 2.4, None),))
    host, _, emitted = run(nodes, lambda i: views[i == 5 :], dies, until=2.3, starts={5: 0.9})
    here, there = job(host, nodes[4]).exchange, job(host, nodes[0]).exchange
    assert right not in here.edges
    assert torch.allclose(here.held[right], -there.held[left], atol=1e-6)
    assert not [e for _, n, e in emitted if n == left and e.name == "let_go"]
    host.run(4.0)
    assert right not in here.held
    assert [e for _, n, e in emitted if n == left and e.name == "let_go"]
