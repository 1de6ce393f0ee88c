"""How a run begins and how it ends: together, but nobody waits for ever for somebody who does not come."""

from typing import Any

import pytest

from p2pfl.core.party import Offered, ReplyToken, Verdict
from p2pfl.horizontal.joining.closing import LINGER_S, Closing
from p2pfl.horizontal.pace.desk import Desk
from p2pfl.hosts.faults import Crash, Faults
from p2pfl.ledger.stores.memory import MemoryStore
from p2pfl.mixing import Average
from p2pfl.wire.envelope import Head, open_head, seal
from p2pfl.wire.messages import Bye
from p2pfl.wire.post import Heard, Knock, Post

TRIANGLE = [(0, 1), (1, 2), (0, 2)]


class Byes:
    """Passes everything on to a party; notes when a bye has come."""

    def __init__(self, party: Any, heard: list[float]) -> None:
        self.party, self.heard = party, heard

    def handle(self, event: Any, now: float) -> Any:
        if isinstance(event, Offered) and open_head(event.head).kind == "bye":
            self.heard.append(now)
        return self.party.handle(event, now)


@pytest.mark.parametrize("edges", [[(0, 1)], [(0, 1), (1, 2)], TRIANGLE])
def test_all_begin_together_and_leave_when_all_are_served(kit: Any, edges: list[tuple[int, int]]) -> None:
    nodes = kit.nodes(edges, rounds=8)
    host, emitted = kit.simulate(nodes)
    trace = host.run(60.0)
    assert trace.outcome == "stopped"
    assert {stop.code for stop in trace.stopped.values()} == {0}
    assert not {"absent", "lost", "unreachable"} & trace.emitted.keys()
    ends: dict[frozenset[bytes], set[Any]] = {}
    for _, node, emit in emitted:
        if emit.name == "edge":
            held = tuple(emit.fields[name] for name in ("epoch", "seq", "digest"))
            ends.setdefault(frozenset((node, bytes.fromhex(str(emit.fields["peer"])))), set()).add(held)
    assert len(ends) == len(edges)
    assert all(len(positions) == 1 for positions in ends.values())
    for store in (host.store(node.id) for node in nodes):
        assert store.load()["entry"]


def test_a_late_starter_is_waited_for(kit: Any) -> None:
    nodes = kit.nodes([(0, 1)], rounds=5, gather_s=30.0)
    host, emitted = kit.simulate(nodes, absent=(1,))
    host.add(nodes[1].id, nodes[1].party, nodes[1].work, MemoryStore, start=9.0)
    assert host.run(60.0).outcome == "stopped"
    first = {node: time for time, node, emit in reversed(emitted) if emit.name == "round"}
    assert all(9.0 < time < 11.0 for time in first.values())


def test_one_that_never_comes_is_given_up(kit: Any) -> None:
    """Two of three do their rounds, say so, and leave."""
    nodes = kit.nodes(TRIANGLE, rounds=6, gather_s=3.0)
    host, emitted = kit.simulate(nodes, absent=(2,))
    trace = host.run(120.0)
    assert {stop.code for stop in trace.stopped.values()} == {0}
    assert len(trace.stopped) == 2
    first = {node: time for time, node, emit in reversed(emitted) if emit.name == "round"}
    assert all(3.0 <= time < 4.0 for time in first.values())
    absent = [emit.fields["peer"] for _, _, emit in emitted if emit.name == "absent"]
    assert absent == [nodes[2].id[:4].hex()] * 2
    assert trace.emitted["lost"] == 2
    assert LINGER_S <= max(kit.times(emitted, "finished").values()) < 4 * LINGER_S


def test_one_that_dies_after_its_goodbye_keeps_nobody(kit: Any) -> None:
    """It has said that it is done; it need not be asked again."""
    nodes = kit.nodes([(0, 1)], rounds=20)
    slow: dict[Any, float] = {nodes[0].id: 3.0}
    heard: list[float] = []
    host, _ = kit.simulate(nodes, absent=(0,), slow=slow)
    host.add(nodes[0].id, lambda: Byes(nodes[0].party(), heard), nodes[0].work, MemoryStore)
    host.run(60.0)
    dies = Crash(nodes[1].id, heard[0] + 0.001, None)
    host, emitted = kit.simulate(nodes, Faults(crashes=(dies,)), slow=slow)
    trace = host.run(60.0)
    assert trace.stopped[nodes[0].id].code == 0
    assert "lost" not in trace.emitted
    done = kit.times(emitted, "round")[nodes[0].id]
    assert dies.at < done
    assert trace.now < done + LINGER_S


def test_one_that_dies_before_its_goodbye_is_waited_for_and_then_lost(kit: Any) -> None:
    nodes = kit.nodes([(0, 1)], rounds=60)
    faults = Faults(crashes=(Crash(nodes[1].id, 0.5, None),))
    host, emitted = kit.simulate(nodes, faults)
    trace = host.run(300.0)
    assert trace.stopped[nodes[0].id].code == 0
    assert trace.emitted["lost"] == 1
    rounds = kit.times(emitted, "round")[nodes[0].id]
    assert kit.times(emitted, "finished")[nodes[0].id] >= rounds + LINGER_S


