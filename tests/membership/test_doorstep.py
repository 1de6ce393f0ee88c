"""What a network says at its door: to newcomers, to those shut out, to one key on two machines; and replays."""

from types import SimpleNamespace
from typing import Any

import pytest

from p2pfl.core.party import Emit, Offered, Reply, ReplyToken, TimerFired, Verdict
from p2pfl.hosts.faults import Crash, Faults
from p2pfl.membership.bounds import VERSION_HIGH
from p2pfl.membership.standing import State
from p2pfl.membership.statements import NOBODY, Tag, state
from p2pfl.membership.talk import Line, Ping, Tell
from p2pfl.membership.tokens import issue
from p2pfl.peer.door import refusal_words
from p2pfl.peer.order import Order
from p2pfl.wire.envelope import seal
from p2pfl.wire.messages import MemberTalk

BOSS = 150


def guarded(network: Any, num: int = 4, **more: Any) -> Any:
    """A network that takes tokens; node `BOSS` signs them."""
    return network(num, mode="token", authorities=frozenset({network.key(BOSS)}), **more).add_all()


def token(network: Any, number: int, **more: Any) -> bytes:
    return issue(network.signer(BOSS), network.net, network.key(number), "join", number, **more).raw


def order(net: Any, whose: int, what: Any, at: float, **more: Any) -> None:
    """The operator of a node wants something."""
    net.host._agenda.at(at, lambda: net.life(whose).deliver(TimerFired(Order(f"{what} {at}", what, **more))))


def reason(trace: Any, node: Any) -> str:
    stop = trace.stopped[node]
    assert stop.code == 2
    return str(stop.reason)


# ------------------------------------------------------------------------------------------------ newcomers


def test_a_newcomer_with_a_token_is_known_to_all(network: Any) -> None:
    net = guarded(network)
    net.add(100, start=10.0, seeds=[0], token=token(network, 100))
    net.run(30.0)
    assert all(net.alive(number) == {0, 1, 2, 3, 100} for number in (0, 1, 2, 3, 100))


@pytest.mark.parametrize("flaw", ["no-token", "token", "expired", "revoked", "version", "stranger"])
def test_who_is_not_let_in_stops_and_says_why(network: Any, flaw: str) -> None:
    net = guarded(network) if flaw != "stranger" else network(4).add_all()
    more: dict[str, Any] = {"token": token(network, 100)}
    if flaw == "no-token":
        more = {}
    elif flaw == "token":
        more = {"token": token(network, 101)}
    elif flaw == "expired":
        more = {"token": token(network, 100, last_epoch=1)}
        said = state(network.signer(BOSS), Tag.EPOCH, network.net, NOBODY, 2)
        order(net, 2, "say", 5.0, text=said.raw)
    elif flaw == "revoked":
        said = state(network.signer(BOSS), Tag.REVOKED, network.net, network.key(100))
        order(net, 3, "say", 5.0, text=said.raw)
    elif flaw == "version":
        more["versions"] = (VERSION_HIGH + 1, VERSION_HIGH + 2)
    node = net.add(100, start=15.0, seeds=[0, 1], **more)
    trace = net.run(40.0)
    assert f"({flaw}, says" in reason(trace, node)
    assert "does not let this node in" in reason(trace, node)
    assert all(net.alive(number) == {0, 1, 2, 3} for number in range(4))


def test_who_is_revoked_is_put_out_by_all_and_knows_it(network: Any) -> None:
    net = guarded(network)
    node = net.add(100, start=5.0, seeds=[0], token=token(network, 100))
    net.run(20.0)
    assert net.alive(3) == {0, 1, 2, 3, 100}
    said = state(network.signer(BOSS), Tag.REVOKED, network.net, network.key(100))
    order(net, 1, "say", 20.0, text=said.raw)
    trace = net.run(40.0)
    assert all(net.alive(number) == {0, 1, 2, 3} for number in range(4))
    assert "revoked" in reason(trace, node)


def test_a_token_ends_while_its_bearer_is_in(network: Any) -> None:
    net = guarded(network)
    net.add(100, start=5.0, seeds=[0], token=token(network, 100, last_epoch=1))
    net.add(101, start=5.0, seeds=[0], token=token(network, 101, last_epoch=2))
    said = state(network.signer(BOSS), Tag.EPOCH, network.net, NOBODY, 2)
    order(net, 1, "say", 20.0, text=said.raw)
    trace = net.run(40.0)
    assert all(net.alive(number) == {0, 1, 2, 3, 101} for number in (0, 1, 2, 3, 101))
    assert "expired" in reason(trace, network.key(100))


def test_a_token_ends_with_the_height_that_the_ledger_reaches(network: Any) -> None:
    net = guarded(network)
    net.add(100, start=5.0, seeds=[0], token=token(network, 100, last_height=9))
    net.run(20.0)
    for height, alive in ((9, {0, 1, 2, 3, 100}), (10, {0, 1, 2, 3})):
        for number in range(4):
            net.peers[network.key(number)].keeper = SimpleNamespace(tip=SimpleNamespace(height=height))
        for number in range(4):
            net.life(number).deliver(TimerFired(Order(f"{height}", "unban", node=network.key(77))))
            net.peers[network.key(number)].keeper = None
        net.run(net.host.now + 20.0)
        assert net.alive(0) == alive


def test_a_late_comer_learns_what_was_revoked_before(network: Any) -> None:
    net = guarded(network)
    order(net, 1, "say", 5.0, text=state(network.signer(BOSS), Tag.REVOKED, network.net, network.key(120)).raw)
    net.add(100, start=100.0, seeds=[3], token=token(network, 100))
    net.run(120.0)
    assert network.key(120) in net.watch(100).admission.revoked


# ------------------------------------------------------------------------------------------------ the operator


