"""Neighbours that fall silent where nobody says who is alive: what they leave behind, and how they come back."""

import pytest
import torch

from p2pfl.horizontal.model.local import MET_MAX
from p2pfl.hosts.faults import Crash, Faults, Partition
from p2pfl.ledger.stores.memory import MemoryStore

RING = [(0, 1), (1, 2), (2, 3), (3, 4), (4, 5), (0, 5)]
LONG = {"rounds": 10**6, "window": 100}


def job(host, node):
    return host.party(node.id).job


def sum_of_drifts(host, nodes):
    """|sum of z|, and the longest z: what an exchange that one end has applied before the other may leave of it."""
    z = [job(host, node).local.pair.z for node in nodes]
    return float(torch.stack(z).sum(0).norm()), max(float(one.norm()) for one in z)


def emitted_by(emitted, node, name):
    return [dict(emit.fields) for _, who, emit in emitted if who == node.id and emit.name == name]


@pytest.mark.slow
def test_what_a_dead_neighbour_left_behind_is_taken_off(kit):
    nodes = kit.nodes(RING, **LONG, timeout_s=0.2)
    rest = [node for index, node in enumerate(nodes) if index != 2]
    host, emitted = kit.simulate(nodes, Faults(crashes=(Crash(nodes[2].id, 1.0, None),)))
    host.run(1.1)
    before, _ = sum_of_drifts(host, rest)
    host.run(2.2)
    after, longest = sum_of_drifts(host, rest)
    assert after < max(0.2 * before, 0.25 * longest)
    for index in (1, 3):
        assert emitted_by(emitted, nodes[index], "let_go")
        assert job(host, nodes[index]).exchange.edges[nodes[2].id].cut
    assert not emitted_by(emitted, nodes[5], "let_go")


def test_the_halves_of_a_cut_are_networks_of_their_own_and_come_together_afresh(kit):
    nodes = kit.nodes(RING, **LONG, timeout_s=0.2)
    halves = nodes[:3], nodes[3:]
    cut = Partition((frozenset(node.id for node in halves[0]),), 1.0, 2.2)
    host, emitted = kit.simulate(nodes, Faults(partitions=(cut,)))
    host.run(2.19)
    for half in halves:
        total, longest = sum_of_drifts(host, half)
        assert total < 0.25 * longest
    host.run(4.0)
    total, longest = sum_of_drifts(host, nodes)
    assert total < 0.25 * longest
    for a, b in ((2, 3), (0, 5)):
        ends = job(host, nodes[a]).exchange.edges[nodes[b].id], job(host, nodes[b]).exchange.edges[nodes[a].id]
        assert all(end.fresh and not end.cut and end.exchanges > 0 for end in ends)
        torch.testing.assert_close(ends[0].drift, -ends[1].drift, rtol=0.2, atol=0.1)
    assert sum(bool(emitted_by(emitted, node, "let_go")) for node in nodes) == 4


@pytest.mark.slow
def test_one_that_comes_back_soon_goes_on_where_it_was(kit):
    nodes = kit.nodes(RING, **LONG, timeout_s=2.0)
    cut = Partition((frozenset((nodes[2].id,)),), 1.0, 1.1)
    host, emitted = kit.simulate(nodes, Faults(partitions=(cut,)))
    host.run(2.0)
    assert not any(emitted_by(emitted, node, "let_go") for node in nodes)
    assert all(edge.epoch == 0 for node in nodes for edge in job(host, node).exchange.edges.values())


def test_a_newcomer_is_held_against_its_own_data(kit):
    """Its first rounds carry it no further from the others than they are from each other; and z still sums to zero."""
    nodes = kit.nodes(RING, **LONG, gather_s=0.1)
    host, emitted = kit.simulate(nodes, absent=(5,))
    host.add(nodes[5].id, nodes[5].party, nodes[5].work, MemoryStore, 1.0)
    away, spread = [], []
    for hundredths in range(140, 180, 4):
        host.run(hundredths / 100)
        others = torch.stack([job(host, node).local.x for node in nodes[:5]])
        away.append(float((job(host, nodes[5]).local.x - others.mean(0)).norm()))
        spread.append(float((others - others.mean(0)).norm(dim=1).max()))
    assert emitted_by(emitted, nodes[5], "joined")
    assert max(away) < 1.5 * max(spread)
    total, longest = sum_of_drifts(host, nodes)
    assert total < 0.25 * longest


@pytest.mark.slow
def test_a_loan_is_paid_back(kit):
    nodes = kit.nodes(RING, **LONG, gather_s=0.1)
    host, _ = kit.simulate(nodes, absent=(5,))
    host.add(nodes[5].id, nodes[5].party, nodes[5].work, MemoryStore, 1.0)
    host.run(1.5)
    assert job(host, nodes[5]).local.loan is not None
    host.run(3.5)
    local = job(host, nodes[5]).local
    assert local.loan is None
    assert local.met == MET_MAX
    assert local.ease == 1.0
