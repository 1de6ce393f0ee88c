"""When a message arrives, what becomes of its body, and whose fault it is when it does not."""

from math import inf

import pytest

from p2pfl.core.ids import NodeId
from p2pfl.core.limits import CHUNK_BYTES, CONTROL_BYTES_MAX
from p2pfl.core.party import (
    Answered,
    Compute,
    Computed,
    Dropped,
    Offered,
    Received,
    Reply,
    ReplyToken,
    Send,
    SendFailed,
    SetTimer,
    Started,
    Stop,
    Take,
    TimerFired,
    Verdict,
)
from p2pfl.errors import ConfigError
from p2pfl.hosts.faults import Crash, Faults, Line, between
from p2pfl.hosts.life import lanes
from p2pfl.hosts.links import IN_FLIGHT_BYTES
from p2pfl.hosts.sim import SimHost


def test_latency_and_bandwidth_add_up(toys):
    send, answer = toys.send(toys.b, bytes(1000)), bytes(500)
    head = len(send.data[0])
    host = SimHost(1, Faults(delay_s=1.0, bytes_per_s=1000.0))
    lives = toys.talk(host, a=toys.once(send), b=toys.accept(answer))
    host.run()
    (_, (offered, _), (received, event)) = lives["b"][0].seen
    assert offered == pytest.approx(1 + head / 1000)
    assert received == pytest.approx(offered + 1)
    assert len(event.body) == 1000
    (_, (answered, event)) = lives["a"][0].seen
    assert answered == pytest.approx(received + 1 + 0.5)
    assert event == Answered("k", Verdict.ACCEPT, answer)


def test_a_body_arrives_in_whatever_parts_it_was_sent(toys):
    head, *_ = toys.message(bytes(range(250)))
    whole = head + bytes(range(250))
    for parts in ((whole,), (whole[:3], whole[3:90], whole[90:]), (head, memoryview(bytes(range(250))), b"")):
        host = SimHost(1)
        send = Send("k", toys.b, "exchange", parts, 100, 5.0)
        bodies = []

        def rule(event, now, bodies=bodies):
            if isinstance(event, Received):
                bodies.append(bytes(event.body))
            return toys.accept()(event, now)

        toys.talk(host, a=toys.once(send), b=rule)
        host.run()
        assert bodies == [bytes(range(250))]


def test_a_body_of_several_chunks(toys):
    host = SimHost(1)
    lives = toys.talk(host, a=toys.once(toys.send(toys.b, bytes(2 * CHUNK_BYTES + 1))), b=toys.accept())
    host.run()
    assert len(lives["b"][0].of(Received)[0].body) == 2 * CHUNK_BYTES + 1


@pytest.mark.parametrize("extra", [b"more", None])
def test_a_body_of_another_length_is_dropped(toys, extra):
    head, body = toys.message(b"four")
    parts = (head, body, extra) if extra else (head, body[:-1])
    host = SimHost(1)
    lives = toys.talk(host, a=toys.once(Send("k", toys.b, "exchange", parts, 100, 5.0)), b=toys.accept())
    host.run()
    assert "expected a body of 4 bytes" in lives["b"][0].of(Dropped)[0].reason
    assert "expected a body of 4 bytes" in lives["a"][0].of(SendFailed)[0].reason


def test_a_body_that_is_not_what_the_head_says_is_dropped(toys):
    head, _ = toys.message(b"four")
    host = SimHost(1)
    lives = toys.talk(host, a=toys.once(Send("k", toys.b, "exchange", (head, b"FOUR"), 100, 5.0)), b=toys.accept())
    trace = host.run()
    assert "chunk-digest" in lives["b"][0].of(Dropped)[0].reason
    assert "chunk-digest" in lives["a"][0].of(SendFailed)[0].reason
    assert trace.counts["dropped"] == 1
    assert trace.owed == {}


def test_what_does_not_begin_like_a_message_never_reaches_the_party(toys):
    junk = (b"", b"GET / HTTP/1.1", toys.message()[0][:40])
    host = SimHost(1)
    sends = [Send(key, toys.b, "gossip", (data,), 100, 5.0) for key, data in enumerate(junk)]
    lives = toys.talk(host, a=toys.once(*sends), b=toys.accept())
    counts = host.run().counts
    assert not lives["b"][0].of(Offered)
    assert counts["malformed"] == counts["failed"] == 3