def test_a_kick_is_for_a_while_and_a_ban_until_it_is_undone(network: Any) -> None:
    net = network(5).add_all()
    order(net, 0, "kick", 10.0, node=network.key(1), number=20)
    order(net, 0, "ban", 10.0, node=network.key(2))
    order(net, 0, "unban", 60.0, node=network.key(2))
    net.run(28.0)
    assert net.alive(0) == {0, 3, 4}
    assert net.alive(3) == {0, 1, 2, 3, 4}, "the others go on with them"
    net.run(55.0)
    assert net.alive(0) == {0, 1, 3, 4}
    net.run(90.0)
    assert net.alive(0) == {0, 1, 2, 3, 4}


def test_a_ban_outlasts_a_restart(network: Any) -> None:
    net = network(4, faults=Faults(crashes=(Crash(network.key(0), 20.0),))).add_all()
    order(net, 0, "ban", 10.0, node=network.key(2))
    net.run(40.0)
    assert net.alive(0) == {0, 1, 3}


def test_who_drains_is_out_of_all_graphs_before_it_ends(network: Any) -> None:
    net = network(5).add_all()
    order(net, 4, "drain", 10.0)
    net.run(15.5)
    assert net.life(4) is not None
    assert all(net.alive(number) == {0, 1, 2, 3} for number in range(4))
    trace = net.run(30.0)
    assert trace.stopped[network.key(4)].code == 0
    assert net.watch(0).roster.members[network.key(4)].state is State.LEFT


# ------------------------------------------------------------------------------------------------ one key, two lives


def test_a_key_on_two_machines_is_proved_to_the_second(network: Any) -> None:
    net = network(4).add_all()
    net.run(10.0)
    reason = net.second_life(2, "http://elsewhere:1")
    assert reason is not None
    assert "in use on another machine" in reason
    assert net.said("member.key_in_use")
    net.run(30.0)
    assert net.alive(0) == {0, 1, 2, 3}


def test_a_restart_at_another_address_is_no_copy(network: Any) -> None:
    net = network(4, faults=Faults(crashes=(Crash(network.key(2), 10.0, restart_after=None),))).add_all()
    net.run(12.0)
    assert net.second_life(2, "http://elsewhere:1") is None
    assert net.watch(0).roster.members[network.key(2)].record.urls == ("http://elsewhere:1",)


# ------------------------------------------------------------------------------------------------ replays


def offered(net: Any, network: Any, to: int, line: Line, author: int, now: float) -> tuple[Verdict, str]:
    """What a node answers to a line in an author's envelope."""
    talk = MemberTalk(network.key(to), line.raw)
    (head,) = seal(network.signer(author), network.net, MemberTalk.KIND, talk.to_fields())
    peer = net.peers[network.key(to)]
    effects = peer.handle(Offered(ReplyToken(99_999), bytes(head)), now)
    (reply,) = [effect for effect in effects if isinstance(effect, Reply)]
    if reply.verdict is Verdict.ACCEPT:
        return reply.verdict, ""
    return reply.verdict, refusal_words(b"".join(map(bytes, reply.data)))[0]


def test_each_message_is_taken_once_and_only_in_its_lives(network: Any) -> None:
    net = network(3).add_all()
    net.run(10.0)
    theirs, mine = net.watch(1).roster.me.session, net.watch(0).roster.me.session
    line = Line(theirs, 10_000, mine, b"", (), Ping())
    assert offered(net, network, 0, line, 1, 10.0) == (Verdict.ACCEPT, "")
    assert offered(net, network, 0, line, 1, 10.0) == (Verdict.BUSY, "replayed")
    assert offered(net, network, 0, Line(theirs, 10_001, bytes(16), b"", (), Ping()), 1, 10.0)[1] == "session"
    assert offered(net, network, 0, Line(bytes(16), 10_002, mine, b"", (), Ping()), 1, 10.0)[1] == "session"
    assert offered(net, network, 0, Line(theirs, 10_003, mine, b"", (), Ping()), 1, 10.0)[0] is Verdict.ACCEPT


def test_a_stranger_is_told_that_it_is_one(network: Any) -> None:
    net = network(3).add_all()
    net.run(10.0)
    mine = net.watch(0).roster.me.session
    assert offered(net, network, 0, Line(bytes(16), 1, mine, b"", (), Tell()), 77, 10.0) == (Verdict.BUSY, "session")


def test_rubbish_and_forgery_are_refused(network: Any) -> None:
    net = network(3).add_all()
    net.run(10.0)
    theirs, mine = net.watch(1).roster.me.session, net.watch(0).roster.me.session
    record = bytearray(net.watch(2).roster.me.raw)
    record[-1] ^= 1
    for news in (b"", b"\x00", bytes(record), net.watch(2).roster.me.raw[:-1]):
        line = Line(theirs, 20_000 + len(news), mine, b"", (news,), Tell())
        assert offered(net, network, 0, line, 1, 10.0)[0] is Verdict.REJECT


def test_a_node_without_a_watch_has_no_such_door(network: Any) -> None:
    from p2pfl.peer.peer import Peer

    job = type("Nothing", (), {"handle": lambda self, event, now: [], "status": lambda self: {}})()
    peer = Peer(network.signer(0), network.net, bytes(32), [network.key(1)], job, "0")
    line = Line(bytes(16), 1, b"", b"", (), Tell())
    (head,) = seal(network.signer(1), network.net, "member", MemberTalk(network.key(0), line.raw).to_fields())
    effects = peer.handle(Offered(ReplyToken(1), bytes(head)), 0.0)
    (reply,) = [effect for effect in effects if isinstance(effect, Reply)]
    assert reply.verdict is Verdict.REJECT
    assert any(isinstance(effect, Emit) for effect in effects)