def test_one_that_was_lost_and_comes_back_to_say_goodbye_is_told(kit: Any) -> None:
    """Found here: counted as lost, heard after all, and never told; with a third still at work the node never left."""
    node, back, slow = (signer.node for signer in kit.signers[:3])
    desk, left = Desk(), []
    closing = Closing(desk, kit.recipe.digest, (back, slow), 2.0, lambda: left.append(node))
    closing.begin(5)
    for _ in range(4):
        closing.failed(back)
        desk.now += LINGER_S / 2
    assert closing.farewells[back].lost
    desk.take()
    closing.knock(Knock(ReplyToken(1), bye_of(kit, 1), Bye(kit.recipe.digest, node, 5)))
    told = [effect for effect in desk.take() if isinstance(effect, Post)]
    assert [post.to for post in told] == [back]
    closing.heard(Heard(told[0].key, Verdict.ACCEPT), back)
    closing.knock(Knock(ReplyToken(2), bye_of(kit, 2), Bye(kit.recipe.digest, node, 5)))
    closing.heard(Heard(("bye", slow), Verdict.ACCEPT), slow)
    assert left == [node]


def test_goodbyes_are_remembered_while_one_is_no_neighbour(kit: Any) -> None:
    """Each says it once: whoever forgot it when the graph changed would wait for it for ever."""
    left: list[bytes] = []
    me, other = (signer.node for signer in kit.signers[:2])
    closing = Closing(Desk(), kit.recipe.digest, (other,), 1.0, lambda: left.append(me))
    closing.knock(Knock(ReplyToken(1), bye_of(kit, 1), Bye(kit.recipe.digest, me, 5)))
    closing.meet(())
    closing.meet((other,))
    closing.begin(5)
    closing.heard(Heard(("bye", other), Verdict.ACCEPT), other)
    assert left == [me]


def bye_of(kit: Any, index: int) -> Head:
    message = Bye(kit.recipe.digest, kit.signers[0].node, 5)
    return open_head(seal(kit.signers[index], kit.network, message.KIND, message.to_fields())[0])


def test_nobody_leaves_before_a_slow_neighbour_is_served(kit: Any) -> None:
    """The fast nodes are done long before; they go on answering until the slow one is done too."""
    nodes = kit.nodes(TRIANGLE, rounds=20, mode="async")
    host, emitted = kit.simulate(nodes, slow={nodes[2].id: 30.0})
    trace = host.run(600.0)
    assert trace.outcome == "stopped"
    assert "unreachable" not in trace.emitted
    assert "lost" not in trace.emitted
    slowest = max(kit.times(emitted, "round").values())
    assert min(kit.times(emitted, "finished").values()) >= slowest


def test_a_lossy_network_ends_as_well(kit: Any) -> None:
    nodes = kit.nodes(TRIANGLE, rounds=10, timeout_s=0.3)
    host, _ = kit.simulate(nodes, Faults(request_loss=0.2, reply_loss=0.2, duplicate=0.1, jitter_s=0.05))
    trace = host.run(600.0)
    assert trace.outcome == "stopped"
    assert {stop.code for stop in trace.stopped.values()} == {0}


@pytest.mark.parametrize("rule", ["pairwise", "average"])
def test_lockstep_ends_as_well(kit: Any, rule: str) -> None:
    mixer = Average() if rule == "average" else None
    nodes = kit.nodes([(0, 1), (1, 2)], mixer, rounds=6, mode="lockstep")
    host, emitted = kit.simulate(nodes)
    trace = host.run(60.0)
    assert trace.outcome == "stopped"
    rounds = [emit.fields["round"] for _, _, emit in emitted if emit.name == "round"]
    assert sorted(rounds) == sorted(list(range(1, 7)) * 3)


def test_a_node_alone_trains_and_leaves(kit: Any) -> None:
    nodes = kit.nodes([], rounds=4)
    host, emitted = kit.simulate(nodes)
    assert host.run(60.0).outcome == "stopped"
    assert [emit.fields["round"] for _, _, emit in emitted if emit.name == "round"] == [1, 2, 3, 4]


def test_a_node_that_was_done_and_is_started_again_leaves_again(kit: Any) -> None:
    """There is nothing left to do, and nobody to tell."""
    nodes = kit.nodes([(0, 1)], rounds=4)
    host, _ = kit.simulate(nodes)
    host.run(60.0)
    again, emitted = kit.simulate(nodes, absent=(0, 1))
    again.add(nodes[0].id, nodes[0].party, nodes[0].work, lambda: host.store(nodes[0].id))
    trace = again.run(200.0)
    assert trace.stopped[nodes[0].id].code == 0
    assert "round" not in trace.emitted
    assert LINGER_S <= trace.now < 3 * LINGER_S
    assert kit.times(emitted, "lost").keys() == {nodes[0].id}