def test_a_node_that_is_not_there_refuses_at_once(toys):
    host = SimHost(1, Faults(delay_s=0.1))
    gone = NodeId(bytes(32))
    sends = [toys.send(gone, key="nobody"), toys.send(toys.b, key="stopped", deadline=99)]

    def late(event, now):
        return [SetTimer("go", 1.0)] if isinstance(event, Started) else sends * isinstance(event, TimerFired)

    lives = toys.talk(host, a=late, b=toys.once(Stop(0, "bye")))
    host.run()
    assert lives["a"][0].of(SendFailed) == [SendFailed(key, "connection refused") for key in ("nobody", "stopped")]
    assert [now for now, _ in lives["a"][0].seen] == pytest.approx([0, 1, 1.2, 1.2])


def test_a_deadline_ends_a_send_even_if_it_has_passed(toys):
    host = SimHost(1)
    sends = [toys.send(toys.b, key="past", deadline=-5.0), toys.send(toys.b, key="soon", deadline=0.5)]
    lives = toys.talk(host, a=toys.once(*sends), b=lambda event, now: [])
    trace = host.run()
    assert lives["a"][0].seen[1:] == [(0.0, SendFailed("past", "deadline")), (0.5, SendFailed("soon", "deadline"))]
    assert trace.owed == {toys.b: 2}


def test_an_answer_after_the_deadline_is_stale(toys):
    """The receiver did its work; the sender does not know. Both must be able to live with that."""

    def slow(event, now):
        match event:
            case Offered(token):
                return [SetTimer(token, now + 2)]
            case TimerFired(token):
                return [Reply(token, Verdict.ACCEPT)]
        return []

    host = SimHost(1)
    lives = toys.talk(host, a=toys.once(toys.send(toys.b, deadline=1.0)), b=slow)
    counts = host.run().counts
    assert [type(event) for _, event in lives["a"][0].seen] == [Started, SendFailed]
    assert counts["stale"] == 1


@pytest.mark.parametrize(("verdict", "limit"), [(Verdict.ACCEPT, 100), (Verdict.REJECT, CONTROL_BYTES_MAX)])
def test_a_reply_at_its_limit_and_one_past_it(toys, verdict, limit):
    for size, kind in ((limit, Answered), (limit + 1, SendFailed)):
        host = SimHost(1)
        lives = toys.talk(host, a=toys.once(toys.send(toys.b, limit=100)), b=toys.reply(verdict, bytes(size)))
        host.run()
        assert type(lives["a"][0].seen[-1][1]) is kind


def test_each_verdict_arrives_and_an_ignored_request_gets_no_data(toys):
    for verdict in Verdict:
        host = SimHost(1)
        lives = toys.talk(host, a=toys.once(toys.send(toys.b)), b=toys.reply(verdict, b"data"))
        host.run()
        data = b"" if verdict is Verdict.IGNORE else b"data"
        assert lives["a"][0].of(Answered) == [Answered("k", verdict, data)]


@pytest.mark.parametrize(("size", "kind"), [(IN_FLIGHT_BYTES, Received), (IN_FLIGHT_BYTES + 1, Dropped)])
def test_a_sender_that_gives_up_takes_what_it_has_not_sent_yet_with_it(toys, size, kind):
    host = SimHost(1, Faults(bytes_per_s=size / 2))  # two seconds, and the sender waits for one
    lives = toys.talk(host, a=toys.once(toys.send(toys.b, bytes(size), deadline=1.0)), b=toys.accept())
    host.run()
    assert type(lives["b"][0].seen[-1][1]) is kind
    assert lives["a"][0].of(SendFailed) == [SendFailed("k", "deadline")]


def test_a_receiver_that_dies_breaks_its_connections(toys):
    crash = Crash(toys.b, at=0.5, restart_after=0.1)
    host = SimHost(1, Faults(delay_s=0.1, bytes_per_s=1000.0, crashes=(crash,)))
    sends = [toys.send(toys.b, key="offered"), toys.send(toys.b, bytes(5000), key="taken")]
    lives = toys.talk(host, a=toys.once(*sends), b=lambda e, t: [Take(e.token)] if isinstance(e, Offered) else [])
    host.run()
    failures = {event.key: (now, event.reason) for now, event in lives["a"][0].seen if isinstance(event, SendFailed)}
    assert failures == dict.fromkeys(["offered", "taken"], (0.6, "connection broken"))
    assert not lives["b"][1].of(Offered, Received, Dropped)


def test_a_received_body_is_rubbish_once_its_token_is_replied_to(toys):
    kept = []

    def rule(event, now):
        if isinstance(event, Received):
            kept.append((event.body, bytes(event.body)))
        return toys.accept()(event, now)

    host = SimHost(1)
    toys.talk(host, a=toys.once(toys.send(toys.b, b"body")), b=rule)
    host.run()
    ((view, copy),) = kept
    assert copy == b"body"
    assert bytes(view) == b"\xdb" * 4


def test_a_body_is_the_partys_until_then_also_while_it_computes(toys):
    bodies = {}

    def rule(event, now):
        match event:
            case Offered(token):
                return [Take(token)]
            case Received(token, body):
                bodies[token] = body
                return [Compute(toys.Job(token))]
            case Computed(task):
                assert bytes(bodies[task.number]) == b"body"
                return [Reply(ReplyToken(task.number), Verdict.ACCEPT)]
        return []

    host = SimHost(1, duration=lanes(wire=5.0))
    lives = toys.talk(host, a=toys.once(toys.send(toys.b, b"body")), b=rule)
    host.run()
    assert lives["a"][0].of(Answered)


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        (lambda e, t: [Reply(e.token, Verdict.BUSY)] * 2 if isinstance(e, Offered) else [], "no request waits for it"),
        (lambda e, t: [Take(e.token)] * 2 if isinstance(e, Offered) else [], "no request waits for it"),
        (lambda e, t: [Take(ReplyToken(77))] if isinstance(e, Offered) else [], "no request waits for it"),
        (lambda e, t: [Take(e.token), Reply(e.token, Verdict.BUSY)] if isinstance(e, Offered) else [], "after a Take"),
        (lambda e, t: [Send("k", e.token, "gossip", (), 0, inf)] if isinstance(e, Offered) else [], "finite deadline"),
        (lambda e, t: [Stop(0, ""), Stop(0, "")], "a second Stop"),
    ],
)
def test_a_party_that_breaks_the_grammar_ends_the_run(toys, rule, message):
    if "finite" in message:
        rule = toys.once(toys.send(toys.a, deadline=inf))
    host = SimHost(42)
    toys.talk(host, a=toys.once(toys.send(toys.b)), b=rule)
    with pytest.raises(AssertionError, match=message) as error:
        host.run()
    assert any("seed 42" in note for note in error.value.__notes__)


def test_a_party_that_raises_ends_the_run_and_says_where(toys):
    def rule(event, now):
        raise KeyError("oh")

    host = SimHost(42)
    toys.talk(host, a=rule)
    with pytest.raises(KeyError) as error:
        host.run()
    assert error.value.__notes__ == [
        f"node {toys.a[:4].hex()}, Started at 0.0",
        "simulation of seed 42, after 1 events",
    ]


def test_a_line_of_its_own_has_its_own_times_and_is_counted(toys):
    """Between a and b, in both directions; a and c are as everywhere."""
    line = Line(0.3, 1000.0, "wide")
    faults = Faults(delay_s=0.1, bytes_per_s=10000.0, lines={between(toys.b, toys.a): line})
    arrived = {}
    for name, node in (("b", toys.b), ("c", toys.c)):
        send, answer = toys.send(node, bytes(200)), bytes(50)
        head = len(send.data[0])
        host = SimHost(1, faults)
        lives = toys.talk(host, a=toys.once(send), **{name: toys.accept(answer)})
        trace = host.run()
        (_, (offered, _), (received, _)) = lives[name][0].seen
        (_, (answered, _)) = lives["a"][0].seen
        arrived[name] = (offered, received - offered, answered - received)
        assert trace.counts.get("bytes_wide", 0) == (head + 200 + 50 if name == "b" else 0)
    assert arrived["b"] == pytest.approx((0.3 + head / 1000, 0.2, 0.35))
    assert arrived["c"] == pytest.approx((0.1 + head / 10000, 0.02, 0.105))


@pytest.mark.parametrize("values", [{"delay_s": -1.0}, {"delay_s": inf}, {"bytes_per_s": 0.0}, {"bytes_per_s": -3.0}])
def test_lines_that_cannot_be(values):
    with pytest.raises(ConfigError, match=f"line.{next(iter(values))}: expected"):
        Line(**values)
